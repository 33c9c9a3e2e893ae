"""
The table of endpoints in docs/compatibility.md, made from the tests that prove it.

A test says `@pytest.mark.route("GET /druid/indexer/v1/tasks", "differs", "what differs, and why")`: the method and path
as the application has them, the verdict, and for all but `same` the reason. `make docs` writes the table.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Route

from overlord.app import create_app
from overlord.settings import OverlordSettings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"

BEGIN = "<!-- The table is made from the tests by `make docs`; do not edit it here. -->\n"
END = "<!-- The end of the table. -->\n"


class Verdict(StrEnum):
    """How a route stands to Druid's; of several the last that is said holds."""

    SAME = "same"  # status, headers that clients read, shape, texts
    DIFFERS = "differs"  # it is there, and something about it is not Druid's
    ADDED = "added"  # Druid has no such route


_WEIGHT = {Verdict.SAME: 0, Verdict.DIFFERS: 1, Verdict.ADDED: 2}


@dataclass(frozen=True, slots=True)
class Proof:
    """One test's word on one route."""

    route: str
    verdict: Verdict
    why: str
    test: str
    path: Path

    @property
    def link(self) -> str:
        """The test, as a link from the page."""
        return f"[{self.test.removeprefix('test_')}](../{self.path.relative_to(ROOT)})"


def proofs(folder: Path = ROOT / "tests" / "api") -> list[Proof]:
    """What the tests say, by file and line; they are read, not run. Raises ValueError for a mark without sense."""
    return [proof for path in sorted(folder.glob("test_*.py")) for proof in _in_file(path)]


def routes() -> list[str]:
    """Every `METHOD path` of the application, in the order of the API page."""
    app: FastAPI = create_app(OverlordSettings(database_url="postgresql:///none"))
    shown = [f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods]
    return [*shown, *_hidden(app.routes)]


def table(known: Iterable[str], said: Iterable[Proof]) -> str:
    """The rows, as Markdown, in the order of the routes. A route that nobody proves has no row."""
    by_route: dict[str, list[Proof]] = {}
    for proof in said:
        by_route.setdefault(proof.route, []).append(proof)
    lines = ["| Endpoint | | What differs, and why | Proof |", "|---|---|---|---|"]
    for route in known:
        if route in by_route:
            proven = by_route[route]
            verdict = max((proof.verdict for proof in proven), key=_WEIGHT.__getitem__)
            whys = dict.fromkeys(proof.why for proof in proven if proof.why)
            links = dict.fromkeys(proof.link for proof in proven)
            lines.append(f"| `{route}` | {verdict} | {'. '.join(whys)} | {', '.join(links)} |")
    return "\n".join(lines) + "\n"


def page_with(rows: str) -> str:
    """The page with its table replaced. Raises ValueError where the page has no place for one."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE} has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{rows}\n{END}{after}"


def _hidden(entries: Iterable[BaseRoute]) -> Iterator[str]:
    """The routes that the API page does not have."""
    for entry in entries:
        included: APIRouter | None = getattr(entry, "original_router", None)
        if included is not None:
            yield from _hidden(included.routes)
        elif isinstance(entry, Route) and not entry.include_in_schema:
            yield from (f"{method} {entry.path}" for method in sorted((entry.methods or set()) - {"HEAD"}))


def _in_file(path: Path) -> Iterator[Proof]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.route":
                    yield _proof([ast.literal_eval(argument) for argument in decorator.args], node.name, path)


def _proof(said: list[str], test: str, path: Path) -> Proof:
    route, verdict, why = (*said, "")[:3]
    if (verdict == Verdict.SAME) is bool(why):
        raise ValueError(f"{path.name}::{test}: a route that is the same needs no reason, any other needs one")
    return Proof(route, Verdict(verdict), why.rstrip("."), test, path)


if __name__ == "__main__":
    PAGE.write_text(page_with(table(routes(), proofs())))
