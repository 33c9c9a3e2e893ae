"""The rows of the ingestion race: edits as a wiki would log them, the same ones on every machine."""

import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SEED = 7
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000

LANGUAGES = ["en", "de", "fr", "ja", "ru", "zh", "es", "it", "pl", "pt"]
COUNTRIES = [
    *("United States", "Germany", "France", "Japan", "Russia"),
    *("China", "Spain", "Côte d'Ivoire", "Poland", "Brazil"),
]
TAGS = ["mobile", "revert", "visual", "bot", "new", "patrolled", "minor"]


def edits(count: int, seed: int = SEED) -> Iterator[dict[str, Any]]:
    """
    `count` edits over one day, ascending in time.

    Few pages are edited often (Pareto), most rarely; the first languages are the most used. Null, absent, an empty
    list, a scalar where others have a list: all occur (country 10 % null, added 2 % null, comment absent in half).
    """
    r = random.Random(seed)
    for i in range(count):
        moment = START + timedelta(milliseconds=i * DAY_MS // count)
        added = None if r.random() < 0.02 else r.randrange(2000)
        deleted = r.randrange(300) if r.random() < 0.3 else 0
        how_many = r.randrange(4)
        tags = r.sample(TAGS, how_many)
        edit: dict[str, Any] = {
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "page": f"Page_{min(int(r.paretovariate(0.7)), 50_000)}",
            "language": LANGUAGES[min(int(r.expovariate(0.5)), 9)],
            "user": f"user{r.randrange(20_000)}",
            "country": None if r.random() < 0.1 else r.choice(COUNTRIES),
            "added": added,
            "deleted": deleted,
            "delta": (added or 0) - deleted,
            "isRobot": r.random() < 0.2,
            "tags": tags[0] if how_many == 1 else tags,
        }
        if r.random() < 0.5:
            edit["comment"] = "" if r.random() < 0.1 else f"edit {r.randrange(1000)}"
        yield edit


def edits_file(count: int) -> Path:
    """A file of `count` edits as JSON lines, alone in its folder; written once, kept in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    file = Path(base) / "nemeton" / "bench" / f"edits-{count}-seed-{SEED}" / "edits.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}")
        with unfinished.open("w", encoding="utf-8") as lines:
            for edit in edits(count):
                lines.write(json.dumps(edit, ensure_ascii=False, separators=(",", ":")) + "\n")
        unfinished.replace(file)
    return file
