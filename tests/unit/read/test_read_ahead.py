"""Reading one batch ahead."""

import threading
from collections.abc import Iterator

import pytest

from peon.read.ahead import map_in_turn, read_ahead


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


def test_results_come_in_the_order_of_the_items_whoever_is_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            assert second_is_done.wait(10)
        if item == 2:
            second_is_done.set()
        return -item

    assert list(map_in_turn(work, iter([1, 2, 3]), 2)) == [-1, -2, -3]


def test_what_the_items_raise_is_raised_after_the_results_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken input")

    results = map_in_turn(str, items(), 2)
    assert next(results) == "1"
    with pytest.raises(ValueError, match="broken input"):
        next(results)


def test_no_more_is_taken_than_the_hands_and_one() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = map_in_turn(str, items(), 2)
    assert next(results) == "0"
    assert len(taken) == 3
    results.close()  # type: ignore[attr-defined]


def test_leaving_early_ends_the_hands() -> None:
    before = threading.active_count()
    results = map_in_turn(str, iter(range(1_000_000)), 2)
    assert next(results) == "0"
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
