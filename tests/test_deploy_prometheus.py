"""What watches k2alert from Prometheus: the rules hold in promtool, name only what there is, and are explained."""

import asyncio
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from k2alert.expose.selfmetrics import REASONS, SelfMetrics
from tests.support.pages import fenced
from tests.support.scraping import Prometheus, a_filled_daemon, prometheus

ROOT = Path(__file__).parents[1]
HERE = ROOT / "deploy" / "prometheus"
RULES = HERE / "k2alert-rules.yml"
NOW = datetime(2026, 1, 5, tzinfo=UTC)

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")


needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed here")


def alerts() -> list[dict[str, Any]]:
    """Every alert of the file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str) -> str:
    """What promtool prints; it must be content."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_accepts_the_rules_and_the_scrape_configuration() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES.name)
    promtool("check", "config", "prometheus.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "tests/k2alert-rules.yml")


def test_each_alert_is_tried_firing_and_quiet() -> None:
    tried: dict[str, set[bool]] = {}
    for case in yaml.safe_load((HERE / "tests" / "k2alert-rules.yml").read_text())["tests"]:
        for query in case["promql_expr_test"]:
            name = re.search(r'alertname="(\w+)"', query["expr"])
            assert name is not None
            tried.setdefault(name[1], set()).add(bool(query["exp_samples"]))
    both, always = {True, False}, {True}
    assert tried == {alert["alert"]: always if alert["alert"] == "K2AlertWatchdog" else both for alert in alerts()}


def test_rules_ask_only_for_series_and_labels_that_a_daemon_has() -> None:
    there = {"up": {"job", "instance"}}
    for family in text_string_to_metric_families(everything_said()):
        for sample in family.samples:
            there.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    for alert in alerts():
        asked = re.findall(r"\b(k2alert_\w+|up)\{([^}]*)\}", alert["expr"])
        assert asked or alert["alert"] == "K2AlertWatchdog"
        for name, matchers in asked:
            assert name in there, alert["alert"]
            assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= there[name], alert["alert"]
        for labels in re.findall(r"by \(([^)]*)\)", alert["expr"]):
            assert set(re.split(r",\s*", labels)) <= set().union(*(there[name] for name, _ in asked)), alert["alert"]


@needs_prometheus
async def test_a_real_prometheus_finds_every_series_of_the_rules_and_judges_each_of_them(tmp_path: Path) -> None:
    async with (
        a_filled_daemon(tmp_path, limits=True) as running,
        prometheus(tmp_path, running.port, f'"{RULES}"') as scraper,
    ):
        await scraper.until_scraped(time.time())
        names = {name for alert in alerts() for name in re.findall(r"\b(k2alert_\w+|up)\{", alert["expr"])}
        assert len(names) > 15
        assert {name for name in names if not await scraper.query(name)} == set()
        judged = await until_judged_by(scraper)
    assert {rule["name"]: rule["health"] for rule in judged} == {alert["alert"]: "ok" for alert in alerts()}
    assert {rule["name"] for rule in judged if rule["state"] == "firing"} == {"K2AlertWatchdog"}


async def until_judged_by(scraper: Prometheus) -> list[dict[str, Any]]:
    """The rules, once each has been judged."""
    while True:
        async with scraper.session.get(f"{scraper.url}/api/v1/rules") as answer:
            rules = [rule for group in (await answer.json())["data"]["groups"] for rule in group["rules"]]
        if rules and all(rule["health"] != "unknown" for rule in rules):
            return rules
        await asyncio.sleep(0.1)


def everything_said() -> str:
    """The daemon's own series once everything has happened."""
    own = SelfMetrics("1")
    own.declare(rules=["r"], receivers=[("team", "slack")], sources=["gitlab"])
    own.set_leader(True)
    own.set_source("gitlab", remaining=1, success_at=NOW, complete=NOW)
    own.count_requests("gitlab", "runs", "200", 1)
    own.webhook("gitlab", "accepted", now=NOW)
    own.evaluated({"r": True}, took=timedelta(seconds=1))
    own.shown(now=NOW)
    own.drawn(now=NOW, dropped=1)
    own.notified("team", "slack", took=timedelta(seconds=1), reason=REASONS[0])
    return own.render("text/plain")[0].decode()


def test_each_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "runbooks.md").read_text()
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sections == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"runbooks.md#{alert['alert'].lower()}"


@needs_promtool
def test_the_runbooks_own_command_makes_addresses_of_the_places(tmp_path: Path) -> None:
    (command,) = fenced((ROOT / "docs" / "runbooks.md").read_text(), "sh")
    subprocess.run(["sh", "-ec", command.replace("> ", f"> {tmp_path}/")], check=True, cwd=ROOT)
    made = tmp_path / "k2alert-rules.yml"
    promtool("check", "rules", str(made))
    urls = re.findall(r"runbook_url: https://docs\.example\.com/(\S+)", made.read_text())
    assert urls == [alert["annotations"]["runbook"] for alert in alerts()]
