"""What watches k2alert from Prometheus: the rules hold in promtool, name only what there is, and are explained."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from k2alert.expose.selfmetrics import REASONS, SelfMetrics

ROOT = Path(__file__).parents[1]
HERE = ROOT / "deploy" / "prometheus"
RULES = HERE / "k2alert-rules.yml"
NOW = datetime(2026, 1, 5, tzinfo=UTC)

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")


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


def everything_said() -> str:
    """The daemon's own series once everything has happened."""
    own = SelfMetrics("1")
    own.declare(rules=["r"], receivers=[("team", "slack")], sources=["gitlab"])
    own.set_source("gitlab", remaining=1, success_at=NOW, complete=NOW)
    own.count_requests("gitlab", "runs", "200", 1)
    own.webhook("gitlab", "accepted", now=NOW)
    own.evaluated({"r": True}, took=timedelta(seconds=1), dropped=1)
    own.notified("team", "slack", took=timedelta(seconds=1), reason=REASONS[0])
    return own.render("text/plain")[0].decode()


def test_each_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "runbooks.md").read_text()
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sections == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"runbooks.md#{alert['alert'].lower()}"
