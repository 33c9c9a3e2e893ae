"""Who is asked who he is, and how the parts of a release know each other then."""

from pathlib import Path

import pytest
import yaml

from tests.support.chart import TRIAL, VALUES, Raw, environment, notes, objects, one, pod_specs

SECURED = VALUES / "secured.yaml"


def _container(values: Path | Raw, part: str) -> Raw:
    return one(objects(values), "Deployment", f"-{part}")["spec"]["template"]["spec"]["containers"][0]


def _secret_key(container: Raw, name: str) -> Raw:
    (found,) = [item["valueFrom"]["secretKeyRef"] for item in container["env"] if item["name"] == name]
    return found


def _trial(kind: str) -> Raw:
    return {**TRIAL, "auth": {"kind": kind, "jwt": {"issuer": "https://sso.example.com", "audience": "druid"}}}


def test_by_default_nobody_is_asked_and_no_secret_is_made() -> None:
    made = objects(TRIAL)
    assert not [item for item in made if item["kind"] == "Secret" and item["metadata"]["name"].endswith("-auth")]
    for part in ("overlord", "operator"):
        assert not {"NEMETON_AUTHENTICATORS", "NEMETON_RUNNER_TOKEN"} & environment(_container(TRIAL, part)).keys()


def test_overlord_and_operator_share_the_runners_secret() -> None:
    overlord, operator = _container(SECURED, "overlord"), _container(SECURED, "operator")
    assert environment(overlord)["NEMETON_AUTHENTICATORS"] == "basic,jwt"
    expected = {"name": "druid-auth", "key": "runner"}
    assert _secret_key(overlord, "NEMETON_RUNNER_TOKEN") == expected
    assert _secret_key(operator, "NEMETON_RUNNER_TOKEN") == expected


def test_the_first_password_may_be_taken_out_of_its_secret_later() -> None:
    key = _secret_key(_container(SECURED, "overlord"), "NEMETON_INITIAL_ADMIN_PASSWORD")
    assert key == {"name": "druid-auth", "key": "admin-password", "optional": True}


def test_an_issuer_is_told_and_may_be_reached() -> None:
    told = environment(_container(SECURED, "overlord"))
    assert told["NEMETON_JWT_ISSUER"] == "https://sso.example.com/realms/data"
    assert told["NEMETON_JWT_ROLES_CLAIM"] == "realm_access.roles"
    assert "NEMETON_JWT_JWKS_URL" not in told

    def leaving(values: Raw) -> set[int]:
        rules = one(objects(values), "NetworkPolicy", "-overlord")["spec"]["egress"]
        return {port["port"] for rule in rules for port in rule["ports"]}

    assert 443 not in leaving(_trial("basic"))
    assert 443 in leaving(_trial("jwt"))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("basic", {"admin-password", "runner-token"}), ("jwt", {"runner-token"})],
)
def test_without_a_secret_of_ones_own_one_is_made_with_what_is_needed(kind: str, keys: set[str]) -> None:
    made = one(objects(_trial(kind)), "Secret", "-auth")["stringData"]
    assert made.keys() == keys
    assert len(made["runner-token"]) >= 16
    again = one(objects({**_trial(kind), "commonLabels": {"rendering": "another"}}), "Secret", "-auth")["stringData"]
    assert again["runner-token"] != made["runner-token"]


@pytest.mark.parametrize(("kind", "is_there"), [("none", True), ("basic", True), ("basic,jwt", True), ("jwt", False)])
def test_helm_test_asks_as_somebody_who_is_known(kind: str, is_there: bool) -> None:
    pods = [pod for name, pod in pod_specs(objects(_trial(kind))) if name == "Pod/test-nemeton-test"]
    assert bool(pods) == is_there
    if is_there and kind != "none":
        container = pods[0]["spec"]["containers"][0]
        assert environment(container)["NEMETON_USER"] == "admin"
        assert _secret_key(container, "NEMETON_PASSWORD") == {"name": "test-nemeton-auth", "key": "admin-password"}


def test_with_a_certificate_every_way_to_the_overlord_is_tls() -> None:
    made = objects(SECURED)
    overlord = _container(SECURED, "overlord")
    told = environment(overlord)
    (mount,) = [item for item in overlord["volumeMounts"] if item["name"] == "tls"]
    assert told["NEMETON_TLS_CERTIFICATE"] == f"{mount['mountPath']}/tls.crt"
    assert told["NEMETON_TLS_KEY"] == f"{mount['mountPath']}/tls.key"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert overlord[probe]["httpGet"]["scheme"] == "HTTPS"
    assert environment(_container(SECURED, "operator"))["NEMETON_OVERLORD"].startswith("https://")
    assert one(made, "Service", "-overlord")["spec"]["ports"][0]["appProtocol"] == "https"
    (endpoint,) = one(made, "ServiceMonitor", "-overlord")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["basicAuth"]["username"] == {"name": "metrics", "key": "user"}


def test_an_authority_of_ones_own_is_trusted_by_every_part_and_every_peon() -> None:
    file = "/etc/nemeton/authorities/ca.crt"
    for _, pod in pod_specs(objects(SECURED)):
        (container,) = pod["spec"]["containers"]
        assert environment(container)["SSL_CERT_FILE"] == file
        (mount,) = [item for item in container["volumeMounts"] if item["name"] == "authorities"]
        assert file.startswith(mount["mountPath"])
        (volume,) = [item for item in pod["spec"]["volumes"] if item["name"] == "authorities"]
        assert volume["configMap"] == {"name": "authorities"}
    peon = environment(_container(SECURED, "operator"))
    assert yaml.safe_load(peon["NEMETON_PEON_ENV"])[0] == {"name": "SSL_CERT_FILE", "value": file}
    assert yaml.safe_load(peon["NEMETON_PEON_VOLUMES"]) == [
        {"name": "authorities", "configMap": {"name": "authorities"}}
    ]
    assert yaml.safe_load(peon["NEMETON_PEON_VOLUME_MOUNTS"])[0]["name"] == "authorities"


def test_traces_leave_the_overlord_and_peons_for_the_collector() -> None:
    told = environment(_container(SECURED, "overlord"))
    assert told["NEMETON_TRACING"] == "true"
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.tracing.svc:4318"
    peon = yaml.safe_load(environment(_container(SECURED, "operator"))["NEMETON_PEON_ENV"])
    assert {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.tracing.svc:4318"} in peon
    made = objects(SECURED)
    for part in ("-overlord", "-peon"):
        rules = one(made, "NetworkPolicy", part)["spec"]["egress"]
        assert 4318 in {port["port"] for rule in rules for port in rule["ports"]}
    assert "NEMETON_TRACING" not in environment(_container(TRIAL, "overlord"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [("none", "The API asks nobody who they are"), ("basic", "get secret test-nemeton-auth"), ("jwt", "Bearer $TOKEN")],
)
def test_the_notes_say_who_is_asked(kind: str, words: str, tmp_path: Path) -> None:
    said = notes(_trial(kind), tmp_path)
    assert words in said
    assert ("asks nobody" in said) == (kind == "none")
    assert ("helm -n druid test test" in said) == (kind != "jwt")


def test_the_notes_show_no_password(tmp_path: Path) -> None:
    values = {**_trial("basic"), "database": {"embedded": {"enabled": True, "password": "CANARY-7f3a"}}}
    assert "CANARY-7f3a" not in notes(values, tmp_path)
