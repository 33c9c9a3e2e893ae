"""What Druid 37 answered to a submission, and what this product makes of the same body."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from druid_core.errors import InvalidTask
from druid_core.task import inject_context, load_task, parse_task

GOLDEN = Path(__file__).parents[2] / "golden" / "druid-api"
NOW_MS = 1_767_225_600_000


def recorded(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDEN / name).read_text())


def by_name(record: dict[str, Any]) -> str:
    return str(record["name"])


@pytest.mark.parametrize("record", recorded("submit.json"), ids=by_name)
def test_accepted_task_is_stored_as_druid_stores_it(record: dict[str, Any]) -> None:
    task = inject_context(parse_task(record["request"], NOW_MS), {})

    ours = json.dumps(task.to_wire()).replace(task.id, record["task"])

    assert ours == json.dumps(record["payload"])  # as text: the order of keys counts


@pytest.mark.parametrize("record", recorded("submit.json"), ids=by_name)
def test_stored_task_comes_back_unchanged(record: dict[str, Any]) -> None:
    payload = record["payload"]

    task = load_task(payload)

    assert task.id == record["task"]
    assert json.dumps(task.to_wire()) == json.dumps(payload)
    assert inject_context(task, {"priority": 1}).context.get("priority", 1) in (1, 60)


@pytest.mark.parametrize("record", recorded("submit-refused.json"), ids=by_name)
def test_refusal_has_druids_words(record: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask) as refusal:
        parse_task(record["request"], NOW_MS)

    assert str(refusal.value) == record["error"]


@pytest.mark.parametrize("record", recorded("submit-ids.json"), ids=by_name)
def test_id_is_kept_or_made_as_druid_makes_it(record: dict[str, Any]) -> None:
    task = parse_task(record["request"], NOW_MS)

    assert _shape(task.id) == _shape(record["task"])
    assert task.resource.availability_group == task.id


def _shape(task_id: str) -> str:
    """An id with what differs from one moment to the next replaced."""
    made = re.compile(
        r"_[a-p]{8}(?=_)|(?<=_)20[0-9T:.\-]+Z(?=$|_[0-9a-f]{8}-)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
    )
    return made.sub("<made>", task_id)
