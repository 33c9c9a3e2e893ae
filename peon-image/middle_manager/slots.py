"""Task slots and the folders they lie in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FolderShare:
    """One base folder's part of the slots; `slot_bytes` is how much a task in it may hold (None: no limit)."""

    folder: Path
    slots: int
    slot_bytes: int | None


def divide_slots(capacity: int, folders: Sequence[Path], folder_bytes: int | None) -> list[FolderShare]:
    """
    Slots dealt out to the folders in turn; every slot gets as much as one of the fullest folder can have.

    5 slots, 2 folders of 300 GB: 3 and 2 slots of 100 GB each. Druid: TaskStorageDirTracker
    """
    most = -(-capacity // len(folders)) if folders else 0
    slot_bytes = folder_bytes // most if folder_bytes is not None and most else folder_bytes
    return [
        FolderShare(folder, capacity // len(folders) + (number < capacity % len(folders)), slot_bytes)
        for number, folder in enumerate(folders)
    ]


def free_share(shares: Sequence[FolderShare], occupied: Sequence[Path]) -> FolderShare | None:
    """
    The share with the most free slots, the first of equals; None when all are taken.

    `occupied` names the base folder of each slot in use.
    """
    free = [(share.slots - occupied.count(share.folder), share) for share in shares]
    most, share = max(free, key=lambda entry: entry[0], default=(0, None))
    return share if most > 0 else None
