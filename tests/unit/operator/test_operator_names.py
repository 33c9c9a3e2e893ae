"""Names that Druid's Kubernetes runner would give."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlord_operator import names

LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def test_job_has_the_name_that_druid_gives_it() -> None:
    task_id = "noop_web_abcdefgh_2026-01-01T00:00:00.000Z"
    assert names.job_name(task_id) == "noopwebabcdefgh20260101t000000-f59fdc2352a0146ce6e8588426bb2526"


def test_prefix_takes_the_place_of_the_readable_part_and_not_of_the_hash() -> None:
    assert names.job_name("a-task", prefix="Team_1").startswith("team1-")
    assert names.job_name("a-task", prefix="Team_1")[6:] == names.job_name("a-task").split("-")[1]


def test_ids_that_read_alike_get_names_of_their_own() -> None:
    assert names.job_name("a.b") != names.job_name("ab")


@given(st.text(max_size=300))
def test_any_id_gives_a_name_and_labels_that_kubernetes_takes(task_id: str) -> None:
    name = names.job_name(task_id)
    assert len(name) <= names.MAX_LABEL_CHARACTERS
    assert DNS_LABEL.fullmatch(name)
    for value in (names.id_label(task_id), names.text_label(task_id)):
        assert len(value) <= names.MAX_LABEL_CHARACTERS
        assert LABEL_VALUE.fullmatch(value)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("wikiticker", "wikiticker"),  # nothing to do
        ("a/b c", "abc"),  # what a label cannot hold is dropped
        ("__web.site-", "web.site"),  # a label begins and ends with a letter or digit
        ("x" * 80, "x" * 63),  # and has 63 characters at most
        ("x" * 62 + "-" + "y", "x" * 62),  # the cut must not leave a bad end
    ],
)
def test_text_becomes_a_label(text: str, label: str) -> None:
    assert names.text_label(text) == label


def test_peon_carries_the_labels_that_selectors_of_druid_ask_for() -> None:
    labels = names.peon_labels("index_web_1", "group_1", "index_parallel", "web", "druid")
    assert labels == {
        "druid.k8s.peons": "true",
        "druid.task.id": "indexweb1",
        "druid.task.group.id": "group1",
        "druid.task.type": "index_parallel",
        "druid.task.datasource": "web",
        "druid.overlord.namespace": "druid",
    }
