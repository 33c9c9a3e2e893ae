"""Dashboard, alert rules and page speak of metrics that exist, and the page of all of them."""

import json
import re
from pathlib import Path

import yaml
from httpx import AsyncClient

from druid_core.runner import OPERATOR
from tests.support import actions
from tests.support.fake_runner import FakeRunner
from tests.support.prometheus import scrape

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"\b(?:druid|nemeton)_[a-z_]+\b")
_HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


async def _names(overlord: AsyncClient) -> set[str]:
    """Every metric that there is, a histogram by its own name and by those of its parts."""
    await FakeRunner(overlord).announce()
    await FakeRunner(overlord, runner_id="pods", kind=OPERATOR).announce()
    await (await actions.start(overlord, "seen")).lock("2026-01-01/2026-01-02")
    seen = await scrape(overlord)
    histograms = {name for name, family in seen.families.items() if family.type == "histogram"}
    return {
        name
        for name in seen.names | {f"{name}{part}" for name in histograms for part in _HISTOGRAM_PARTS}
        if not name.endswith("_created")
    }


def _expressions() -> list[str]:
    rules = yaml.safe_load((DOCS / "monitoring/alerts.yaml").read_text())
    dashboard = json.loads((DOCS / "monitoring/dashboard.json").read_text())
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(alerts) > 5
    assert len(panels) > 10
    return alerts + panels


async def test_dashboard_and_alerts_ask_for_metrics_that_exist(overlord: AsyncClient) -> None:
    names = await _names(overlord)
    for expression in _expressions():
        asked = set(NAME.findall(expression))
        assert asked, expression
        assert asked <= names, expression


async def test_the_page_names_every_metric_and_no_other(overlord: AsyncClient) -> None:
    text = (DOCS / "monitoring.md").read_text()
    slots = re.findall(r"`\.\.\.(_[a-z]+_count)`", text)
    told = set(NAME.findall(text)) | {f"druid_taskslot{slot}" for slot in slots}
    told = {name for name in told if not name.endswith("_")}
    names = await _names(overlord)
    assert told <= names
    bare = {name for name in names if not name.endswith(_HISTOGRAM_PARTS) or name in told}
    ours = {name for name in bare if name.startswith(("druid_", "nemeton_"))}
    families = {name for name in ours if not (name.endswith("_total") is False and f"{name}_total" in ours)}
    assert families <= told, families - told


def test_every_alert_is_explained_on_the_page() -> None:
    rules = yaml.safe_load((DOCS / "monitoring/alerts.yaml").read_text())
    text = (DOCS / "monitoring.md").read_text()
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == set(re.findall(r"^\| `(Nemeton\w+)`", text, re.MULTILINE))
