"""What an Overlord says at its start of where logs are kept."""

import pytest

from overlord.server import log_storage_doubts
from overlord.settings import OverlordSettings


@pytest.mark.parametrize(
    ("task_logs", "host", "said"),
    [
        (None, "127.0.0.1", "no log storage is set"),
        ("file:///var/logs", "0.0.0.0", "log storage is a folder"),
        ("/var/logs", "::", "log storage is a folder"),
        ("file:///var/logs", "127.0.0.1", None),
        ("file:///var/logs", "localhost", None),
        ("s3://bucket/logs", "0.0.0.0", None),
    ],
)
def test_a_start_warns_of_logs_that_nobody_will_find(task_logs: str | None, host: str, said: str | None) -> None:
    settings = OverlordSettings(database_url="postgresql://a@b/c", task_logs=task_logs, host=host)
    doubts = log_storage_doubts(settings)
    assert [doubt for doubt in doubts if said is None or said not in doubt] == []
    assert len(doubts) == (0 if said is None else 1)
