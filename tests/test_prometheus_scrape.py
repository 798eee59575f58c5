"""A real Prometheus scrapes a running daemon, and answers for every family that the daemon exports."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from k2alert.measure.catalogue import METRICS
from tests.support.daemon import a_world, daemon
from tests.support.scraping import a_filled_daemon, prometheus, write_config

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed here")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")

# Contract §5, "Itself". Nothing is known of a rate limit before the forge has said something, and of webhooks
# nothing while none can be received.
ITSELF = {
    "k2alert_build_info",
    "k2alert_config_hash",
    "k2alert_config_last_reload_successful",
    "k2alert_projects",
    "k2alert_source_requests_total",
    "k2alert_source_last_success_timestamp_seconds",
    "k2alert_webhook_last_received_timestamp_seconds",
    "k2alert_rule_evaluations_total",
    "k2alert_rule_evaluation_failures_total",
    "k2alert_evaluation_duration_seconds_count",
    "k2alert_notifications_total",
    "k2alert_notifications_failed_total",
    "k2alert_notification_latency_seconds_count",
    "k2alert_leader",
}


def families_of(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples_of(text: str) -> dict[str, float]:
    """Every sample by its selector."""
    return {selector(sample): sample.value for family in families_of(text).values() for sample in family.samples}


def some_of(family: Metric) -> Iterator[Sample]:
    """A sample or two of a family: its first and its last that is not a bucket."""
    plain = [sample for sample in family.samples if not sample.name.endswith("_bucket")]
    yield from {selector(sample): sample for sample in (plain[:1] + plain[-1:])}.values()


def selector(sample: Sample) -> str:
    """The sample as PromQL selects it, and no other."""
    labels = ",".join(f"{name}={quoted(value)}" for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}"


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@needs_prometheus
async def test_prometheus_answers_for_every_family_with_the_value_that_was_exported(tmp_path: Path) -> None:
    async with a_filled_daemon(tmp_path) as running, prometheus(tmp_path, running.port) as scraper:
        before = await running.text("/metrics")
        await scraper.until_scraped(time.time())
        families = families_of(before)
        found = {
            selector(sample): await scraper.query(selector(sample))
            for family in families.values()
            for sample in some_of(family)
        }
        low, high = samples_of(before), samples_of(await running.text("/metrics"))

    silent = {name for name, family in families.items() if not family.samples}
    assert silent == {"k2alert_source_rate_limit_remaining"}  # the stand-in says nothing of limits
    assert {name for name, answers in found.items() if len(answers) != 1} == set()
    ours = {name: float(answers[0]["value"][1]) for name, answers in found.items() if name.startswith("k2alert_")}
    # What changes meanwhile, such as counters and ages, only grows.
    assert {name: (low[name], value, high[name]) for name, value in ours.items() if value < low[name]} == {}
    assert {name: (low[name], value, high[name]) for name, value in ours.items() if value > high[name]} == {}
    assert sum(low[name] == high[name] for name in ours) > 50


async def test_every_metric_that_is_collected_is_exported_with_a_value(tmp_path: Path) -> None:
    async with a_filled_daemon(tmp_path) as running:
        families = families_of(await running.text("/metrics"))
    collected = {metric.gauge for metric in METRICS.values() if metric.collected}
    assert {name for name in collected if not families[name].samples} == set()
    assert {"k2alert_ci_runs", "k2alert_ci_run_duration_seconds", "k2alert_rule_value", "k2alert_alerts"} <= set(
        families
    )


async def test_what_it_says_of_itself_is_there_from_the_start(tmp_path: Path) -> None:
    async with a_world() as world, daemon(write_config(tmp_path, world), world.clock) as running:
        text = await running.text("/metrics")
    families = families_of(text)
    assert ITSELF - {sample.name for family in families.values() for sample in family.samples} == set()
    assert "k2alert_source_rate_limit_remaining" in families


@needs_promtool
async def test_promtool_finds_nothing_in_a_running_daemons_metrics(tmp_path: Path) -> None:
    async with a_filled_daemon(tmp_path) as running:
        text = await running.text("/metrics")
    process = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(text.encode())
    assert said.decode() == ""
    assert process.returncode == 0
