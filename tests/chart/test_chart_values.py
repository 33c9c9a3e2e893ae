"""Values that cannot work are refused before anything is installed, in words that say what to do."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART, TRIAL, HelmRefused, Raw, template
from tests.support.settings_schema import SCHEMA, with_settings, written

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
    (
        "an object storage nobody knows",
        {**SOUND, "deepStorage": {"url": "hdfs://lake/segments"}},
        "deepStorage.url is no",
    ),
    ("a collector by nothing we speak", {**SOUND, "tracing": {"endpoint": "udp://c:1"}}, "tracing.endpoint is no"),
    (
        "two object storages",
        {**TRIAL, "objectStorage": {"embedded": {"enabled": True}, "env": {"AWS_ENDPOINT": "http://minio:9000"}}},
        "Only one object storage, please",
    ),
    (
        "a misspelt resource",
        {**SOUND, "peon": {"resources": {"limits": {"memry": "4Gi"}}}},
        "at '/peon/resources/limits'",
    ),
    (
        "a database that is no PostgreSQL",
        {**STORAGE, "database": {"url": "mysql://db/druid"}},
        "database.url is no PostgreSQL's: write postgresql://user:password@host:5432/database",
    ),
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
        "at '/operator/settings': additional properties 'NEMETON_X' not allowed",
    ),
    (
        "a misspelt setting",
        {**SOUND, "overlord": {"settings": {"queue_intervall_ms": 500}}},
        "at '/overlord/settings': additional properties 'queue_intervall_ms' not allowed",
    ),
    (
        "a setting of the other part",
        {**SOUND, "operator": {"settings": {"max_queue_size": 500}}},
        "at '/operator/settings': additional properties 'max_queue_size' not allowed",
    ),
    ("a setting that is too small", {**SOUND, "overlord": {"settings": {"database_pool_size": 1}}}, "minimum"),
    ("a setting in words", {**SOUND, "overlord": {"settings": {"access_log": "yes"}}}, "got string, want boolean"),
    (
        "memory that is no quantity",
        {**SOUND, "peon": {"resources": {"limits": {"memory": "abc"}}}},
        "at '/peon/resources/limits/memory'",
    ),
    (
        "memory below nothing",
        {**SOUND, "peon": {"resources": {"limits": {"memory": -1}}}},
        "at '/peon/resources/limits/memory'",
    ),
    ("callers known by nothing that there is", {**SOUND, "auth": {"kind": "ldap"}}, "auth/kind"),
    (
        "web tokens of nobody",
        {**SOUND, "auth": {"kind": "jwt", "jwt": {"audience": "druid"}}},
        "auth.kind is jwt, which needs auth.jwt.issuer and auth.jwt.audience",
    ),
    (
        "passwords that nobody is asked for",
        {**SOUND, "auth": {"existingSecret": {"name": "druid"}}},
        "auth.existingSecret.name is set, but auth.kind is none",
    ),
    (
        "authentication in two places",
        {**SOUND, "overlord": {"settings": {"authenticators": "basic"}}},
        "overlord.settings.authenticators is made by the chart",
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


CANARY = "CANARY-7f3a"

TELLTALE: list[tuple[str, Raw]] = [
    ("a database that is no PostgreSQL", {**STORAGE, "database": {"url": f"mysql://me:{CANARY}@db/druid"}}),
    (
        "two databases",
        {**STORAGE, "database": {"url": f"postgresql://me:{CANARY}@db/druid", "embedded": {"enabled": True}}},
    ),
    ("a database in the wrong place", {**STORAGE, "database": f"postgresql://me:{CANARY}@db/druid"}),
    ("an embedded password that is none", {**TRIAL, "database": {"embedded": {"password": f"{CANARY} with spaces!"}}}),
    ("a key of the bucket in the open", {**SOUND, "objectStorage": {"env": {"AWS_SECRET_ACCESS_KEY": CANARY}}}),
    ("keys of the bucket in a list", {**SOUND, "objectStorage": {"embedded": {"secretKey": [CANARY]}}}),
    ("a key before the bucket", {**SOUND, "deepStorage": {"url": f"s3://AK:{CANARY}@lake/segments"}}),
    ("a key before the bucket of a storage nobody knows", {**SOUND, "taskLogs": {"url": f"s3//AK:{CANARY}@lake"}}),
    ("a key in an endpoint", {**SOUND, "objectStorage": {"env": {"AWS_ENDPOINT": f"https://u:{CANARY}@minio"}}}),
    ("a password of the collector", {**SOUND, "tracing": {"endpoint": f"http://u:{CANARY}@collector:4318"}}),
    ("a runner's secret among settings", {**SOUND, "operator": {"settings": {"runner_token": CANARY}}}),
    ("a password among settings", {**SOUND, "overlord": {"settings": {"initial_admin_password": CANARY}}}),
]


@pytest.mark.parametrize("values", [case[1] for case in TELLTALE], ids=[case[0] for case in TELLTALE])
def test_a_refusal_does_not_repeat_what_is_secret(values: Raw) -> None:
    with pytest.raises(HelmRefused) as refused:
        template(values)
    assert CANARY not in str(refused.value)


SECRETS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SSE_CUSTOMER_KEY_BASE64"),
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
    *("AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_SERVICE_ACCOUNT_KEY", "proxy_password"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_keys_of_the_object_storage_are_refused_in_the_open_and_shown_their_place(name: str) -> None:
    with pytest.raises(HelmRefused) as refused:
        template({**SOUND, "objectStorage": {"env": {name: "x"}}})
    assert f"objectStorage.env.{name} would stand in the open" in str(refused.value)
    assert "objectStorage.existingSecrets" in str(refused.value)


def test_settings_of_the_object_storage_that_only_sound_secret_are_taken() -> None:
    env = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "AZURE_FEDERATED_TOKEN_FILE": "/var/run/token",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/google.json",
        "AWS_SSE_KMS_KEY_ID": "arn:aws:kms:1",
        "AWS_SKIP_SIGNATURE": True,
        "AZURE_STORAGE_ACCOUNT_NAME": "lake",
    }
    assert "AWS_SSE_KMS_KEY_ID" in template({**SOUND, "objectStorage": {"env": env}})


QUANTITIES = ["1", "0.5", "250m", "4Gi", "1.5G", "128Ki", "1e9", "100k", 2, 0.25]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_of_kubernetes_are_taken(quantity: object) -> None:
    assert template({**SOUND, "peon": {"resources": {"limits": {"memory": quantity}}}})


def test_the_schema_knows_the_settings_as_they_are() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert written(with_settings(schema)) == SCHEMA.read_text(), "python -m tests.chart.write_schema"


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
        if ".settings." in name:  # its default is the process's own
            assert description, name
        elif ".resources." not in name:  # Kubernetes' own words
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
