"""The description of the API: whole, without names that are given twice, and true to the gate."""

import re
from typing import Any

import pytest

from overlord.app import create_app
from overlord.auth.rules import is_open
from overlord.description.operations import OPERATIONS
from overlord.settings import OverlordSettings

Operation = dict[str, Any]

ASKING = {"authenticators": ("basic",)}


def described(**settings: Any) -> dict[str, Any]:
    return create_app(OverlordSettings(database_url="postgresql:///none", **settings)).openapi()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return described()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, Operation]:
    return {f"{verb.upper()} {path}": each for path, verbs in document["paths"].items() for verb, each in verbs.items()}


def test_every_operation_has_a_name_of_its_own_and_words(operations: dict[str, Operation]) -> None:
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names) > 100
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["tags"], name


def test_nothing_is_said_of_an_operation_that_is_not_there(operations: dict[str, Operation]) -> None:
    assert set(OPERATIONS) - set(operations) == set()


def test_every_parameter_is_described(operations: dict[str, Operation]) -> None:
    for name, operation in operations.items():
        in_path = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", name))
        assert all(each["description"] for each in operation.get("parameters", ())), name


def test_no_operation_answers_as_the_framework_would(
    document: dict[str, Any], operations: dict[str, Operation]
) -> None:
    assert not any("422" in operation["responses"] for operation in operations.values())
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_a_body_brings_the_answers_that_refuse_one(operations: dict[str, Operation]) -> None:
    with_body = {name for name, operation in operations.items() if "requestBody" in operation}
    assert len(with_body) > 20
    for name in with_body:
        assert {"400", "408", "413", "415", "500"} <= set(operations[name]["responses"]), name


def test_a_500_that_is_described_is_never_a_failure_of_ours(
    document: dict[str, Any], operations: dict[str, Operation]
) -> None:
    """A failure of ours says persona OPERATOR; by that a client, and the fuzzing of the API, tell them apart."""
    schemas = document["components"]["schemas"]
    assert schemas["UnreadableRequest"]["properties"]["persona"]["const"] == "USER"
    described_500 = [
        operation["responses"]["500"] for operation in operations.values() if "500" in operation["responses"]
    ]
    shapes = {answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] for answer in described_500}
    assert shapes == {"UnreadableRequest", "PlainError"}


@pytest.mark.parametrize(("settings", "anonymous"), [({}, True), (ASKING, False)])
def test_who_must_sign_in_is_told_how(settings: dict[str, Any], anonymous: bool) -> None:
    document = described(**settings)
    assert set(document["components"]["securitySchemes"]) == {"basic", "bearer"}
    assert ({} in document["security"]) is anonymous
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            is_free = operation.get("security") == []
            assert is_free is is_open(verb.upper(), path)
            assert ("401" in operation["responses"]) is not is_free


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    references: set[str] = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert len(references) > 50
    assert references <= set(schemas)
    assert "$defs" not in str(document)


def test_a_task_needs_its_type_and_nothing_that_is_made_for_it(operations: dict[str, Operation]) -> None:
    body = operations["POST /druid/indexer/v1/task"]["requestBody"]["content"]["application/json"]
    *ours, of_java_peons = body["schema"]["anyOf"]
    assert of_java_peons["required"] == ["type"]
    needed = {shape["properties"]["type"]["const"]: shape["required"] for shape in ours}
    assert needed["noop"] == ["type"]
    assert needed["index_parallel"] == ["type", "spec"]
    assert needed["kill"] == ["type", "dataSource", "interval"]
