"""What the chart tells the processes is what they understand."""

import json
from pathlib import Path

import pytest

from overlord.settings import OverlordSettings
from overlord_operator.settings import OperatorSettings
from tests.support.chart import VALUES, Raw, environment, objects, one, value_sets

URL = "http://test-nemeton-overlord.druid.svc:8090"
URLS = {"secured": URL.replace("http:", "https:")}
KEPT_IN_SECRETS = {"NEMETON_DATABASE_URL": "postgresql://db/druid", "NEMETON_RUNNER_TOKEN": "r" * 16}

SETS = pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)


def _container(values: Path | Raw, part: str) -> Raw:
    return one(objects(values), "Deployment", f"-{part}")["spec"]["template"]["spec"]["containers"][0]


def _settings(container: Raw) -> dict[str, str]:
    return {name: value for name, value in environment(container).items() if name.startswith("NEMETON_")}


@SETS
def test_every_variable_is_a_setting_and_stands_once(values: Path) -> None:
    for part, known in (("overlord", OverlordSettings), ("operator", OperatorSettings)):
        container = _container(values, part)
        names = [item["name"] for item in container["env"]]
        assert len(names) == len(set(names)), part
        assert {name.removeprefix("NEMETON_").lower() for name in _settings(container)} <= known.model_fields.keys()


@SETS
def test_the_overlord_starts_with_what_it_is_told(values: Path) -> None:
    told = _settings(_container(values, "overlord"))
    settings = OverlordSettings.from_environment(told | KEPT_IN_SECRETS)
    assert settings.host == "0.0.0.0"
    assert settings.public_url == URLS.get(values.stem, URL)
    assert settings.task_logs


@SETS
def test_the_operator_starts_with_what_it_is_told(values: Path) -> None:
    told = _settings(_container(values, "operator")) | {"NEMETON_NAMESPACE": "druid", "NEMETON_IDENTITY": "pod-1"}
    settings = OperatorSettings.from_environment(told | KEPT_IN_SECRETS)
    assert settings.overlord == URLS.get(values.stem, URL)
    assert settings.is_cluster_wide == (values.stem == "cluster-wide")
    assert settings.rest_namespace == ("etl" if values.stem == "namespaces" else "druid")
    assert settings.peon_image.endswith("nemeton-peon:0.1.0")


def test_settings_by_name_reach_the_process_with_their_types() -> None:
    told = _settings(_container(VALUES / "aws.yaml", "overlord"))
    assert told["NEMETON_MAX_QUEUE_SIZE"] == "100000"
    assert json.loads(told["NEMETON_DEFAULT_TASK_CONTEXT"]) == {"priority": 40}
    assert _settings(_container(VALUES / "aws.yaml", "operator"))["NEMETON_LAUNCH_TIMEOUT_SECONDS"] == "1200"


def test_a_list_reaches_the_process_as_a_list() -> None:
    told = _settings(_container(VALUES / "secured.yaml", "overlord"))
    settings = OverlordSettings.from_environment(told | KEPT_IN_SECRETS)
    assert settings.denied_input_networks == ("169.254.0.0/16", "10.0.0.0/8")


@SETS
def test_an_overlord_that_waits_for_its_database_is_not_killed_meanwhile(values: Path) -> None:
    container = _container(values, "overlord")
    probe = container["startupProbe"]
    patience = probe["failureThreshold"] * probe["periodSeconds"]
    assert patience >= int(_settings(container)["NEMETON_DATABASE_WAIT_SECONDS"]) + 300


def test_peons_get_the_bucket_and_its_keys_as_the_operator_does() -> None:
    container = _container(VALUES / "trial.yaml", "operator")
    told = _settings(container)
    peon = {item["name"]: item["value"] for item in json.loads(told["NEMETON_PEON_ENV"])}
    assert peon["AWS_ENDPOINT"] == environment(container)["AWS_ENDPOINT"]
    assert json.loads(told["NEMETON_PEON_ENV_FROM"]) == container["envFrom"]
    assert told["NEMETON_DEEP_STORAGE"] == "s3://nemeton/segments"


def test_peons_mount_the_shared_volume_where_the_overlord_does() -> None:
    operator = _container(VALUES / "shared-volume.yaml", "operator")
    overlord = _container(VALUES / "shared-volume.yaml", "overlord")
    mounts = json.loads(_settings(operator)["NEMETON_PEON_VOLUME_MOUNTS"])
    assert mounts == [{"name": "storage", "mountPath": "/var/lib/nemeton"}]
    assert mounts[0] in overlord["volumeMounts"]
    assert mounts[0] in operator["volumeMounts"]


@SETS
def test_peons_may_write_to_volumes_as_the_operator_may(values: Path) -> None:
    made = one(objects(values), "Deployment", "-operator")["spec"]["template"]["spec"]
    told = _settings(_container(values, "operator")).get("NEMETON_PEON_FS_GROUP")
    assert told == (str(made["securityContext"]["fsGroup"]) if "fsGroup" in made["securityContext"] else None)


def test_pod_templates_reach_the_operator_file_by_file() -> None:
    made = objects(VALUES / "namespaces.yaml")
    container = _container(VALUES / "namespaces.yaml", "operator")
    folder = _settings(container)["NEMETON_POD_TEMPLATES"]
    assert {"name": "pod-templates", "mountPath": folder, "readOnly": True} in container["volumeMounts"]
    assert one(made, "ConfigMap", "-pod-templates")["data"].keys() == {"base.yaml", "index_parallel.yaml"}


def test_the_network_policies_know_the_labels_that_the_operator_gives_to_peons() -> None:
    from overlord_operator import names

    policy = one(objects(VALUES / "trial.yaml"), "NetworkPolicy", "-peon")
    told = _settings(_container(VALUES / "trial.yaml", "operator"))
    assert policy["spec"]["podSelector"]["matchLabels"] == {
        names.LABEL_PEON: "true",
        names.LABEL_RELEASE: told["NEMETON_RELEASE"],
    }
