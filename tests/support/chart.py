"""The chart as tests look at it: Helm's own `template`, without a cluster, and what came of it as JSON."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster.binaries import ProgramMissing, path

Raw = dict[str, Any]

CHART = Path(__file__).parents[2] / "charts" / "nemeton"
VALUES = Path(__file__).parents[1] / "chart" / "values"
"""The sets of values that golden files are made of; each file says at its top what it is an example of."""

GOLDEN = Path(__file__).parents[1] / "golden" / "chart"
DEFINITION = "CustomResourceDefinition"

RELEASE = "test"
NAMESPACE = "druid"

TRIAL = {
    "database": {"embedded": {"enabled": True, "password": "example"}},
    "objectStorage": {"embedded": {"enabled": True, "accessKey": "example", "secretKey": "example"}},
}
"""The least that installs; nothing in it is made up by the chart, so that two renderings are the same."""


class HelmRefused(Exception):
    """What Helm said."""


def helm(*arguments: str, stdin: str = "") -> str:
    """Its output. Raises HelmRefused; skips the test where there is no Helm, and fails it in CI."""
    try:
        program = path("helm")
    except ProgramMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    # a user's own Helm has repositories and plugins that are nothing to us
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "HELM_NO_PLUGINS": "1"}
    done = subprocess.run(
        [str(program), *arguments],
        input=stdin,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode != 0:
        raise HelmRefused(done.stderr.strip())
    return done.stdout


def template(values: Raw | Path, *arguments: str, namespace: str = NAMESPACE) -> str:
    """The chart's objects as YAML. Raises HelmRefused."""
    given = values.read_text() if isinstance(values, Path) else yaml.safe_dump(values)
    return _rendered(given, namespace, arguments)


@cache
def _rendered(values: str, namespace: str, arguments: tuple[str, ...]) -> str:
    command = ["template", RELEASE, str(CHART), "--namespace", namespace, "--values", "-", *arguments]
    return helm(*command, stdin=values)


def objects(values: Raw | Path, *arguments: str, namespace: str = NAMESPACE) -> list[Raw]:
    """The same as JSON."""
    rendered = template(values, *arguments, namespace=namespace)
    return [document for document in yaml.load_all(rendered, yaml.CSafeLoader) if document]


def notes(values: Raw | Path, folder: Path) -> str:
    """What Helm says at the end, from a copy of the chart in `folder`: Helm shows notes only where it has a cluster."""
    copy = shutil.copytree(CHART, folder / "nemeton")
    (copy / "templates" / "NOTES.txt").rename(copy / "notes")
    (copy / "templates" / "notes.yaml").write_text('notes: |\n{{ tpl (.Files.Get "notes") . | indent 2 }}\n')
    given = values.read_text() if isinstance(values, Path) else yaml.safe_dump(values)
    where = ["--namespace", NAMESPACE, "--values", "-", "--show-only", "templates/notes.yaml"]
    return yaml.safe_load(helm("template", RELEASE, str(copy), *where, stdin=given))["notes"]


def golden(values: Path) -> str:
    """What the golden file of these values holds: all objects but the resource definition, in Helm's order."""
    parts = template(values).split("\n---\n")
    return "\n---\n".join(part.rstrip() for part in parts if f"\nkind: {DEFINITION}\n" not in f"{part}\n") + "\n"


def value_sets() -> list[Path]:
    return sorted(VALUES.glob("*.yaml"))


def pod_specs(manifests: list[Raw]) -> Iterator[tuple[str, Raw]]:
    """Every pod that the objects are or make, with a name for messages."""
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        match manifest["kind"]:
            case "Pod":
                yield name, manifest
            case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
                yield name, manifest["spec"]["template"]
            case "CronJob":
                yield name, manifest["spec"]["jobTemplate"]["spec"]["template"]
            case _:
                pass


def one(manifests: list[Raw], kind: str, name: str) -> Raw:
    """The object of that kind whose name ends so."""
    found = [item for item in manifests if item["kind"] == kind and item["metadata"]["name"].endswith(name)]
    assert len(found) == 1, f"{kind}/{name}: {[item['metadata']['name'] for item in found]}"
    return found[0]


def environment(container: Raw) -> dict[str, str]:
    """What a container's variables are, those from elsewhere as `<name of the source>`."""
    return {
        item["name"]: item["value"] if "value" in item else f"<{next(iter(item['valueFrom']))}>"
        for item in container["env"]
    }
