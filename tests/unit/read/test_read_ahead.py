"""Reading one batch ahead."""

import threading
from collections.abc import Iterator

import pytest

from peon.read.ahead import read_ahead


def test_items_come_in_their_order() -> None:
    assert list(read_ahead(iter(range(100)))) == list(range(100))


def test_what_the_reader_raises_is_raised_after_what_it_had_read() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken input")

    reader = read_ahead(items())
    assert next(reader) == 1
    with pytest.raises(ValueError, match="broken input"):
        next(reader)


def test_leaving_early_ends_the_reading_thread() -> None:
    before = threading.active_count()
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.append(True)

    reader = read_ahead(items())
    assert next(reader) == 0
    reader.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_the_next_item_is_read_while_the_last_one_is_worked_on() -> None:
    second_was_read = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second_was_read.set()
        yield 2

    for item in read_ahead(items()):
        if item == 1:
            assert second_was_read.wait(10)
