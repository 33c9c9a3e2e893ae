"""Slots dealt out to folders, and folders to tasks."""

from pathlib import Path

import pytest

from middle_manager.slots import FolderShare, divide_slots, free_share

A, B, C = Path("/a"), Path("/b"), Path("/c")
GB = 1_000_000_000


@pytest.mark.parametrize(
    ("capacity", "folders", "folder_bytes", "expected"),
    [
        # the documented example: 3 and 2 slots of 100 GB each
        (5, [A, B], 300 * GB, [(A, 3, 100 * GB), (B, 2, 100 * GB)]),
        (1, [A], 10, [(A, 1, 10)]),
        (2, [A, B], 10, [(A, 1, 10), (B, 1, 10)]),
        # fewer slots than folders: the last folder has none
        (2, [A, B, C], 10, [(A, 1, 10), (B, 1, 10), (C, 0, 10)]),
        (7, [A, B, C], 100, [(A, 3, 33), (B, 2, 33), (C, 2, 33)]),
        (3, [A], None, [(A, 3, None)]),
        (0, [A], 10, [(A, 0, 10)]),
    ],
)
def test_every_slot_gets_the_same_and_none_more_than_its_folder_has(
    capacity: int, folders: list[Path], folder_bytes: int | None, expected: list[tuple[Path, int, int | None]]
) -> None:
    shares = divide_slots(capacity, folders, folder_bytes)
    assert [(share.folder, share.slots, share.slot_bytes) for share in shares] == expected
    assert sum(share.slots for share in shares) == capacity
    if folder_bytes is not None:
        assert all(share.slots * (share.slot_bytes or 0) <= folder_bytes for share in shares)


def test_tasks_go_where_most_slots_are_free() -> None:
    shares = divide_slots(5, [A, B], None)
    occupied: list[Path] = []
    while share := free_share(shares, occupied):
        occupied.append(share.folder)
    assert occupied == [A, A, B, A, B]


def test_without_a_free_slot_there_is_no_share() -> None:
    assert free_share([FolderShare(A, 1, None)], [A]) is None
    assert free_share([], []) is None
