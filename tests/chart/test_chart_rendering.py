"""The chart makes what its golden files say, and Helm finds nothing to say against it."""

from pathlib import Path

import pytest
import yaml

from tests.support.chart import (
    CHART,
    DEFINITION,
    GOLDEN,
    TRIAL,
    VALUES,
    golden,
    helm,
    notes,
    objects,
    one,
    value_sets,
)

ROOT = CHART.parents[1]


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_values_make_the_objects_of_their_golden_file(values: Path) -> None:
    assert golden(values) == (GOLDEN / values.name).read_text(), "python -m tests.chart.write_goldens; read the diff"


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_helm_lint_finds_nothing_to_warn_of(values: Path) -> None:
    report = helm("lint", str(CHART), "--strict", "--values", str(values))
    assert "0 chart(s) failed" in report
    assert "WARNING" not in report


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_no_object_is_made_twice_and_each_says_its_namespace(values: Path) -> None:
    made = objects(values)
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in made]
    assert len(names) == len(set(names))
    cluster_scoped = {DEFINITION, "ClusterRole", "ClusterRoleBinding"}
    for kind, namespace, name in names:
        assert (namespace is None) == (kind in cluster_scoped), name
        assert len(name) <= 63


def test_the_charts_resource_definition_is_the_one_of_the_project() -> None:
    truth = ROOT / "crds" / "druidtask.yaml"
    assert (CHART / "files" / "druidtask.yaml").read_text() == truth.read_text(), f"cp {truth} charts/nemeton/files/"
    made = one(objects(TRIAL), DEFINITION, "druidtasks.druid.nemeton.dev")
    assert made["spec"] == yaml.safe_load(truth.read_text())["spec"]


def test_the_resource_definition_outlives_the_release_unless_told_otherwise() -> None:
    policy = "helm.sh/resource-policy"
    assert one(objects(TRIAL), DEFINITION, "dev")["metadata"]["annotations"][policy] == "keep"
    dropped = one(objects({**TRIAL, "crds": {"keep": False}}), DEFINITION, "dev")
    assert policy not in dropped["metadata"].get("annotations", {})
    assert not [item for item in objects({**TRIAL, "crds": {"install": False}}) if item["kind"] == DEFINITION]


def test_without_the_wish_for_all_namespaces_nothing_but_the_definition_is_cluster_wide() -> None:
    for values in value_sets():
        kinds = {item["kind"] for item in objects(values)}
        assert ("ClusterRole" in kinds) == (values.stem == "cluster-wide"), values.stem


def test_made_up_passwords_are_the_same_wherever_they_stand_and_differ_between_releases() -> None:
    values = {
        "database": {"embedded": {"enabled": True}},
        "objectStorage": {"embedded": {"enabled": True}},
        "operator": {"taskNamespaces": ["one", "two"]},
    }
    made = objects(values)
    database = one(made, "Secret", "-database")["stringData"]
    assert f":{database['password']}@" in database["url"]
    secrets = [item for item in made if item["kind"] == "Secret"]
    keys = [item["stringData"] for item in secrets if item["metadata"]["name"].endswith("-object-storage")]
    assert len(keys) == 3  # the release's namespace and both of the tasks
    assert keys[0] == keys[1] == keys[2]
    assert len(keys[0]["AWS_SECRET_ACCESS_KEY"]) >= 32
    again = objects({**values, "commonLabels": {"rendering": "another"}})
    assert one(again, "Secret", "-database")["stringData"]["password"] != database["password"]


def test_a_changed_secret_replaces_the_pods_that_read_it() -> None:
    def checksums(password: str) -> dict[str, str]:
        values = {**TRIAL, "database": {"embedded": {"enabled": True, "password": password}}}
        return one(objects(values), "Deployment", "-overlord")["spec"]["template"]["metadata"]["annotations"]

    assert checksums("first") == checksums("first")
    assert checksums("first") != checksums("second")


def test_a_long_release_name_still_gives_names_that_kubernetes_takes() -> None:
    rendered = helm("template", "a" * 53, str(CHART), "--namespace", "druid", "--values", str(VALUES / "trial.yaml"))
    for item in yaml.safe_load_all(rendered):
        if item and item["kind"] != DEFINITION:
            assert len(item["metadata"]["name"]) <= 63


def test_the_notes_name_the_release_and_what_to_type(tmp_path: Path) -> None:
    said = notes(VALUES / "trial.yaml", tmp_path)
    assert "helm -n druid test test" in said
    assert "kubectl -n druid get dt -w" in said
    assert "service/test-nemeton-overlord 8090:8090" in said
    assert "This is a trial: the database and the object storage run in one pod each" in said


def test_no_object_holds_what_a_template_leaves_when_it_is_wrong() -> None:
    for values in value_sets():
        made = [item for item in objects(values) if item["kind"] != DEFINITION]
        text = yaml.safe_dump(made)
        for trace in ("{{", "<no value>", "%!", "map["):
            assert trace not in text, (values.stem, trace)
