"""The port of a real peon: closed to whoever finds it, and open to the Overlord."""

import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from tests.support.house import House


@pytest.mark.parametrize("what", ["log", "liveReports", "rowStats"])
def test_a_running_peon_answers_the_overlord_and_no_stranger(house: House, what: str) -> None:
    task_id = house.submit({"type": "noop", "id": f"asked for {what}", "runTime": 600_000})
    house.running(task_id)
    location = house.overlord.status(task_id)["location"]
    url = f"http://{location['host']}:{location['port']}/druid/worker/v1/chat/{quote(task_id)}/{what}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    with refused.value:
        assert refused.value.code == 401
        assert b"Running task" not in refused.value.read()
    assert f"Running task [{task_id}]".encode() in house.overlord.log(task_id)
    assert house.overlord.report(task_id) == {"error": f"Can't find chatHandler for handler[{task_id}]"}
    house.overlord.shutdown(task_id)
    house.finished(task_id)
