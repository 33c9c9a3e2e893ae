"""Templates are chosen as Druid chooses them, and by the user before that."""

from typing import Any

import pytest

from druid_core.errors import InvalidTask
from overlord_operator.pod.select import choose_template

TEMPLATES: dict[str, dict[str, Any]] = {key: {"key": key} for key in ("base", "big", "index_kafka", "stream")}

SELECTORS: dict[str, Any] = {
    "type": "default",
    "podTemplateSelectStrategy": {
        "type": "selectorBased",
        "selectors": [
            {"selectionKey": "big", "context.tags": {"size": ["xl", "l"], "team": ["a"]}, "dataSource": ["web"]},
            {"selectionKey": "stream", "type": ["index_kafka", "index_kinesis"], "dataSource": []},
            {"selectionKey": "unknown", "type": ["kill"]},
        ],
    },
}


def key(execution: dict[str, Any] | None, task_type: str, data_source: str = "web", **tags: str) -> str:
    context = {"tags": tags} if tags else {}
    chosen, template = choose_template(execution, TEMPLATES, task_type, data_source, context)
    assert template == TEMPLATES[chosen]
    return chosen


@pytest.mark.parametrize("execution", [None, {}, {"podTemplateSelectStrategy": {"type": "taskType"}}])
def test_by_default_a_template_has_the_name_of_the_tasks_type(execution: dict[str, Any] | None) -> None:
    assert key(execution, "index_kafka") == "index_kafka"
    assert key(execution, "index_parallel") == "base"


@pytest.mark.parametrize(
    ("task_type", "data_source", "tags", "chosen"),
    [
        ("index_parallel", "web", {"size": "xl", "team": "a"}, "big"),  # all conditions hold
        ("index_parallel", "web", {"size": "xl"}, "base"),  # a tag is missing
        ("index_parallel", "web", {"size": "s", "team": "a"}, "base"),  # a tag has another value
        ("index_parallel", "app", {"size": "xl", "team": "a"}, "base"),  # another datasource
        ("index_kafka", "app", {}, "stream"),  # an empty list allows everything
        ("index_kafka", "web", {"size": "l", "team": "a"}, "big"),  # the first that holds counts
        ("kill", "web", {}, "base"),  # the key that it selects does not exist
    ],
)
def test_selectors_are_asked_in_order(task_type: str, data_source: str, tags: dict[str, str], chosen: str) -> None:
    assert key(SELECTORS, task_type, data_source, **tags) == chosen


def test_own_choice_comes_first() -> None:
    assert choose_template(SELECTORS, TEMPLATES, "index_kafka", "web", {}, "base")[0] == "base"


def test_choice_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidTask, match=r"no pod template \[huge\].*this release has base, big, index_kafka, stream"):
        choose_template(None, TEMPLATES, "noop", "none", {}, "huge")


def test_release_without_templates_needs_none() -> None:
    assert choose_template(SELECTORS, {}, "noop", "none", {}) == ("base", {})


@pytest.mark.parametrize("tags", ["text", ["a"], None])
def test_tags_that_are_no_tags_match_no_selector(tags: object) -> None:
    assert choose_template(SELECTORS, TEMPLATES, "noop", "web", {"tags": tags})[0] == "base"
