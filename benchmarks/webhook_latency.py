"""From a webhook to the message about it: each part of a daemon's round, or a whole daemon over HTTP.

    .venv/bin/python benchmarks/webhook_latency.py [PROJECTS]               # half a minute
    .venv/bin/python benchmarks/webhook_latency.py http [PROJECTS ...]      # some 4 minutes

The first: the daemon's own rounds with the seed's four rules and a receiver of webhooks on loopback, over SQLite on
disk. Each project has five runs; then, one project after the other, a red run is saved and a round follows, as it does
in the daemon when facts came. Printed are medians, CPU time (and wall), from the moment at which the board has the
facts: until the alerts are decided and handed to the store, until a message is composed, until the receiver has it.

The second: `k2alert run`, a process of its own, with the same rules and one more, and a stand-in GitLab. Every few
seconds a red pipeline of one project, on a branch of its own, is posted to its inbox. Printed are medians and the most,
wall, from the moment at which the request is made: until it is answered, which is when it is on disk, and until a
stand-in receiver has the message; and the CPU time of the daemon's threads until then. The first is posted when all
projects have been read and judged.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from evaluate import RULES
from storm import Daemon, a_daemon, make_run

from k2alert.config.load import load
from k2alert.garbage import leave_out
from k2alert.measure.catalogue import METRICS
from k2alert.model import Result
from k2alert.record import Store
from k2alert.rehearse.gitlab_standin import StandinGitLab
from k2alert.rehearse.gitlab_standin_json import StandinJob, StandinPipeline, StandinProject
from tests.support.hooks import gitlab_payload
from tests.support.mortal import Mortal

MAIN = """
sources: [{{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, groups: [k2], max_staleness: 1d}}]
store: sqlite:///{store}
rule_files: [rules.yml]
receivers: [{{name: team, webhook: {{url: "{url}"}}}}]
route: {{receiver: team, group_by: [project], group_wait: 0s}}
"""
TIMES = 40
PARTS = ("decided", "composed", "received")


class Clock:
    """CPU and wall milliseconds since the facts were saved, part by part."""

    def __init__(self) -> None:
        self.parts: dict[str, list[tuple[float, float]]] = {part: [] for part in PARTS}
        self.open: set[str] = set()
        self._began = (0.0, 0.0)

    def begin(self) -> None:
        self.open = set(PARTS)
        self._began = time.thread_time(), time.perf_counter()

    def note(self, part: str) -> None:
        """The first time that it happens counts."""
        if part in self.open:
            self.open.remove(part)
            cpu, wall = self._began
            self.parts[part].append(((time.thread_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000))


def listen_to(store: Store, clock: Clock) -> None:
    """Notes when the store is handed the alerts, and when a message that is ready to go."""
    save_alerts, save_log = store.save_alerts, store.save_log

    async def saving_alerts(*args: object, **more: object) -> None:
        clock.note("decided")
        await save_alerts(*args, **more)  # type: ignore[arg-type]

    async def saving_log(*args: object, **more: object) -> None:
        clock.note("composed")
        await save_log(*args, **more)  # type: ignore[arg-type]

    store.save_alerts, store.save_log = saving_alerts, saving_log  # type: ignore[method-assign]


async def measure(daemon: Daemon, clock: Clock, heard: asyncio.Event) -> None:
    for number in range(TIMES):
        daemon.now += timedelta(seconds=30)
        await daemon.rounds.round()  # what time alone has changed
        daemon.now += timedelta(seconds=5)
        red = make_run(daemon.projects[number].path, 100 + number, daemon.now, Result.FAILURE)
        heard.clear()
        saved = await daemon.store.save([red])
        daemon.board.apply(saved)
        daemon.read()
        clock.begin()
        await daemon.rounds.round()
        await asyncio.wait_for(heard.wait(), 10)
        await asyncio.sleep(0.05)


async def main(projects: int = 1000) -> None:
    """All of it."""
    clock, heard = Clock(), asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        await request.read()
        clock.note("received")
        heard.set()
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/", take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(RULES)
        (folder / "k2alert.yml").write_text(MAIN.format(store=folder / "k.db", url=server.make_url("/")))
        config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
        if config is None:
            raise RuntimeError("the configuration is wrong")
        async with a_daemon(config, projects) as daemon:
            for number in range(4):
                await daemon.record(2 + number, Result.SUCCESS)
            await daemon.rounds.round()
            leave_out()
            listen_to(daemon.store, clock)
            await measure(daemon, clock, heard)
    await server.close()
    print(f"{projects:,} projects, medians of {TIMES}, since the facts were saved: CPU ms (wall)")
    for part in PARTS:
        cpu, wall = (median(one[place] for one in clock.parts[part]) for place in (0, 1))
        print(f"  {part:<9} {cpu:6.1f} ({wall:.1f})")


# ------------------------------------------------------------------------------------------ over HTTP

POSTED = 40
GAP, QUICK_GAP = 3.0, 1.0  # seconds from one webhook to the next, on an average: many projects, and one
OVER_HTTP = """
sources:
  - {{type: gitlab, name: gitlab, url: "{forge}", token: t, projects: [{projects}], webhook_secret: secret-1,
     poll_interval: 1h, max_staleness: 2h, backfill: 1d}}
store: sqlite:///{store}
rule_files: [rules.yml]
receivers: [{{name: nobody}}, {receivers}]
route: {{receiver: nobody, group_wait: 0s, routes: [{routes}]}}
"""
# Each of the messages has a receiver of its own, for more than ten in five minutes would become a list.
RECEIVER = '{{name: "{number}", webhook: {{url: "{url}told/{number}"}}}}'
ROUTE = """{{receiver: "{number}", matchers: ['branch="branch-{number}"']}}"""
RED = """
  - {name: branch_is_red, condition: consecutive_failures >= 1, by: [project, branch], period: 24h, severity: critical,
     message: red}
"""


@dataclass
class Told:
    """When the receivers were told, each by its number."""

    at: dict[str, float] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        self.at.setdefault(request.match_info["number"], time.perf_counter())
        self.came.set()
        return web.Response(text="ok")


def a_pipeline(number: int, status: str, branch: str) -> StandinPipeline:
    """One that has just ended."""
    now = datetime.now(UTC)
    at = now - timedelta(minutes=5)
    job = StandinJob(id=number, name="test", created_at=at, started_at=at, finished_at=now, status=status)
    return StandinPipeline(
        id=number, created_at=at, started_at=at, finished_at=now, status=status, ref=branch, jobs=(job,)
    )


def a_forge(size: int) -> tuple[StandinGitLab, list[StandinProject]]:
    """With so many projects, each with one green run."""
    forge = StandinGitLab(lambda: datetime.now(UTC))
    projects = [forge.add_project(f"k2/app-{number}") for number in range(size)]
    for number, project in enumerate(projects):
        forge.put(project.path, a_pipeline(number + 1, "success", "main"))
    return forge, projects


async def post_all(
    projects: Sequence[StandinProject], url: str, told: Told, cpu: Callable[[], float]
) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds until each webhook was answered, and until its message was there; what it took of CPU until then."""
    answered, received, busy = [], [], []
    chance = random.Random(1)
    async with aiohttp.ClientSession() as session:
        await until_read(session, url, len(projects))
        for number in range(POSTED):
            await asyncio.sleep((GAP if len(projects) > 1 else QUICK_GAP) * chance.uniform(0.5, 1.5))
            project = projects[number % len(projects)]
            red = a_pipeline(1_000_000 + number, "failed", f"branch-{number}")
            body = json.dumps(gitlab_payload(project, red, datetime.now(UTC)))
            headers = {"X-Gitlab-Token": "secret-1", "Idempotency-Key": f"d-{number}"}
            told.came.clear()
            began, began_cpu = time.perf_counter(), cpu()
            async with session.post(f"{url}/webhooks/gitlab", data=body, headers=headers) as answer:
                assert answer.status == 200
            answered.append((time.perf_counter() - began) * 1000)
            await asyncio.wait_for(told.came.wait(), 60)
            busy.append((cpu() - began_cpu) * 1000)
            received.append((told.at[str(number)] - began) * 1000)
    return answered, received, busy


def cpu_of(process: int) -> float:
    """Seconds of CPU that the threads of a process have had; Linux says so to the microsecond."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


async def until_read(session: aiohttp.ClientSession, url: str, projects: int) -> None:
    """Until every project has been read and judged."""
    line = f'k2alert_projects{{source="gitlab",state="ok"}} {projects}.0'
    while True:
        async with session.get(f"{url}/metrics") as answer:
            if line in (await answer.text()).splitlines():
                return
        await asyncio.sleep(0.5)


async def over_http(size: int) -> None:
    """A daemon with so many projects, and what it is posted."""
    told = Told()
    forge, projects = a_forge(size)
    app = forge.app()
    app.router.add_post("/told/{number}", told.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    here = str(server.make_url("/"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(RULES + RED)
        text = OVER_HTTP.format(
            forge=here.rstrip("/"),
            projects=", ".join(project.path for project in projects),
            store=folder / "k.db",
            receivers=", ".join(RECEIVER.format(number=number, url=here) for number in range(POSTED)),
            routes=", ".join(ROUTE.format(number=number) for number in range(POSTED)),
        )
        (folder / "k2alert.yml").write_text(text)
        mortal = Mortal(folder / "k2alert.yml")
        await mortal.start()
        try:
            url = f"http://127.0.0.1:{await mortal.ready()}"
            found = await post_all(projects, url, told, lambda: cpu_of(mortal.pid))
        finally:
            await mortal.stop()
            await server.close()
    print(f"{size:,} projects, {POSTED} webhooks to a daemon over HTTP, since they were posted, wall: median (most)")
    for what, times in zip(("answered", "received", "CPU"), found, strict=True):
        print(f"  {what:<9} {median(times):6.1f} ms ({max(times):.0f})", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        for size in [*map(int, sys.argv[2:])] or [1, 1000]:
            asyncio.run(over_http(size))
    else:
        asyncio.run(main(*map(int, sys.argv[1:2])))
