"""
Which pod template a task gets: Druid's two strategies, and the user's own choice before them.

Druid: TaskTypePodTemplateSelectStrategy, SelectorBasedPodTemplateSelectStrategy
"""

from collections.abc import Mapping
from typing import Any, cast

from druid_core.errors import InvalidTask

BASE = "base"
"""The template of tasks for which there is no other. Druid: DruidK8sConstants.BASE_TEMPLATE_NAME"""

Template = Mapping[str, Any]


def choose_template(
    execution: Mapping[str, Any] | None,
    templates: Mapping[str, Template],
    task_type: str,
    data_source: str,
    context: Mapping[str, Any],
    wanted: str | None = None,
) -> tuple[str, Template]:
    """
    The key and the content of the task's template; an empty template where the release has no `base`.

    `execution` is Druid's dynamic config as stored, None where it was never set. Raises InvalidTask when `wanted`, the
    user's own choice, does not exist.
    """
    if wanted is not None:
        if wanted not in templates:
            known = ", ".join(sorted(templates)) or "none"
            raise InvalidTask(
                f"There is no pod template [{wanted}] for spec.peon.template: this release has {known}"
                " (its chart's values define them under podTemplates)"
            )
        return wanted, templates[wanted]
    strategy = _mapping((execution or {}).get("podTemplateSelectStrategy"))
    if strategy.get("type") == "selectorBased":
        key = _first_match(strategy, task_type, data_source, context)
    else:
        key = task_type
    if key not in templates:
        key = BASE
    return key, templates.get(key, {})


def _first_match(strategy: Mapping[str, Any], task_type: str, data_source: str, context: Mapping[str, Any]) -> str:
    for selector in cast("list[object]", strategy.get("selectors") or []):
        fields = _mapping(selector)
        if (
            _allows(fields.get("type"), task_type)
            and _allows(fields.get("dataSource"), data_source)
            and _tags_match(_mapping(fields.get("context.tags")), context)
        ):
            return str(fields.get("selectionKey"))
    return BASE


def _tags_match(conditions: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    """Every tag that is listed has one of its values. Druid: Selector.evaluate"""
    tags = _mapping(context.get("tags"))
    return all(tags.get(tag) is not None and _allows(values, tags[tag]) for tag, values in conditions.items())


def _allows(values: object, value: object) -> bool:
    """A condition that is missing or empty allows everything."""
    return not values or (isinstance(values, list) and value in values)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
