"""A daemon with something of every kind to show, and a real Prometheus that scrapes it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from k2alert.record import open_store
from k2alert.rehearse.gitlab_standin import StandinJob, StandinPipeline
from tests.support.daemon import PATIENCE, PROJECT, Running, World, a_world, daemon, until_judged
from tests.support.reported import every_kind

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
        except (
            aiohttp.ClientConnectionError,
            aiohttp.ContentTypeError,
        ):  # only starting: 503 in text
            return []


@asynccontextmanager
async def prometheus(folder: Path, target: int, rule_files: str = "") -> AsyncIterator[Prometheus]:
    """Prometheus on a free port, scraping this port, with these rules."""
    config = folder / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
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


@web.middleware
async def saying_limits(request: web.Request, handler: Any) -> web.StreamResponse:
    """GitLab says what it still allows, where an administrator has set a limit."""
    answer: web.StreamResponse = await handler(request)
    answer.headers["RateLimit-Remaining"] = "1900"
    return answer


@asynccontextmanager
async def a_filled_daemon(folder: Path, *, limits: bool = False) -> AsyncIterator[Running]:
    """A daemon that has read and judged one project with all there is; its forge may say limits."""
    async with a_world(middlewares=[saying_limits] if limits else []) as world:
        fill(world)
        config = write_config(folder, world)
        store = open_store(f"sqlite:///{folder}/k2alert.db")
        await every_kind(store, world.clock.now())
        await store.close()
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            yield running
