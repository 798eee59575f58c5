"""The whole daemon in a test: real HTTP, a real SQLite file, stand-ins of forge and Slack, and a clock to move."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from k2alert.app import Options, serve
from k2alert.collect.http import Time
from k2alert.logs import Secrets
from k2alert.record import Store, open_store
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline

PATIENCE = 60.0  # seconds of real time that a story waits for something to happen before it fails
PROJECT = "k2/app"


@dataclass
class Clock:
    """The machine's clock, moved ahead by hand."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass
class World:
    """A stand-in GitLab with one project, and what a story does to it."""

    clock: Clock
    forge: StandinGitLab
    url: str = ""
    number: int = 1000

    def run(
        self, status: str = "success", *, ago: timedelta = timedelta(0), minutes: float = 5, ref: str = "main"
    ) -> int:
        """A pipeline that finished `ago`; its number."""
        self.number += 1
        finished = self.clock.now() - ago
        started = finished - timedelta(minutes=minutes)
        self.forge.put(
            PROJECT,
            StandinPipeline(
                id=self.number, created_at=started, started_at=started, finished_at=finished, status=status, ref=ref
            ),
        )
        return self.number


@asynccontextmanager
async def a_world(clock: Clock | None = None, *, middlewares: Sequence[Any] = ()) -> AsyncIterator[World]:
    """A running stand-in GitLab, behind these."""
    clock = clock or Clock()
    forge = StandinGitLab(clock.now)
    forge.add_project(PROJECT)
    server = TestServer(forge.app(middlewares=middlewares))
    await server.start_server()
    try:
        yield World(clock, forge, str(server.make_url("")).rstrip("/"))
    finally:
        await server.close()


@dataclass
class Running:
    """A running daemon."""

    port: int
    stop: asyncio.Event
    reload: asyncio.Event
    session: aiohttp.ClientSession = field(repr=False)

    async def text(self, path: str) -> str:
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return await answer.text()

    async def alerts(self) -> list[dict[str, object]]:
        async with self.session.get(f"http://127.0.0.1:{self.port}/api/v1/alerts") as answer:
            found: list[dict[str, object]] = (await answer.json())["data"]["alerts"]
            return found


@asynccontextmanager
async def daemon(
    config: Path,
    clock: Clock,
    environ: dict[str, str] | None = None,
    secrets: Secrets | None = None,
    opener: Callable[[str], Store] = open_store,
) -> AsyncIterator[Running]:
    """`k2alert run` in this process; what ends it early fails the test. `secrets` are those that its log blots out."""
    stop, reload = asyncio.Event(), asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    machine = Time(now=clock.now, monotonic=time.monotonic, sleep=asyncio.sleep, random=random.random)
    options = Options(
        config=config,
        environ=environ or {},
        listen="127.0.0.1:0",
        watch_every=timedelta(milliseconds=100),
        time=machine,
        secrets=secrets or Secrets(),
        open_store=opener,
        on_ready=port.set_result,
    )
    task = asyncio.create_task(serve(options, stop, reload), name="the daemon")
    try:
        await asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        async with aiohttp.ClientSession() as session:
            yield Running(port.result(), stop, reload, session)
    finally:
        stop.set()
        await task


async def until(happened: Callable[[], object], what: str) -> None:
    """Waits until it has happened, in real time: the daemon runs by itself."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.02)


async def until_seen(running: Running, line: str) -> None:
    """Until /metrics says so."""
    deadline = time.monotonic() + PATIENCE
    while line not in (text := await running.text("/metrics")).splitlines():
        name = line.partition("{")[0]
        found = [other for other in text.splitlines() if other.startswith(name)]
        assert time.monotonic() < deadline, f"waited in vain for {line}, there is {found}"
        await asyncio.sleep(0.05)


async def until_a_round_is_over(running: Running) -> None:
    """Until one more is than now."""
    before = await _number(running, "k2alert_evaluation_duration_seconds_count")
    deadline = time.monotonic() + PATIENCE
    while await _number(running, "k2alert_evaluation_duration_seconds_count") == before:
        assert time.monotonic() < deadline, "waited in vain for a round"
        await asyncio.sleep(0.02)


async def until_drawn(running: Running) -> None:
    """Until the gauges are of the alerts that are seen now, or of later ones."""
    judged = await _number(running, "k2alert_last_evaluation_timestamp_seconds")
    deadline = time.monotonic() + PATIENCE
    while await _number(running, "k2alert_gauges_timestamp_seconds") < judged:
        assert time.monotonic() < deadline, "waited in vain for gauges"
        await asyncio.sleep(0.05)


async def _number(running: Running, name: str) -> float:
    """What a sample without labels says."""
    lines = (await running.text("/metrics")).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def until_unseen(running: Running, text: str) -> None:
    """Until nothing in /metrics says so."""
    deadline = time.monotonic() + PATIENCE
    while text in await running.text("/metrics"):
        assert time.monotonic() < deadline, f"waited in vain for {text} to go"
        await asyncio.sleep(0.05)


async def until_judged(running: Running) -> None:
    """Until every project has been read, and a round has seen it so, and its gauges are drawn."""
    await until_seen(running, 'k2alert_projects{source="gitlab",state="ok"} 1.0')
    await until_drawn(running)
