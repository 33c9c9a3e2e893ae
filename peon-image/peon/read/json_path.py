"""
flattenSpec: fields of the input that are found by a path instead of a name.

Paths that lead to one place are left to the vectorised parser. Paths that may find several values (wildcards, `..`,
filters, slices) are followed record by record. Druid: ObjectFlatteners, JSONPathFieldSpec
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from druid_core.errors import TaskFailure
from druid_core.spec.input import FlattenSpec

_STEP = re.compile(
    r"\.(?P<name>[^.\[\]()*?@'\"\s]+)"
    r"|\[(?P<quote>['\"])(?P<quoted>(?:(?!(?P=quote))[^\\])*)(?P=quote)\]"
    r"|\[(?P<index>\d+)\]"
)


@dataclass(frozen=True, slots=True)
class FlattenedField:
    """
    A field by path. `find` gives its value in a document.

    `sql_path`, if there is one, leads DuckDB to the same; `members`, if any, are the names along the way, where the
    path has nothing but names.
    """

    name: str
    find: Callable[[Any], Any]
    sql_path: str | None = None
    members: tuple[str, ...] = ()


def flattened_fields(spec: FlattenSpec | None) -> list[FlattenedField]:
    """
    The fields of a flattenSpec, in its order.

    Raises TaskFailure for a path that cannot be understood.
    """
    return [_field(field.type, field.name, field.expr, field.nodes) for field in spec.fields] if spec else []


def _field(
    kind: Literal["root", "path", "tree"], name: str, expr: str | None, nodes: Sequence[str] | None
) -> FlattenedField:
    match kind:
        case "root":
            return _by_steps(name, [expr or name])
        case "tree":
            return _by_steps(name, nodes or [])
        case "path":
            steps = _steps(expr or name)
            return _by_search(name, expr or name) if steps is None else _by_steps(name, steps)


def _steps(expr: str) -> list[str | int] | None:
    """The members and places along a path that leads to one value at most; None for any other path."""
    steps: list[str | int] = []
    position = 1
    while position < len(expr):
        step = _STEP.match(expr, position)
        if step is None:
            return None
        steps.append(int(step["index"]) if step["index"] else step["name"] or step["quoted"] or "")
        position = step.end()
    return steps if expr.startswith("$") else None


def _by_steps(name: str, steps: Sequence[str | int]) -> FlattenedField:
    def find(document: Any) -> Any:
        for step in steps:
            if isinstance(step, int):
                places = cast("list[Any]", document) if isinstance(document, list) else []
                document = places[step] if step < len(places) else None
            else:
                document = cast("dict[str, Any]", document).get(step) if isinstance(document, dict) else None
        return document

    names = [step for step in steps if isinstance(step, str)]
    # DuckDB has no way to write these characters in a quoted step.
    if not names or not all(names) or any(set(step) & set('"*\\') for step in names):
        return FlattenedField(name, find)
    sql_path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in steps)
    return FlattenedField(name, find, sql_path, tuple(names) if len(names) == len(steps) else ())


def _by_search(name: str, expr: str) -> FlattenedField:
    # Few tasks have such a path, and the parser takes long to import.
    import jsonpath_ng.ext  # pyright: ignore[reportMissingTypeStubs]
    from jsonpath_ng.exceptions import JSONPathError  # pyright: ignore[reportMissingTypeStubs]

    try:
        path: Any = cast("Any", jsonpath_ng.ext).parse(expr)
    except JSONPathError as error:
        raise TaskFailure(f"The flattenSpec field [{name}]: [{expr}] is not a JSONPath: {error}") from error

    def find(document: Any) -> Any:
        return [match.value for match in path.find(document)]

    return FlattenedField(name, find)
