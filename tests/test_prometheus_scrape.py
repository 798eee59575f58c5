"""A real Prometheus scrapes a running daemon, and answers for every family that the daemon exports."""

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from k2alert.measure.catalogue import METRICS
from k2alert.record import open_store
from k2alert.rehearse.gitlab_standin import StandinJob, StandinPipeline
from tests.support.daemon import PATIENCE, PROJECT, Running, World, a_world, daemon, until_judged
from tests.support.reported import every_kind

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
MINUTE = timedelta(minutes=1)


def fill(world: World) -> None:
    """Runs and jobs of every kind: finished, failed, cancelled, retried, running, waiting; jobs with a hostile name."""
    now = world.clock.now()
    for number, status in enumerate(("success", "failed", "canceled", "success", "failed"), start=1):
        begun = now - timedelta(hours=2 * number)
        jobs = tuple(
            StandinJob(
                id=10 * number + attempt,
                name='test "quoted" \\ 1/2',
                created_at=begun,
                started_at=begun + MINUTE,
                finished_at=begun + (2 + attempt) * MINUTE,
                status=status if attempt == 2 else "failed",
            )
            for attempt in (1, 2)
        )
        put(world, number, status, begun, finished=begun + 9 * MINUTE, jobs=jobs)
    waiting = StandinJob(id=201, name="deploy", created_at=now - 5 * MINUTE, status="pending")
    put(world, 20, "running", now - 6 * MINUTE, jobs=(waiting,))
    put(world, 21, "pending", now - 3 * MINUTE, started=None)


def put(world: World, number: int, status: str, begun: Any, **more: Any) -> None:
    """A pipeline that began then."""
    more = {"started": begun + MINUTE, "finished": None} | more
    pipeline = StandinPipeline(
        id=number,
        created_at=begun,
        started_at=more["started"],
        finished_at=more["finished"],
        status=status,
        jobs=more.get("jobs", ()),
    )
    world.forge.put(PROJECT, pipeline)


def write_config(folder: Path, world: World) -> Path:
    (folder / "rules.yml").write_text(
        """
alert_rules:
  - {name: slow, condition: avg_duration_minutes > 5, period: 24h, severity: info, message: "slow"}
  - {name: calm, condition: success_rate < 0.01, period: 24h, severity: critical, message: "red"}
"""
    )
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", projects: [{PROJECT}], poll_interval: 100ms, backfill: 7d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
notifications: {{slack: {{webhook_url: "http://127.0.0.1:9/nobody-listens"}}}}
"""
    )
    return config


@dataclass
class Prometheus:
    """A running Prometheus."""

    url: str
    session: aiohttp.ClientSession

    async def query(self, expression: str) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": expression}) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        found: list[dict[str, Any]] = body["data"]["result"]
        return found

    async def until_scraped(self, since: float) -> None:
        """Until it has scraped after a moment, without an error."""
        deadline = time.monotonic() + PATIENCE
        while not any(float(one["value"][1]) > since for one in await self._scrapes()):
            assert time.monotonic() < deadline, "Prometheus never scraped"
            await asyncio.sleep(0.1)

    async def _scrapes(self) -> list[dict[str, Any]]:
        try:
            return await self.query('timestamp(up{job="k2alert"} == 1)')
        except aiohttp.ClientConnectionError:  # it is only starting
            return []


@asynccontextmanager
async def prometheus(folder: Path, target: int, rule_files: str = "") -> AsyncIterator[Prometheus]:
    """Prometheus on a free port, scraping this port, with these rules."""
    config = folder / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 500ms}}
rule_files: [{rule_files}]
scrape_configs:
  - {{job_name: k2alert, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}
"""
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            yield Prometheus(f"http://127.0.0.1:{port}", session)
    finally:
        process.terminate()
        await process.wait()


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


@asynccontextmanager
async def a_filled_daemon(folder: Path) -> AsyncIterator[Running]:
    async with a_world() as world:
        fill(world)
        config = write_config(folder, world)
        store = open_store(f"sqlite:///{folder}/k2alert.db")
        await every_kind(store, world.clock.now())
        await store.close()
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            yield running


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
