"""How many requests a forge is asked: k2alert, the naive way, and the pattern of gitlab-ci-pipelines-exporter.

100 projects with 200 runs a day each, on a stand-in GitLab and a stand-in GitHub that count what comes in over real
HTTP: the first backfill of seven days, an idle hour, and a busy hour that sees a tenth of a day's runs. Time is
simulated, so an hour takes as long as its requests do. Where each project costs the same whatever the others do (all
backfills, and everything of the other two), a few projects are measured and the figure multiplied. Run as
`python benchmarks/requests.py`.

The naive way lists a project's newest 100 runs each minute and asks for the details, jobs and test summary of each that
changed; a backfill asks for those of every run. The exporter's pattern is that of its `PullRefMetrics` (v0.5.10) with
its defaults, one branch, twice a minute: the newest pipeline, its details, and its jobs when it changed. It sees one
branch and nothing that is over between two looks, so it reads less than the others. What is billed at GitHub is what
was not answered with 304.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.flow import Forge
from k2alert.collect.http import Time
from k2alert.collect.settings import SourceSettings
from k2alert.model import Saved
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support.fake_time import T0
from tests.support.github_standin import StandinAttempt, StandinGitHub, StandinRepository, StandinRun
from tests.support.github_standin import StandinJob as GitHubJob
from tests.support.memory_store import MemoryStore

PROJECTS, RUNS_A_DAY, BACKFILL_DAYS = 100, 200, 7
BACKFILLED, SAMPLED = 2, 10  # projects measured, where each costs the same
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
IDLE = T0, T0 + HOUR  # after the backfill, and after what was still running has ended
BUSY = T0 + HOUR, T0 + 2 * HOUR


# ------------------------------------------------------------------------------------------------ what happens


@dataclass(frozen=True, slots=True)
class Happening:
    """One run: five jobs in two stages, one of them failing now and then."""

    id: int
    created_at: datetime
    minutes: float
    failed: bool
    branch: str


def happenings(project: int, starts: Iterator[datetime]) -> list[Happening]:
    """Runs of a project that start then: 3 to 18 minutes, one in ten fails, one in three is of the main branch."""
    chance = Random(project)
    made = []
    for number, start in enumerate(sorted(starts)):
        failed, main = chance.random() < 0.1, chance.random() < 0.33
        branch = "main" if main else f"topic-{number}"
        made.append(Happening(project * 100_000 + number + 1, start, chance.uniform(3, 18), failed, branch))
    return made


def starts(project: int, *, days: float, busy: bool) -> Iterator[datetime]:
    """When runs start: all day long until half an hour before `T0`, then none for the idle hour, then many."""
    chance = Random(1000 + project)
    for _ in range(round(RUNS_A_DAY * days)):
        yield T0 - timedelta(minutes=30) - timedelta(days=days) * chance.random()
    for _ in range(RUNS_A_DAY // 10 if busy else 0):
        yield BUSY[0] + HOUR * chance.random()


def job_times(run: Happening) -> Iterator[tuple[int, str, str, datetime, datetime, bool]]:
    """The jobs of a run: id, name, stage, start, end, whether it failed."""
    half = timedelta(minutes=run.minutes / 2)
    for number, name in enumerate(("build", "lint", "unit", "integration", "package")):
        late = number >= 2
        start = run.created_at + timedelta(seconds=10) + (half if late else timedelta())
        failed = run.failed and name == "integration"
        yield run.id * 10 + number, name, "test" if late else "build", start, start + half * 0.9, failed


def on_gitlab(run: Happening) -> StandinPipeline:
    """The run as a pipeline."""
    jobs = tuple(
        StandinJob(
            id=number,
            name=name,
            stage=stage,
            created_at=run.created_at,
            started_at=start,
            finished_at=end,
            status="failed" if failed else "success",
        )
        for number, name, stage, start, end, failed in job_times(run)
    )
    return StandinPipeline(
        id=run.id,
        created_at=run.created_at,
        started_at=run.created_at + timedelta(seconds=10),
        finished_at=max(job.finished_at for job in jobs if job.finished_at),
        status="failed" if run.failed else "success",
        ref=run.branch,
        jobs=jobs,
    )


def on_github(run: Happening) -> StandinRun:
    """The run as a workflow run."""
    jobs = [
        GitHubJob(number, name, start, end, "failure" if failed else "success", created_at=run.created_at)
        for number, name, _, start, end, failed in job_times(run)
    ]
    ended = max(job.completed_at for job in jobs if job.completed_at)
    attempt = StandinAttempt(1, run.created_at, ended, "failure" if run.failed else "success", jobs)
    return StandinRun(id=run.id, created_at=run.created_at, attempts=[attempt], head_branch=run.branch)


# ------------------------------------------------------------------------------------------------ simulated time


@dataclass
class SimulatedTime:
    """Time that passes when nobody reads: sleepers wait for flows to end, and then for each other."""

    now: datetime
    end: datetime
    flows: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _wakes: list[datetime] = field(default_factory=list)

    def time(self) -> Time:
        """As the collector wants it."""
        return Time(
            now=lambda: self.now,
            monotonic=lambda: (self.now - T0).total_seconds(),
            sleep=self._sleep,
            random=lambda: 0.5,
        )

    def watch(self, forge: Forge) -> Forge:
        """The forge, its flows counted while they run."""
        watched = {}
        for name in ("look", "list_projects", "scan"):
            make = getattr(forge, name, None)
            if make is not None:
                watched[name] = self._count(make)
        return replace(forge, **watched)

    def _count(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def flow(*arguments: Any) -> Any:
            self.flows += 1
            try:
                return (yield from make(*arguments))
            finally:
                self.flows -= 1

        return flow

    async def _sleep(self, seconds: float) -> None:
        wake = self.now + timedelta(seconds=seconds)
        self._wakes.append(wake)
        try:
            while self.now < wake:
                await self._settle()
                if min(self._wakes) == wake:
                    if wake >= self.end:
                        self.over.set()
                        await asyncio.Event().wait()
                    self.now = wake
        finally:
            self._wakes.remove(wake)

    async def _settle(self) -> None:
        quiet = 0
        while quiet < 20:  # whoever waits for a flow's end gets its turn, and may start another
            await asyncio.sleep(0 if not self.flows else 0.001)
            quiet = 0 if self.flows else quiet + 1


# ------------------------------------------------------------------------------------------------ who asks


@dataclass
class Counter:
    """Counts what comes in."""

    asked: int = 0
    free: int = 0

    @property
    def billed(self) -> int:
        """What counts against a limit of GitHub."""
        return self.asked - self.free

    @web.middleware
    async def count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Sees every request and its answer."""
        self.asked += 1
        response: web.StreamResponse = await handler(request)
        self.free += response.status == 304
        return response


@dataclass
class World:
    """A forge with its history, served over HTTP. `say` starts the server of what `clock` shows."""

    kind: str
    projects: int
    days: float
    now: Callable[[], datetime] = lambda: T0
    counter: Counter = field(default_factory=Counter)

    def app(self) -> web.Application:
        """The stand-in, all of its history put in."""
        runs = {
            f"group/project-{number}": happenings(number, starts(number, days=self.days, busy=True))
            for number in range(self.projects)
        }
        if self.kind == "gitlab":
            gitlab = StandinGitLab(lambda: self.now())
            for path, told in runs.items():
                gitlab.add_project(path)
                gitlab.put(path, *map(on_gitlab, told))
            return gitlab.app(middlewares=[self.counter.count])
        repositories = [
            StandinRepository(path, list(map(on_github, told)), id=number)
            for number, (path, told) in enumerate(runs.items(), 1)
        ]
        return StandinGitHub(lambda: self.now(), repositories).make_app([self.counter.count])

    @property
    def paths(self) -> list[str]:
        """The projects."""
        return [f"group/project-{number}" for number in range(self.projects)]

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Its address."""
        server = TestServer(self.app())
        await server.start_server()
        try:
            yield str(server.make_url("")).rstrip("/")
        finally:
            await server.close()


async def collect(
    world: World,
    start: datetime,
    end: datetime,
    *,
    backfill: timedelta,
    marks: dict[str, datetime],
    poll: str = "60s",
    hooked: bool = False,
) -> dict[str, tuple[int, int, int]]:
    """The collector's requests (asked, billed) until each mark, with the runs recorded by then.

    `hooked`: webhooks tell of every run. What they would put into the store another collector puts there, that nobody
    counts.
    """
    clock = SimulatedTime(start, end)
    world.now = lambda: clock.now
    store = MemoryStore()
    seen: dict[str, tuple[int, int, int]] = {}

    async def watch() -> None:
        for name, at in marks.items():
            while clock.now < at and not clock.over.is_set():
                await asyncio.sleep(0.0005)
            seen[name] = world.counter.asked, world.counter.billed, len(store.outcomes)

    def make(url: str, **more: Any) -> Collector:
        wish = {"type": world.kind, "name": "s", "url": url, "poll_interval": poll, "projects": world.paths}
        return Collector(
            (SourceSettings.model_validate({**wish, **more}),),
            forges={world.kind: clock.watch(SOURCES[world.kind])},
            store=store,
            time=clock.time(),
            depth=lambda: backfill,
            version="0",
            on_saved=_ignore,
        )

    hooks = World(world.kind, world.projects, world.days, lambda: clock.now)
    async with world.served() as url, hooks.served() as told:
        watching = asyncio.create_task(watch())
        if hooked:
            both = make(url, webhook_secret=("x",)), make(told, poll_interval="60s")
            await _until(_together(*(collector.run() for collector in both)), clock.over)
        else:
            await _until(make(url).run(), clock.over)
        await watching
    return seen


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(*work)


def _ignore(saved: Saved) -> None:
    pass


async def _until(work: Coroutine[Any, Any, None], over: asyncio.Event) -> None:
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(over.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    waiting.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)


Ask = Callable[[str], Coroutine[Any, Any, Any]]


async def naive_gitlab(ask: Ask, path: str, known: dict[Any, Any], *, pages: int = 1) -> None:
    """The newest 100 pipelines, and three requests for each that changed."""
    project = f"/api/v4/projects/{path.replace('/', '%2F')}/pipelines"
    for page in range(1, pages + 1):
        rows = await ask(f"{project}?per_page=100&page={page}")
        for row in rows:
            if known.get(row["id"]) != (row["status"], row["updated_at"]):
                known[row["id"]] = row["status"], row["updated_at"]
                for detail in ("", "/jobs?per_page=100", "/test_report_summary"):
                    await ask(f"{project}/{row['id']}{detail}")
        if len(rows) < 100:
            return


async def exporter(ask: Ask, path: str, known: dict[Any, Any], *, pages: int = 1) -> None:
    """The newest pipeline of the main branch, its details, and its jobs where it changed; twice a minute."""
    project = f"/api/v4/projects/{path.replace('/', '%2F')}/pipelines"
    for _ in range(2):
        for row in await ask(f"{project}?ref=main&per_page=1"):
            detail = await ask(f"{project}/{row['id']}")
            if known.get("last") != detail:
                known["last"] = detail
                await ask(f"{project}/{row['id']}/jobs?per_page=100")


async def naive_github(ask: Ask, path: str, known: dict[Any, Any], *, pages: int = 1) -> None:
    """The newest 100 runs, and two requests for each that changed."""
    runs = f"/repos/{path}/actions/runs"
    for page in range(1, pages + 1):
        rows = (await ask(f"{runs}?per_page=100&page={page}"))["workflow_runs"]
        for row in rows:
            if known.get(row["id"]) != (row["status"], row["updated_at"]):
                known[row["id"]] = row["status"], row["updated_at"]
                await ask(f"{runs}/{row['id']}")
                await ask(f"{runs}/{row['id']}/jobs?per_page=100")
        if len(rows) < 100:
            return


async def poll_naively(world: World, pull: Callable[..., Coroutine[Any, Any, None]], *, pages: int) -> dict[str, int]:
    """A whole backfill of so many pages (0: none), then each minute of the idle and the busy hour."""
    now = T0
    world.now = lambda: now
    known: dict[str, dict[Any, Any]] = {path: {} for path in world.paths}
    counted = {}
    async with world.served() as url, aiohttp.ClientSession() as session:

        async def ask(path: str) -> Any:
            async with session.get(_raw(url + path)) as response:
                return await response.json(content_type=None) if response.status == 200 else None

        for path in world.paths:
            await pull(ask, path, known[path], pages=pages or 1)
        counted["backfill"], world.counter.asked = world.counter.asked, 0
        for name, (start, _) in {"idle": IDLE, "busy": BUSY}.items() if not pages else ():
            for minute in range(60):
                now = start + (minute + 1) * MINUTE
                for path in world.paths:
                    await pull(ask, path, known[path])
            counted[name], world.counter.asked = world.counter.asked, 0
    return counted


def _raw(url: str) -> URL:
    return URL(url, encoded=True)


# ------------------------------------------------------------------------------------------------ the table


async def ours(kind: str, poll: str = "60s", *, hooked: bool = False) -> dict[str, tuple[int, int]]:
    """k2alert: backfill, idle, busy, each asked and billed."""
    deep = World(kind, BACKFILLED, BACKFILL_DAYS)
    week = timedelta(days=BACKFILL_DAYS)
    first = await collect(deep, T0, T0 + 5 * MINUTE, backfill=week, marks={"backfill": T0 + 40 * timedelta(seconds=1)})
    flat = World(kind, PROJECTS, 0.25)
    marks = {"start": IDLE[0], "idle": IDLE[1], "busy": BUSY[1]}
    begin = T0 - 10 * MINUTE
    hours = await collect(
        flat, begin, BUSY[1] + MINUTE, backfill=timedelta(hours=6), marks=marks, poll=poll, hooked=hooked
    )
    factor = PROJECTS // BACKFILLED
    asked, billed, _ = first["backfill"]
    table = {"backfill": (asked * factor, billed * factor)}
    for name, before in {"idle": "start", "busy": "idle"}.items():
        table[name] = hours[name][0] - hours[before][0], hours[name][1] - hours[before][1]
    return table


async def theirs(kind: str, pull: Callable[..., Coroutine[Any, Any, None]]) -> dict[str, int]:
    """Somebody else: backfill, idle, busy."""
    deep = await poll_naively(World(kind, BACKFILLED, BACKFILL_DAYS), pull, pages=1000)
    hours = await poll_naively(World(kind, SAMPLED, 0.25), pull, pages=0)
    hours = {name: count * PROJECTS // SAMPLED for name, count in hours.items()}
    return {**hours, "backfill": deep["backfill"] * PROJECTS // BACKFILLED}


async def main(kinds: list[str]) -> None:
    """Prints the table, as Markdown."""
    print("| forge, who asks | first backfill, 7 d | an idle hour | a busy hour |")
    print("|---|--:|--:|--:|")
    for kind in kinds:
        naive = {"gitlab": naive_gitlab, "github": naive_github}[kind]
        rows: dict[str, Any] = {"naive": await theirs(kind, naive)}
        if kind == "gitlab":
            rows["gitlab-ci-pipelines-exporter"] = {**await theirs(kind, exporter), "backfill": "none"}
        rows["k2alert"] = await ours(kind)
        rows["k2alert, with webhooks and poll_interval 15m"] = await ours(kind, "15m", hooked=True)
        for who, row in rows.items():
            cells = [_cell(row[name], kind) for name in ("backfill", "idle", "busy")]
            print(f"| {kind}, {who} | {' | '.join(cells)} |", flush=True)


def _cell(count: Any, kind: str) -> str:
    if not isinstance(count, tuple):
        return f"{count:,}" if isinstance(count, int) else str(count)
    asked, billed = count
    return f"{asked:,}" if kind == "gitlab" else f"{billed:,} billed of {asked:,}"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["gitlab", "github"]))
