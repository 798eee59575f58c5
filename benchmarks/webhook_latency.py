"""From a webhook's facts saved to the message about them, at 1,000 projects: each part of a daemon's round.

    .venv/bin/python benchmarks/webhook_latency.py [PROJECTS]     # some 2 minutes

The daemon's own rounds with the seed's four rules and a receiver of webhooks on loopback, over SQLite on disk. Each
project has five runs; then, one project after the other, a red run is saved and a round follows, as it does in the
daemon when facts came. Printed are medians, CPU time (and wall), from the moment at which the board has the facts:
until the alerts are decided and handed to the store, until a message is composed (which is after the picture for HTTP
was drawn), until the receiver has it.
"""

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from aiohttp import web
from aiohttp.test_utils import TestServer
from evaluate import RULES
from storm import Daemon, a_daemon, make_run

from k2alert.config.load import load
from k2alert.garbage import leave_out
from k2alert.measure.catalogue import METRICS
from k2alert.model import Result
from k2alert.record import Store

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


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
