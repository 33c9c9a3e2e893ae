"""Kubernetes' amounts of memory, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlord_operator.pod.memory import can_have_more_memory, with_more_memory
from overlord_operator.pod.quantity import amount_of, bytes_of, memory_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2Gi", 2 << 30),
        ("1.5Gi", 3 << 29),
        ("500M", 500_000_000),
        ("128974848", 128_974_848),
        (128_974_848, 128_974_848),
        ("129e6", 129_000_000),
        ("1E", 10**18),
        ("123Mi", 123 << 20),
        ("128974848000m", 128_974_848),
        (".5Ki", 512),
        ("", None),
        ("Gi", None),
        ("2 Gi", None),
        ("2GB", None),
        (None, None),
    ],
)
def test_quantity_is_read_as_kubernetes_reads_it(text: object, size: int | None) -> None:
    assert bytes_of(text) == size


def test_parts_of_a_core_are_exact() -> None:
    assert str(amount_of("500m")) == "0.500"


@given(st.integers(min_value=0, max_value=1 << 50))
def test_written_memory_holds_what_it_was_and_less_than_a_mebibyte_more(size: int) -> None:
    back = bytes_of(memory_text(size))
    assert back is not None
    assert size <= back < size + (1 << 20)


@given(st.integers(min_value=1, max_value=64), st.integers(min_value=1, max_value=64), st.integers(0, 12))
def test_memory_never_shrinks_and_never_passes_the_cap(start: int, cap: int, times: int) -> None:
    before = {"limits": {"memory": f"{start}Gi"}}
    after = bytes_of(with_more_memory(before, 1.5, times, f"{cap}Gi")["limits"]["memory"])
    assert after is not None
    assert start << 30 <= after <= max(start, cap) << 30


def test_other_resources_stay_as_they_are() -> None:
    before = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"ephemeral-storage": "1Gi"}}
    after = with_more_memory(before, 2, 1, None)
    assert after == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"ephemeral-storage": "1Gi"}}
    assert before["requests"]["memory"] == "1Gi"


def test_more_is_to_be_had_until_the_cap_and_with_a_factor() -> None:
    resources = {"limits": {"memory": "2Gi"}}
    assert can_have_more_memory(resources, 2, 0, "4Gi")
    assert not can_have_more_memory(resources, 2, 1, "4Gi")
    assert not can_have_more_memory(resources, 1, 0, None)
    assert not can_have_more_memory({}, 2, 0, None)
