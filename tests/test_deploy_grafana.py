"""The Grafana dashboard: as its script writes it, whole, and every query of it answered by a real Prometheus."""

import asyncio
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from scripts.dashboard import page
from tests.support.daemon import PATIENCE, PROJECT
from tests.support.scraping import Prometheus, a_filled_daemon, prometheus

DEPLOY = Path(__file__).parents[1] / "deploy" / "grafana"
FILE = DEPLOY / "dashboards" / "k2alert.json"
CHOSEN = {"source": "gitlab", "project": PROJECT, "window": "7d"}

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed here")


def board() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def queries() -> dict[str, str]:
    """Every query, as sent for one choice of variables, by its panel's title and its letter."""
    return {
        f"{panel['title']} {target['refId']}": re.sub(r"\$(\w+)", lambda name: CHOSEN[name[1]], target["expr"])
        for panel in board()["panels"]
        for target in panel.get("targets", [])
    }


def test_the_file_is_what_the_script_writes() -> None:
    assert FILE.read_text() == page(), "run `make docs`"


def test_the_sdk_reads_the_file_and_writes_the_same() -> None:
    read = Dashboard.from_json(board())
    assert json.loads(JSONEncoder().encode(read)) == board()


def test_panels_have_names_of_their_own_a_unit_and_a_description() -> None:
    drawn = [panel for panel in board()["panels"] if panel["type"] != "row"]
    assert len({panel["title"] for panel in drawn}) == len(drawn) > 30
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in drawn)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in drawn)


def test_provisioning_names_what_is_there() -> None:
    providers = yaml.safe_load((DEPLOY / "provisioning" / "dashboards" / "k2alert.yml").read_text())["providers"]
    assert [provider["options"]["path"] for provider in providers] == ["/var/lib/grafana/dashboards"]
    sources = yaml.safe_load((DEPLOY / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert [source["type"] for source in sources] == ["prometheus"]


@needs_prometheus
async def test_every_query_returns_data_from_a_real_prometheus(tmp_path: Path) -> None:
    async with a_filled_daemon(tmp_path, limits=True) as running, prometheus(tmp_path, running.port) as scraper:
        await scraper.until_scraped(time.time())
        unanswered = queries()
        deadline = time.monotonic() + PATIENCE
        while unanswered and time.monotonic() < deadline:  # a rate needs two scrapes
            unanswered = {name: query for name, query in unanswered.items() if not await scraper.query(query)}
            await asyncio.sleep(0.1)
        assert unanswered == {}
        assert await offers(scraper, "project") == [PROJECT]
        assert "7d" in await offers(scraper, "window")


async def offers(scraper: Prometheus, variable: str) -> list[str]:
    """What a variable of the dashboard can be chosen from."""
    (query,) = [one["query"] for one in board()["templating"]["list"] if one["name"] == variable]
    found = re.fullmatch(r"label_values\((.*), (\w+)\)", query if isinstance(query, str) else query["query"])
    assert found is not None
    metric = re.sub(r"\$(\w+)", lambda name: CHOSEN[name[1]], found[1])
    return sorted(line["metric"][variable] for line in await scraper.query(f"count by ({found[2]}) ({metric})"))
