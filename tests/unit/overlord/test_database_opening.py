"""How a start waits for its database: when it says so, and when it gives up."""

import logging

import pytest

from druid_core.errors import InvalidInput, Unavailable
from overlord.db.opening import open_database

NOBODY = "postgresql://me:secret@127.0.0.1:1/druid"


class _Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def _open(url: str, wait_seconds: float, time: _Time) -> None:
    await open_database(url, 2, wait_seconds, clock=time.read, sleep=time.sleep)


async def test_the_wait_ends_after_its_time_with_one_sentence_that_says_what_was_waited_for() -> None:
    time = _Time()
    with pytest.raises(Unavailable) as raised:
        await _open(NOBODY, 30, time)
    assert str(raised.value) == (
        "The metadata database [127.0.0.1:1/druid] does not answer: nobody listens there. "
        "It was waited for 30 s (NEMETON_DATABASE_WAIT_SECONDS)"
    )
    assert time.now == 130


async def test_a_line_every_five_seconds_says_what_is_waited_for_and_never_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "overlord"), pytest.raises(Unavailable):
        await _open(NOBODY, 12, _Time())
    assert [line.split("seconds_left=")[1] for line in caplog.messages] == ["12", "7", "2"]
    assert all("[127.0.0.1:1/druid] does not answer: nobody listens there" in line for line in caplog.messages)
    assert "secret" not in caplog.text


async def test_no_time_to_wait_is_one_question() -> None:
    time = _Time()
    with pytest.raises(Unavailable, match=r"nobody listens there$"):
        await _open(NOBODY, 0, time)
    assert time.now == 100


async def test_what_is_no_url_of_a_database_is_not_waited_for() -> None:
    time = _Time()
    with pytest.raises(InvalidInput, match="expected postgresql://"):
        await _open("mysql://127.0.0.1/druid", 30, time)
    assert time.now == 100
