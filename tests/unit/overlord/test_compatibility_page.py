"""docs/compatibility.md says of every route what a test proves of it, and nothing else."""

from pathlib import Path

import pytest

from tests.support.compatibility import PAGE, Verdict, page_with, proofs, routes, table

ROUTES = routes()
PROOFS = proofs()


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text() == page_with(table(ROUTES, PROOFS)), "run `make docs`"


def test_every_route_has_a_test_that_proves_it() -> None:
    assert sorted(set(ROUTES) - {proof.route for proof in PROOFS}) == []


def test_every_mark_names_a_route_that_is_there() -> None:
    assert sorted({f"{proof.test}: {proof.route}" for proof in PROOFS if proof.route not in ROUTES}) == []


@pytest.mark.parametrize(
    ("marks", "row"),
    [
        (['"GET /a", "same"'], "| `GET /a` | same |  | [it](../tests/api/test_x.py) |"),
        (['"GET /a", "same"', '"GET /a", "differs", "Ours is kinder."'], "| `GET /a` | differs | Ours is kinder |"),
        (['"GET /a", "added", "Why"'], "| `GET /a` | added | Why |"),
    ],
)
def test_the_heavier_verdict_holds_and_every_reason_is_told(
    marks: list[str], row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.compatibility.ROOT", tmp_path)
    folder = tmp_path / "tests" / "api"
    folder.mkdir(parents=True)
    decorators = "\n".join(f"@pytest.mark.route({mark})" for mark in marks)
    (folder / "test_x.py").write_text(f"{decorators}\nasync def test_it() -> None: ...\n")
    said = proofs(folder)
    assert {proof.verdict for proof in said} <= set(Verdict)
    assert row in table(["GET /a"], said)


@pytest.mark.parametrize("mark", ['"GET /a", "same", "why?"', '"GET /a", "differs"', '"GET /a", "nearly", "Why"'])
def test_a_mark_without_sense_is_refused(mark: str, tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(f"@pytest.mark.route({mark})\ndef test_it() -> None: ...\n")
    with pytest.raises(ValueError):
        proofs(tmp_path)
