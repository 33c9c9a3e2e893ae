"""Filters of locks that cannot be read are refused by the name of what is wrong in them."""

from typing import Any

import pytest

from druid_core.errors import InvalidInput
from overlord.action.lock_listing import parse_filters

EXAMPLE = '{"datasource": "web", "priority": 0}'
MISSING = "Lock filter [0]: [datasource] is missing: expected the name of a datasource"
LONG = 79 * "x"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            [{"dataSource": "web"}],
            f"{MISSING}; [dataSource] means nothing here",
        ),
        ([{}], MISSING),
        (
            [{"datasource": "web"}, {"datasource": "web", "priority": "high"}],
            'Lock filter [1]: [priority] must be a whole number, not "high"',
        ),
        ([{"datasource": 7}], "Lock filter [0]: [datasource] must be the name of a datasource, not 7"),
        (
            [{"datasource": "web", "intervals": ["nope"]}],
            'Lock filter [0]: [intervals] must be a list of intervals such as "2026-01-01/2026-01-02", not ["nope"]',
        ),
        (
            [{"datasource": "web", "intervals": [list(range(100))]}],
            'Lock filter [0]: [intervals] must be a list of intervals such as "2026-01-01/2026-01-02", not this list',
        ),
        ([{"datasource": "web", "context": []}], "Lock filter [0]: [context] must be an object, not []"),
        (
            ["web"],
            f'Lock filter [0]: expected an object such as {EXAMPLE}, not "web"',
        ),
        (
            {"datasource": "web"},
            f"Expected a list of lock filters such as {EXAMPLE}, not an object",
        ),
        (
            "x" * 100,
            f'Expected a list of lock filters such as {EXAMPLE}, not "{LONG}…',
        ),
    ],
)
def test_the_field_is_named_and_what_was_expected(raw: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_filters(raw)
    assert str(refused.value) == words


def test_what_druid_sends_is_read_and_what_nobody_knows_passed_over() -> None:
    [read] = parse_filters([{"datasource": "web", "priority": 5, "intervals": None, "context": None, "other": 1}])
    assert (read.datasource, read.priority, read.intervals, read.context) == ("web", 5, None, None)
