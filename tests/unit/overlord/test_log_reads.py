"""A log that is read while its peon writes it."""

from pathlib import Path

import pytest

from druid_core.errors import StorageError
from druid_core.storage.object_store import ObjectStore
from druid_core.storage.task_logs import TaskLogs
from overlord.log import routes


class Replacing(ObjectStore):
    """Refuses the next `refusals` reads, as a server does whose object is replaced at that moment."""

    refusals = 0

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        if self.refusals:
            self.refusals -= 1
            raise StorageError("the range does not fit")
        return super().get(path, start, end)


@pytest.mark.parametrize(("refusals", "is_read"), [(0, True), (1, True), (routes.READS, False)])
async def test_a_part_that_is_replaced_while_it_is_read_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, is_read: bool
) -> None:
    monkeypatch.setattr(routes, "LOOK_SECONDS", 0.0)
    store = Replacing.from_url(str(tmp_path))
    assert isinstance(store, Replacing)
    logs = TaskLogs(store)
    logs.push_part("t", 1, 0, b"what was said")
    log = logs.best_log("t")
    assert log is not None
    store.refusals = refusals
    if is_read:
        assert await routes.read_log(logs, "t", log, 5, 13) == b"was said"
    else:
        with pytest.raises(StorageError):
            await routes.read_log(logs, "t", log, 5, 13)
