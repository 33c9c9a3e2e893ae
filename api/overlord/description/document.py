"""From what the framework knows of the routes to the whole description of the API."""

from types import UnionType
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from druid_core.java_task import JavaTask
from druid_core.task import Task
from overlord.auth.rules import is_open
from overlord.description import answers
from overlord.description.answers import MODELS, SCHEMAS, Answer
from overlord.description.operations import OPERATIONS, Said

Document = dict[str, Any]
"""OpenAPI, or a part of it."""

PATH_PARAMETERS = {
    "task_id": "The id of a task.",
    "data_source": "The name of a datasource.",
    "segment_id": "The id of a segment of this datasource.",
    "spec_id": "The id of a supervisor.",
    "host": "A worker, as `host:port`.",
    "view": "Whatever Druid has there.",
    "authenticator": "Any name: there is one list of users.",
    "authorizer": "Any name: there is one list of roles.",
    "user": "The name of a user.",
    "role": "The name of a role.",
}
"""What each of them is, wherever it stands in a path."""

SCHEMES = {
    "basic": {"type": "http", "scheme": "basic", "description": "User and password, where `authenticators` has basic."},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A web token of the issuer where `authenticators` has jwt; the token of a task's attempt; the "
        "runners' secret.",
    },
}

_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
"""Of answers that no route here gives."""

_FOR_JAVA_PEONS: Document = {
    "title": "A task of a Java peon",
    "description": "Of a type that the setting `druid_peon_task_types` names, as Druid has it.",
    "type": "object",
    "properties": {"type": {"type": "string"}},
    "required": ["type"],
}


class DescribedApp(FastAPI):
    """An application that describes itself whole. `asks` says whether callers must say who they are."""

    asks: bool = True

    def openapi(self) -> Document:
        """Made when it is first asked for."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi(), asks=self.asks)
        return self.openapi_schema


def operation_id(route: APIRoute) -> str:
    """`task_get_status`: the folder or module, and the function."""
    *_, folder, module = route.endpoint.__module__.split(".")
    return f"{folder if module == 'routes' else module}_{route.name}"


def complete(document: Document, *, asks: bool) -> Document:
    """The framework's document with bodies, all answers, and how to sign in."""
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            said = OPERATIONS.get(f"{method.upper()} {path}", Said())
            _add_body(operation, said, schemas)
            _add_parameters(operation, said)
            _add_answers(method.upper(), path, operation, said)
            if is_open(method.upper(), path):
                operation["security"] = []
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    _, shared = models_json_schema([(model, "serialization") for model in MODELS], ref_template=SCHEMAS)
    schemas |= shared["$defs"]
    _describe_task(document, schemas)
    document["components"]["securitySchemes"] = SCHEMES
    document["security"] = [*([] if asks else [{}]), *({name: list[str]()} for name in SCHEMES)]
    return document


def _add_body(operation: Document, said: Said, schemas: dict[str, Any]) -> None:
    if said.body is None:
        return
    content: Document = {"schema": _schema(said.body, schemas)}
    if said.example is not None:
        content["example"] = said.example
    operation["requestBody"] = {"required": True, "content": {"application/json": content}}


def _add_parameters(operation: Document, said: Said) -> None:
    parameters: list[Document] = [*operation.get("parameters", ()), *said.query]
    for each in parameters:
        if each["in"] == "path":
            each["description"] = PATH_PARAMETERS.get(each["name"], "")
            each["schema"] = {"type": "string", "minLength": 1}
    if parameters:
        operation["parameters"] = parameters


def _add_answers(method: str, path: str, operation: Document, said: Said) -> None:
    """What the route says, what its kind says, and what is said of it alone: the later goes before the earlier."""
    told: dict[str, Answer] = operation["responses"]
    told.pop("422", None)
    reads_body = "requestBody" in operation
    common: dict[str, Answer] = {}
    if not is_open(method, path):
        common |= {
            "401": answers.NOT_SIGNED_IN,
            "403": answers.NOT_ALLOWED,
            "429": answers.TOO_MANY,
            "503": answers.AWAY,
        }
    if reads_body or operation.get("parameters"):
        common["400"] = answers.REFUSED
    if "{" in path:
        common |= {"404": answers.NOT_FOUND, "500": answers.UNREADABLE}
    if reads_body:
        common |= {
            "408": answers.BODY_TOO_SLOW,
            "413": answers.BODY_TOO_LARGE,
            "415": answers.NOT_SAID_TO_BE_JSON,
            "500": answers.UNREADABLE,
        }
    operation["responses"] = dict(sorted({**common, **told, **said.answers}.items()))


def _describe_task(document: Document, schemas: dict[str, Any]) -> None:
    """What can be submitted; ids and the like are made for who does not give them."""
    assert isinstance(Task, UnionType)
    shapes = [_schema(kind, schemas) for kind in get_args(Task) if kind is not JavaTask]
    for shape in shapes:
        needed = [name for name in shape.get("required", ()) if name not in ("id", "groupId", "resource")]
        shape["required"] = ["type", *needed]
    content = document["paths"]["/druid/indexer/v1/task"]["post"]["requestBody"]["content"]
    content["application/json"]["schema"] = {"anyOf": [*shapes, _FOR_JAVA_PEONS]}


def _schema(kind: Any, schemas: dict[str, Any]) -> Document:
    """The JSON schema of a type; what it refers to goes into `schemas`."""
    schema = TypeAdapter(kind).json_schema(ref_template=SCHEMAS)
    for name, definition in schema.pop("$defs", {}).items():
        schemas.setdefault(name, definition)
    return schema
