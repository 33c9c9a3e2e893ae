"""An image holds the packages of its role, and its list of files says so."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

Keep = Callable[[set[str], Path, Path], list[str]]

RECORD = """\
druid_core/__init__.py,sha256=a,1
druid_core/spec/schema.py,sha256=a,1
overlord/__init__.py,sha256=a,1
peon/__init__.py,sha256=a,1
peon/task/index.py,sha256=a,1
nemeton-0.1.0.dist-info/METADATA,sha256=a,1
nemeton-0.1.0.dist-info/RECORD,,
../../../bin/nemeton,sha256=a,1
"""


@pytest.fixture
def keep() -> Keep:
    return runpy.run_path(str(Path(__file__).parents[3] / "images" / "keep_rooms.py"))["keep"]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    for line in RECORD.splitlines():
        file = tmp_path / line.partition(",")[0]
        if ".." not in line:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    record = tmp_path / "nemeton-0.1.0.dist-info" / "RECORD"
    record.write_text(RECORD)
    return record


def test_packages_of_other_roles_go_and_the_record_with_them(keep: Keep, record: Path, tmp_path: Path) -> None:
    assert keep({"druid_core", "overlord"}, tmp_path, record) == ["peon"]
    assert not (tmp_path / "peon").exists()
    assert (tmp_path / "overlord" / "__init__.py").exists()
    left = record.read_text()
    assert "peon/" not in left
    assert "overlord/__init__.py,sha256=a,1\n" in left
    assert "../../../bin/nemeton,sha256=a,1\n" in left


def test_calling_twice_is_calling_once(keep: Keep, record: Path, tmp_path: Path) -> None:
    keep({"druid_core", "peon"}, tmp_path, record)
    once = record.read_text()
    assert keep({"druid_core", "peon"}, tmp_path, record) == []
    assert record.read_text() == once


def test_a_misspelt_role_ends_the_build(keep: Keep, record: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        keep({"druid_core", "overlords"}, tmp_path, record)
    assert "no such package in the distribution: overlords" in str(ended.value)
    assert (tmp_path / "peon").exists()
