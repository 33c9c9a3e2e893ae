"""Values that cannot work are refused before anything is installed, in words that say what to do."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART, TRIAL, HelmRefused, Raw, template

DATABASE = {"database": {"url": "postgresql://druid@db/druid"}}
STORAGE = {"deepStorage": {"url": "s3://lake/segments"}, "taskLogs": {"url": "s3://lake/logs"}}
SOUND: Raw = {**DATABASE, **STORAGE}

WRONG: list[tuple[str, Raw, str]] = [
    ("no database at all", STORAGE, "needs a PostgreSQL: set database.existingSecret.name"),
    (
        "two databases",
        {**SOUND, "database": {"url": "postgresql://db/druid", "embedded": {"enabled": True}}},
        "Only one database, please: database.url and database.embedded.enabled are set",
    ),
    ("nowhere for segments", DATABASE, "set deepStorage.url and taskLogs.url"),
    (
        "nowhere for logs",
        {**DATABASE, "deepStorage": {"url": "s3://lake/segments"}},
        "set deepStorage.url and taskLogs.url",
    ),
    (
        "a folder of a single pod for segments",
        {**SOUND, "deepStorage": {"url": "file:///data"}},
        "a folder that only one pod would see: set storageVolume.existingClaim",
    ),
    (
        "a folder beside the shared volume",
        {**SOUND, "taskLogs": {"url": "file:///data"}, "storageVolume": {"existingClaim": "druid"}},
        "not below storageVolume.mountPath (/var/lib/nemeton)",
    ),
    ("an object storage nobody knows", {**SOUND, "deepStorage": {"url": "hdfs://lake/segments"}}, "deepStorage/url"),
    ("a database that is no PostgreSQL", {**STORAGE, "database": {"url": "mysql://db/druid"}}, "database/url"),
    ("a misspelt value", {**SOUND, "overlord": {"replica": 3}}, "additional properties 'replica' not allowed"),
    ("a misspelt part", {**SOUND, "overlords": {}}, "additional properties 'overlords' not allowed"),
    ("no replica", {**SOUND, "operator": {"replicas": 0}}, "operator/replicas"),
    ("a number in words", {**SOUND, "operator": {"capacity": "many"}}, "got string, want integer"),
    ("the user root", {**SOUND, "security": {"runAsUser": 0}}, "security/runAsUser"),
    (
        "a setting that the chart makes itself",
        {**SOUND, "overlord": {"settings": {"host": "::"}}},
        "overlord.settings.host is made by the chart",
    ),
    (
        "a setting in the form of a variable",
        {**SOUND, "operator": {"settings": {"NEMETON_X": 1}}},
        "operator.settings.NEMETON_X: write a setting as settings.py has it",
    ),
    (
        "an Ingress to nowhere",
        {**SOUND, "overlord": {"ingress": {"enabled": True}}},
        "overlord.ingress.enabled needs overlord.ingress.hosts",
    ),
    (
        "fewer replicas at most than at least",
        {**SOUND, "overlord": {"autoscaling": {"enabled": True, "minReplicas": 9}}},
        "minReplicas (9) is above maxReplicas (6)",
    ),
    (
        "a pod template that is none",
        {**SOUND, "podTemplates": {"base": {"metadata": {}}}},
        "podTemplates.base has no spec: a pod template looks like",
    ),
    ("an upper-case namespace", {**SOUND, "operator": {"taskNamespaces": ["ETL"]}}, "operator/taskNamespaces/0"),
    ("an image prefix without its slash", {**SOUND, "image": {"prefix": "registry.example.com"}}, "image/prefix"),
    ("a port that is none", {**SOUND, "overlord": {"service": {"port": 70000}}}, "overlord/service/port"),
]


@pytest.mark.parametrize(("values", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_values_that_cannot_work_are_refused_with_the_reason(values: Raw, words: str) -> None:
    with pytest.raises(HelmRefused) as refused:
        template(values)
    assert words in str(refused.value)


@pytest.mark.parametrize("values", [SOUND, TRIAL], ids=["own servers", "trial"])
def test_the_least_that_is_asked_for_is_enough(values: Raw) -> None:
    assert "kind: Deployment" in template(values)


def _leaves(values: Raw, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _described(schema: Raw, definitions: Raw, above: str = "") -> Iterator[tuple[str, str]]:
    for name, property_ in schema.get("properties", {}).items():
        target = definitions[property_["$ref"].rpartition("/")[2]] if "$ref" in property_ else property_
        yield f"{above}{name}", property_.get("description") or target.get("description", "")
        if above + name not in ("global",):
            yield from _described(target, definitions, f"{above}{name}.")


def test_every_value_of_the_schema_has_a_description_and_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    known = {name for name, _ in _leaves(defaults)} | {
        ".".join(name.split(".")[:end]) for name, _ in _leaves(defaults) for end in range(1, len(name.split(".")))
    }
    for name, description in _described(schema, schema["$defs"]):
        if ".resources." not in name:  # Kubernetes' own words
            assert description, name
            assert name in known or name == "global", f"{name} has no default in values.yaml"


def test_every_object_of_the_schema_refuses_names_that_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def closed(part: Raw, where: str) -> None:
        assert "properties" not in part or part.get("additionalProperties") is False, where
        for name, below in part.get("properties", {}).items():
            closed(below, f"{where}.{name}")
        if isinstance(part.get("items"), dict):
            closed(part["items"], f"{where}[]")

    closed(schema, "values")
    for name in schema["$defs"].keys() - {"named", "mounts"}:  # these two are Kubernetes' own, checked by it
        closed(schema["$defs"][name], f"$defs.{name}")


def test_every_group_of_values_is_introduced_by_a_comment() -> None:
    """A value's comment stands above it, or it belongs to a group that has one."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z]\w*:", line):
            inside = next((end for end in range(number + 1, len(lines)) if re.match(r"[a-z#]", lines[end])), len(lines))
            near = [lines[number - 1], *lines[number + 1 : inside]]
            assert any(each.strip().startswith("#") for each in near), line
