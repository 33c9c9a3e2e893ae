"""One data set on its way through the ring; every step is done once, when the first test asks for it."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cached_property
from pathlib import Path

from tests.peer import our_peon
from tests.peer.datasets import DataSet, make
from tests.peer.oracle import StoredSegment, ingest
from tests.support.druid.workshop import Dump, Pushed, Workshop, Written

_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="our-peon")

VERSION = "2024-03-01T10:00:00.000Z"


class Case:
    """A data set, what the oracle expects of it, what Druid writes of it and what we do."""

    def __init__(self, name: str, workshop: Workshop, folder: Path) -> None:
        self._workshop = workshop
        self._folder = folder
        self._dumps = 0
        self.name = name

    @cached_property
    def data(self) -> DataSet:
        return make(self.name)

    @cached_property
    def expected(self) -> list[StoredSegment]:
        return ingest(self.data)

    @cached_property
    def druids(self) -> Written:
        _ = self._our_run  # our peon runs beside Druid: two processors, two processes
        as_json = self.data.encoding == "parquet"  # Druid's reader of parquet is an extension, which is not here
        file = self.data.write_json(self._folder) if as_json else self._file
        return self._workshop.write(self.data.spec(file, as_json=as_json), VERSION, self._folder / "druid")

    @cached_property
    def ours(self) -> our_peon.Ingested:
        return self._our_run.result()

    def wait(self) -> None:
        """Until nothing runs that could still write to the folder."""
        wait([self._our_run])

    def dump(self, pushed: Pushed) -> Dump:
        self._dumps += 1
        return self._workshop.dump(pushed.folder, self._folder / f"dump-{self._dumps}")

    @cached_property
    def _our_run(self) -> Future[our_peon.Ingested]:
        return _beside.submit(our_peon.ingest, self.data.spec(self._file), self._folder / "ours")

    @cached_property
    def _file(self) -> Path:
        return self.data.write(self._folder)
