"""The order of Java's hash maps."""

from hypothesis import given
from hypothesis import strategies as st

from druid_core.java_order import copied_capacity, grown_capacity, hash_order, set_order


def test_context_of_four_keys_is_listed_as_druid_listed_it() -> None:
    keys = ["priority", "taskLockTimeout", "forceTimeChunkLock", "useLineageBasedSegmentAllocation"]
    capacity = grown_capacity(copied_capacity(2), 4)
    assert capacity == 8
    assert hash_order(keys, capacity) == [
        "taskLockTimeout",
        "useLineageBasedSegmentAllocation",
        "priority",
        "forceTimeChunkLock",
    ]


def test_set_is_listed_as_druid_listed_it() -> None:
    assert set_order(["ts", "v", "s", "cnt", "__time"]) == ["__time", "s", "v", "cnt", "ts"]


def test_keys_beyond_ascii_hash_as_utf16() -> None:
    # Java: "é".hashCode() = 233, "😀".hashCode() = 1772899
    assert hash_order(["é", "A"], 256) == ["A", "é"]
    assert hash_order(["😀", chr(1772899 & 0xFFFF)], 1 << 21) == [chr(1772899 & 0xFFFF), "😀"]


@given(st.lists(st.text()))
def test_set_has_each_key_once(keys: list[str]) -> None:
    listed = set_order(keys)
    assert len(listed) == len(set(listed))
    assert set(listed) == set(keys)


@given(st.integers(1, 10_000))
def test_map_copied_from_another_needs_no_growth(size: int) -> None:
    assert grown_capacity(copied_capacity(size), size) == copied_capacity(size)
