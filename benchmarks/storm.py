"""What a storm costs: 10,000 alerts fire at once, and end at once, with a receiver of every kind.

    .venv/bin/python benchmarks/storm.py [PROJECTS [RULES]]

The daemon's own rounds, with a real store on disk; Slack (a bot, an incoming webhook), a mail server, a webhook and an
Alertmanager are stand-ins in a process of their own. Prints, for each phase: how long it takes to judge, move alerts
and plan, to do the whole round, until all was told, and for how long the event loop was held at most, all in CPU time;
the memory; when the last message of each kind arrived, how many there were and how large.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, Envelope, Session

from k2alert.collect.http import Time
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import plan
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.garbage import leave_out
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import Event, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.recall import fill_board, make_board
from k2alert.record import Store, open_store
from k2alert.rounds import Rounds, Setting

START = datetime(2026, 3, 1, tzinfo=UTC)
KINDS = ("bot", "hook", "mail", "webhook", "alertmanager")
BATCH = 1000

MAIN = """
sources: [{{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, groups: [k2], max_staleness: 1d}}]
store: sqlite:///{store}
rule_files: [rules.yml]
receivers:
  - name: team
    slack:
      - {{bot_token: xoxb-1, api_url: "{url}/api/", channel: "#ci"}}
      - {{webhook_url: "{url}/hook", channel: "#ci"}}
    email: {{smtp_server: "127.0.0.1:{smtp}", tls: none, from_address: ci@k2.test, to_addresses: [team@k2.test]}}
    webhook: {{url: "{url}/webhook"}}
    alertmanager: {{url: "{url}/alertmanager"}}
route: {{receiver: team, group_wait: 0s, group_interval: 10s}}
"""
RULE = """
  - name: main_is_red_{number}
    condition: consecutive_failures >= 1
    period: 24h
    severity: critical
    message: "{{{{ consecutive_failures }}}} in a row on {{{{ labels.project }}}}"
"""

# ------------------------------------------------------------------------------------------ receivers


@dataclass
class Receivers:
    """Takes everything; says when each kind was last spoken to, how often, and how many bytes that were."""

    heard: dict[str, tuple[float, int, int]] = field(default_factory=dict)
    _numbers: Iterable[int] = field(default_factory=lambda: count(1))

    def note(self, kind: str, size: int) -> None:
        _, times, sizes = self.heard.get(kind, (0.0, 0, 0))
        self.heard[kind] = (time.time(), times + 1, sizes + size)

    async def take(self, request: web.Request) -> web.Response:
        kind = request.path.strip("/").partition("/")[0]
        body = await request.read()
        self.note("bot" if kind == "api" else kind, len(body))
        if kind != "api":
            return web.Response(text="ok")
        return web.json_response({"ok": True, "channel": "C1", "ts": f"1700000000.{next(iter(self._numbers)):06d}"})

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.note("mail", len(envelope.original_content or b""))
        return "250 OK"


async def receive() -> None:
    """A process of receivers: says where it listens, and answers each line on its input with what it heard."""
    receivers, loop = Receivers(), asyncio.get_running_loop()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{rest:.*}", receivers.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    mail = await loop.create_server(lambda: SMTP(receivers, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    port = mail.sockets[0].getsockname()[1]
    print(json.dumps({"url": str(server.make_url("")).rstrip("/"), "smtp": port}), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(receivers.heard), flush=True)
        receivers.heard = {}


class Listening:
    """The process of receivers, asked over its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(await self._process.stdout.readline())

    async def heard(self) -> dict[str, tuple[float, int, int]]:
        """What was heard since it was asked last."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        found: dict[str, tuple[float, int, int]] = await self.answer()
        return found


@asynccontextmanager
async def listening() -> AsyncIterator[Listening]:
    """Running receivers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "receive"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Listening(process)
    finally:
        process.terminate()
        await process.wait()


# ------------------------------------------------------------------------------------------- the daemon


@dataclass
class Hold:
    """Watches for how long the event loop is held: the CPU time of its thread from one of its turns to the next.

    Walls would tell more of the neighbours.
    """

    longest: float = 0.0

    async def watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.002)
            self.longest = max(self.longest, time.thread_time() - before)


@dataclass
class Daemon:
    """Rounds over a store, with a clock that is set."""

    config: Config
    store: Store
    board: Board
    rounds: Rounds
    projects: Sequence[Project]
    now: datetime = START
    _read_at: datetime | None = None

    def read(self) -> Sequence[Project]:
        """The projects, all read within the last minute; as with a collector, asking for them costs nothing."""
        at = self.now.replace(second=0)
        if self._read_at != at:
            self._read_at = at
            self.projects = [replace(one, complete_at=at, success_at=at) for one in self.projects]
        return self.projects

    async def record(self, number: int, result: Result) -> None:
        """Every project has one more run."""
        for first in range(0, len(self.projects), BATCH):
            batch = [
                make_run(project.path, number, self.now, result) for project in self.projects[first : first + BATCH]
            ]
            self.board.apply(await self.store.save(batch))


@asynccontextmanager
async def a_daemon(config: Config, size: int) -> AsyncIterator[Daemon]:
    """With so many projects, all green."""
    store = open_store(config.store)
    paths = [f"k2/team-{number % 40}/app-{number}" for number in range(size)]
    first = START - timedelta(days=30)
    projects = [
        Project(source="gitlab", key=path, path=path, first_seen_at=first, covered_since=first) for path in paths
    ]
    board = make_board(config, METRICS)
    await fill_board(board, store)
    metrics = SelfMetrics("benchmark")
    metrics.declare(
        rules=[rule.name for rule in config.rules],
        sources=["gitlab"],
        receivers=[("team", kind) for kind in ("slack",)],
    )
    numbers = count(1)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        rounds = Rounds(
            Setting(config=config, board=board),
            metrics=METRICS,
            store=store,
            projects=lambda: daemon.read(),
            session=session,
            self_metrics=metrics,
            time=Time(now=lambda: daemon.now, monotonic=time.monotonic, sleep=asyncio.sleep, random=lambda: 0.5),
            started_at=START,
            new_id=lambda: str(next(numbers)),
        )
        daemon = Daemon(config, store, board, rounds, projects)
        await rounds.load()
        await daemon.record(1, Result.SUCCESS)
        yield daemon
        await rounds.close()


def make_run(project: str, number: int, at: datetime, result: Result) -> PipelineRun:
    """A run of main that has just finished."""
    created = at - timedelta(minutes=5)
    outcome = Outcome(
        attempt=1,
        result=result,
        started_at=created,
        finished_at=at,
        duration=timedelta(minutes=5),
        queued=timedelta(seconds=9),
    )
    return PipelineRun(
        source="gitlab",
        project=project,
        id=str(number),
        number=str(number),
        workflow="",
        event=Event.PUSH,
        ref_type=RefType.DEFAULT,
        branch="main",
        sha="4f" * 20,
        title="Mend what was broken",
        web_url=f"https://gitlab.example.com/{project}/-/pipelines/{number}",
        state=RunState.FINISHED,
        created_at=created,
        started_at=created,
        seen=at,
        outcomes=(outcome,),
    )


# --------------------------------------------------------------------------------------------- phases


async def phase(name: str, daemon: Daemon, receivers: Listening) -> None:
    """A round, and all that leaves after it; two lines of what it took."""
    await receivers.heard()
    scene = daemon.rounds.scene()
    began = time.thread_time()
    planned = plan(scene, now=daemon.now)
    judged = time.thread_time()
    due = len(planned.due)
    planning = time.thread_time() - judged
    hold = Hold()
    watching = asyncio.create_task(hold.watch())
    await asyncio.sleep(0.05)
    hold.longest = 0.0
    told_from, round_from = time.time(), time.thread_time()
    await daemon.rounds.round()
    took = time.thread_time() - round_from
    for _ in range(40):
        await asyncio.sleep(0.05)
        await daemon.rounds.deliver()
        await daemon.rounds.draw()
    told = time.thread_time() - round_from
    watching.cancel()
    heard = await receivers.heard()
    said = "; ".join(_heard(kind, heard[kind], told_from) for kind in KINDS if kind in heard) or "nothing"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: CPU to judge {judged - began:.2f} s, to plan {due} messages {planning:.2f} s, of the round "
        f"{took:.2f} s, until all was told {told:.2f} s,\n"
        f"    of the longest hold of the loop {hold.longest:.2f} s; memory {memory:.0f} MiB at most\n"
        f"    last heard, wall: {said}",
        flush=True,
    )


def _heard(kind: str, heard: tuple[float, int, int], since: float) -> str:
    at, times, size = heard
    return f"{kind} {times} message{'s' * (times > 1)} of {size / 1024:.1f} kB in {at - since:.1f} s"


async def main(projects: int = 1000, rules: int = 10) -> None:
    """All phases."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with listening() as receivers:
            each = "".join(RULE.format(number=number) for number in range(rules))
            (folder / "rules.yml").write_text(f"alert_rules:{each}")
            (folder / "k2alert.yml").write_text(MAIN.format(store=folder / "k.db", **await receivers.answer()))
            config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
            if config is None:
                raise RuntimeError("the configuration is wrong")
            async with a_daemon(config, projects) as daemon:
                leave_out()  # as the daemon does once it has read its history
                for number, (what, result) in enumerate(
                    [
                        ("nothing fires", None),
                        (f"{projects * rules:,} alerts fire", Result.FAILURE),
                        ("all fire on", None),
                        ("all end", Result.SUCCESS),
                        ("what was held back", None),
                    ]
                ):
                    daemon.now += timedelta(minutes=2)
                    if result is not None:
                        await daemon.record(number + 2, result)
                    await phase(what, daemon, receivers)


if __name__ == "__main__":
    asyncio.run(receive() if sys.argv[1:] == ["receive"] else main(*map(int, sys.argv[1:2])))
