"""The chart's schema of `overlord.settings` and `operator.settings`, made of the classes that read them."""

import ast
import inspect
import json
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from overlord.settings import OverlordSettings
from overlord_operator.settings import OperatorSettings
from tests.support.chart import CHART, Raw

SCHEMA = CHART / "values.schema.json"
MADE_OF: dict[str, type[BaseModel]] = {"overlordSettings": OverlordSettings, "operatorSettings": OperatorSettings}
"""Which definition of the schema is made of which class."""

_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def with_settings(schema: Raw) -> Raw:
    """The schema with the definitions of settings as their classes are now."""
    made = {name: _definition(settings) for name, settings in MADE_OF.items()}
    return {**schema, "$defs": {**schema["$defs"], **made}}


def written(schema: Raw) -> str:
    """As it stands in the file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _definition(settings: type[BaseModel]) -> Raw:
    words = _words(settings)
    raw = settings.model_json_schema()["properties"]
    return {
        "type": "object",
        "description": f"Made of {settings.__name__} by tests/chart/write_schema.py.",
        "additionalProperties": False,
        "properties": {
            name: {**_shape(raw[name], field.annotation), "description": words[name]}
            for name, field in settings.model_fields.items()
        },
    }


def _shape(raw: Raw, annotation: Any) -> Raw:
    """What a value may be; lists of texts may be one text, with commas."""
    given = next((each for each in raw.get("anyOf", []) if each.get("type") != "null"), raw)
    if get_origin(annotation) is tuple and get_args(annotation)[0] is str:
        return {"type": ["string", "array"], "items": {"type": "string"}}
    return {key: given[key] for key in _KEPT if key in given}


def _words(settings: type[BaseModel]) -> dict[str, str]:
    """The first sentence below each field."""
    (tree,) = ast.parse(inspect.getsource(settings)).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(below, ast.Expr), field.target.id
            assert isinstance(below.value, ast.Constant), field.target.id
            text = " ".join(str(below.value.value).split())
            found[field.target.id] = text.partition(". ")[0].rstrip(".") + "."
    return found
