"""What every column needs while it is written: a folder for scratch files, hands for compressing, the index spec."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from peon import allowance
from peon.segment.index_spec import IndexSpec
from peon.segment.scratch import Scratch

MAX_INDEXED_BYTES = 2147483647 - 4096
"""The largest GenericIndexed in one piece. Druid: GenericIndexed.MAX_FILE_SIZE, Integer.MAX less a page."""


def _hands() -> ThreadPoolExecutor:
    """One thread a usable CPU: compression and sorting release the interpreter lock."""
    return ThreadPoolExecutor(max_workers=allowance.cores(), thread_name_prefix="segment")


@dataclass(slots=True)
class Workbench:
    """Shared by the columns of one segment; `close` gives back threads and scratch files."""

    folder: Path
    index_spec: IndexSpec
    max_indexed_bytes: int = MAX_INDEXED_BYTES
    pool: ThreadPoolExecutor = field(default_factory=_hands)
    _scratches: list[Scratch] = field(default_factory=list[Scratch])

    def scratch(self) -> Scratch:
        """A new scratch, closed with the workbench."""
        scratch = Scratch(self.folder)
        self._scratches.append(scratch)
        return scratch

    def close(self) -> None:
        """Stop the threads and forget all scratch bytes. Calling twice is calling once."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        for scratch in self._scratches:
            scratch.close()
        self._scratches.clear()
