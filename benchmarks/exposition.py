"""What a scrape of /metrics costs the daemon, and how long rendering the series holds its loop.

First 10,000 series: they are scraped over loopback by another process, in both formats, plain and packed; CPU is that
of the server alone, wall is what the scraper waits. Then 10,000 projects (`benchmarks/page.py` makes them) with two
totals each: rounds of the daemon, of which the part that draws the picture for HTTP is looked at by itself; "held" is
how long the loop went on with one thing at most, in CPU time of its thread. Run as
`python benchmarks/exposition.py [10000 series] [10000 projects]`.
"""

import asyncio
import http.client
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from page import MAIN, NOW, RULES, fill, make_projects, make_rounds, make_view, until

from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.expose.exposition import Family, Sample, Sheet
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.server import make_app, start
from k2alert.expose.view import Snapshot
from k2alert.garbage import give_back, leave_out
from k2alert.measure.catalogue import METRICS
from k2alert.model import Event, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.recall import make_board
from k2alert.record import Store, open_store
from k2alert.rounds import Rounds
from tests.support.posts import taking_posts

SCRAPES, WARM = 100, 10
RESULTS = (Result.SUCCESS, Result.FAILURE)
FORMATS = {"text": "text/plain;version=0.0.4", "OpenMetrics": "application/openmetrics-text;version=1.0.0"}


def scrape(port: int, accept: str, encoding: str) -> None:
    """In a process of its own: prints the median time of a scrape in milliseconds, and the length of its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    walls, size = [], 0
    for _ in range(SCRAPES + WARM):
        before = time.perf_counter()
        connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": encoding})
        size = len(connection.getresponse().read())
        walls.append((time.perf_counter() - before) * 1000)
    print(median(walls[WARM:]), size)


async def ask(port: int, accept: str, encoding: str) -> tuple[float, float, int]:
    """CPU of this process and wall of the other for one scrape, in milliseconds, and the bytes sent."""
    busy = time.process_time()
    client = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--scrape", str(port), accept, encoding, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await client.communicate()
    wall, size = out.split()
    return (time.process_time() - busy) * 1000 / (SCRAPES + WARM), float(wall), int(size)


def snapshot_of(number: int) -> Snapshot:
    """So many series, with the names and labels of real ones."""
    gauges = [metric for metric in METRICS.values() if metric.collected]
    sheet = Sheet(number)
    for place in range(number):
        metric = gauges[place % len(gauges)]
        project = place // len(gauges)
        labels = f'{{source="gitlab",project="k2/group-{project % 100}/project-{project}",window="24h"}}'
        sheet.add(Family(metric.gauge, metric.help, "gauge", [Sample("", labels, place / 7)]))
    rendered = sheet.render()
    interval = timedelta(seconds=30)
    return Snapshot(
        now=NOW, interval=interval, took=interval, series=rendered.text, series_openmetrics=rendered.openmetrics
    )


async def measure_scrapes(number: int, config: Config, rounds: Rounds, store: Store) -> None:
    """Prints a line for each format, plain and packed."""
    own = SelfMetrics("benchmark")
    rules = [f"rule_{place}" for place in range(20)]
    own.declare(rules=rules, receivers=[("team", "webhook")], sources=["gitlab"])
    rounds.pictures.snapshot = snapshot_of(number)
    view = make_view(rounds, store)
    object.__setattr__(view, "self_metrics", own.render)
    runner, port = await start(make_app(view, loopback=True), "127.0.0.1:0")
    print(f"| {number:,} series | CPU of a scrape | wall | bytes sent |\n|---|---|---|---|")
    for name, accept in FORMATS.items():
        for encoding in ("identity", "gzip"):
            cpu, wall, size = await ask(port, accept, encoding)
            print(f"| {name}, {encoding} | {cpu:.1f} ms | {wall:.1f} ms | {size / 1000:,.0f} kB |")
    await runner.cleanup()


class Holds:
    """How long the loop's thread worked at most before others had their turn: CPU seconds between two turns."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def count(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - before)


@contextmanager
def holds() -> Iterator[Holds]:
    counted = Holds()
    task = asyncio.create_task(counted.count())
    try:
        yield counted
    finally:
        task.cancel()


async def record_totals(store: Store, projects: list[Project]) -> None:
    """A success and a failure of each project, so that there are totals to show."""
    for first in range(0, len(projects), 1000):
        await store.save([run_of(project, result) for project in projects[first : first + 1000] for result in RESULTS])


def run_of(project: Project, result: Result) -> PipelineRun:
    created, finished = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    outcome = Outcome(
        attempt=1, result=result, finished_at=finished, started_at=created, duration=timedelta(minutes=9), queued=None
    )
    return PipelineRun(
        source="gitlab",
        project=project.path,
        id=f"{project.key}{RESULTS.index(result)}",
        number="1",
        workflow="",
        event=Event.PUSH,
        ref_type=RefType.DEFAULT,
        branch="main",
        sha="",
        title="",
        web_url="",
        state=RunState.FINISHED,
        created_at=created,
        started_at=created,
        seen=finished,
        outcomes=(outcome,),
    )


async def measure_rounds(projects: list[Project], rounds: Rounds, told: Callable[[], object]) -> None:
    """Prints a line for each of three rounds."""
    draw = rounds._show_gauges
    seen: list[tuple[float, float]] = []

    async def watched() -> None:
        await asyncio.sleep(0)  # what was done until now is another's
        busy = time.process_time()
        with holds() as held:
            await asyncio.sleep(0)
            await draw()
        seen.append((time.process_time() - busy, held.longest))

    rounds._show_gauges = watched  # type: ignore[method-assign]
    print(f"| {len(projects):,} projects | CPU of the gauges | loop held at most, CPU |\n|---|---|---|")
    for name in ("first round", "second", "third"):
        await rounds.round()
        rounds.pictures._draw_from = 0.0  # now, and not after a rest
        await rounds.draw()
        leave_out()
        give_back()
        await until(told)  # the message of ten thousand alerts is another matter
        print(f"| {name} | {seen[-1][0]:.2f} s | {seen[-1][1] * 1000:.0f} ms |", flush=True)
    assert rounds.snapshot is not None
    print(f"{rounds.snapshot.series.plain.count(b'{'):,} series, {len(rounds.snapshot.series.plain) / 1e6:.0f} MB")


async def measure(series: int, number: int, folder: Path) -> None:
    async with taking_posts() as posts, aiohttp.ClientSession() as session:
        (folder / "k2alert.yml").write_text(MAIN.format(folder=folder, url=posts.url))
        (folder / "rules.yml").write_text(RULES)
        config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
        assert config is not None
        board, projects, store = make_board(config, METRICS), make_projects(number), open_store(config.store)
        fill(board, projects)
        rounds = make_rounds(config, board, store, projects, session)
        await record_totals(store, projects)
        await rounds.load()
        leave_out()  # as the daemon does once it has read its history
        give_back()
        await measure_scrapes(series, config, rounds, store)
        await measure_rounds(projects, rounds, lambda: posts.taken)
        await rounds.close()
        await store.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--scrape"]:
        scrape(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        wanted = [int(number) for number in sys.argv[1:]]
        with tempfile.TemporaryDirectory() as inside:
            asyncio.run(measure(*(wanted + [10_000, 10_000][len(wanted) :]), Path(inside)))
