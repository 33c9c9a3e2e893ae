"""The Dockerfiles keep the promises that a reader would check first."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILES = [ROOT / "Dockerfile", ROOT / "peon-image" / "Dockerfile"]
BOTH = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["control plane", "peon"])


def _final_stages(dockerfile: Path) -> dict[str, str]:
    """The stages that are images, by name: those made from the base and run as somebody."""
    stages = re.split(r"(?m)^FROM ", dockerfile.read_text())[1:]
    named = {found[1]: stage for stage in stages if (found := re.match(r"\S+ AS (\S+)", stage))}
    return {name: stage for name, stage in named.items() if "\nENTRYPOINT" in stage}


def test_there_is_an_image_for_every_role() -> None:
    assert _final_stages(DOCKERFILES[0]).keys() == {"overlord", "operator", "trial"}
    assert _final_stages(DOCKERFILES[1]).keys() == {"peon"}


@BOTH
def test_images_run_as_a_numeric_user_and_start_without_a_shell(dockerfile: Path) -> None:
    for name, stage in _final_stages(dockerfile).items():
        assert "\nUSER 65532:65532\n" in stage, name
        for line in stage.splitlines():
            if line.startswith(("RUN ", "ENTRYPOINT ", "CMD ")):
                assert "[" in line.split(" ", 2)[1], f"{name}: {line}"


@BOTH
def test_the_base_is_a_choice_of_whoever_builds(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    assert re.search(r"(?m)^ARG BASE_IMAGE=\S+$", text)
    for source in re.findall(r"(?m)^FROM (\S+)", text):
        assert source == "${BASE_IMAGE}" or source in re.findall(r"(?m)^FROM \S+ AS (\S+)", text), source


@BOTH
def test_nothing_is_installed_unlocked_or_compiled(dockerfile: Path) -> None:
    """Commands that go to an index check hashes and take wheels; what goes to none says so."""
    commands = re.sub(r"\\\n\s*", " ", dockerfile.read_text())
    installs = re.findall(r"pip (?:--python \S+ )?install [^&\n]*", commands)
    assert len(installs) >= 3
    for install in installs:
        assert "--no-index" in install or ("--require-hashes" in install and "--only-binary :all:" in install), install


@BOTH
def test_every_role_names_what_it_must_not_know(dockerfile: Path) -> None:
    forbidden = {
        "overlord": {"kubernetes", "kopf", "overlord_operator", "peon", "pip"},
        "operator": {"asyncpg", "overlord", "peon", "pip"},
        "peon": {"asyncpg", "kubernetes", "overlord", "overlord_operator", "pip"},
        "trial": set[str](),
    }
    for name, stage in _final_stages(dockerfile).items():
        checked = set(re.findall(r"'(\w+)'", stage))
        assert forbidden[name] <= checked, name
        assert re.search(r'RUN \["python", .*(import |check")', stage), name


def test_the_images_that_make_traces_can_send_them() -> None:
    stages = {name: stage for dockerfile in DOCKERFILES for name, stage in _final_stages(dockerfile).items()}
    sending = {name for name, stage in stages.items() if "opentelemetry.exporter.otlp.proto.http" in stage}
    assert sending == {"overlord", "peon"}
    assert all("--extra tracing" in dockerfile.read_text() for dockerfile in DOCKERFILES)


def test_locked_tools_have_a_hash_each() -> None:
    for name in ("tools.txt", "trial.txt"):
        text = (ROOT / "images" / name).read_text()
        pinned = re.findall(r"(?m)^[a-z0-9-]+==\S+", text)
        blocks = re.split(r"(?m)^(?=[a-z0-9-]+==)", text)[1:]
        assert len(pinned) == len(blocks) > 3
        assert all("--hash=sha256:" in block for block in blocks)
