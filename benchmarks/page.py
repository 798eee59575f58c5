"""How long each page takes with 10,000 projects that all have an alert, how large it is, and how long the others wait.

The projects' history is put straight into the board; the daemon's own rounds judge it with five rules (50,000 label
sets), keep 10,000 alerts in SQLite and tell one webhook of them. Then every page is asked for over HTTP, five times,
with no round in between; the daemon's loop counts meanwhile how long it was held at once, which is how long any other
request would have waited. Run as `python benchmarks/page.py [10000]`.
"""

import asyncio
import http.client
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.collect.http import Time
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.explain.asking import Question, answer
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.server import make_app, start
from k2alert.expose.view import View
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import RESULTS, Entry, Kind, Project, Result, Stream
from k2alert.page import Answers
from k2alert.recall import make_board
from k2alert.record import Store, open_store
from k2alert.rounds import Rounds, Setting
from k2alert.times import to_ms
from tests.support.posts import taking_posts

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
RUNS, REDS, ASKED = 30, 3, 5
MAIN = """
sources: [{{type: gitlab, name: gitlab, url: "http://127.0.0.1", projects: []}}]
store: sqlite:///{folder}/k2alert.db
rule_files: [rules.yml]
receivers: [{{name: team, webhook: {{url: "{url}"}}}}]
route: {{receiver: team, group_wait: 0s}}
"""
RULES = """
alert_rules:
  - {name: main_is_red, condition: consecutive_failures >= 3, period: 24h, severity: critical, message: "is red"}
  - {name: pipeline_success_rate_low, condition: success_rate < 0.5, period: 7d, severity: warning, message: "m"}
  - {name: pipeline_duration_high, condition: avg_duration_minutes > 90, period: 24h, severity: warning, message: "m"}
  - {name: test_flakiness_high, condition: flaky_test_rate > 0.05, period: 7d, severity: critical, message: "m"}
  - {name: coverage_drop_significant, condition: coverage_drop > 2, period: 1h, severity: warning, message: "m"}
"""


def make_projects(number: int) -> list[Project]:
    seen = NOW - timedelta(days=9)
    return [
        Project(
            source="gitlab",
            key=str(place),
            path=f"k2/group-{place % 100}/project-{place}",
            first_seen_at=seen,
            covered_since=seen,
            complete_at=NOW,
            success_at=NOW,
        )
        for place in range(number)
    ]


def fill(board: Board, projects: list[Project]) -> None:
    """A week of runs for each, of which the last three failed."""
    chance = random.Random(1)
    labels = {"source": "gitlab", "ref_type": "default", "branch": "main", "event": "push"}
    board.add_streams(
        Stream(place, Kind.RUN, Labels({**labels, "project": project.path})) for place, project in enumerate(projects)
    )
    rows = []
    for place in range(len(projects)):
        for run in range(RUNS):
            created = to_ms(NOW) - (RUNS - run) * 5 * 3_600_000 + chance.randrange(3_600_000)
            lasted = int(chance.lognormvariate(6.5, 0.6) * 1000)
            result = RESULTS.index(Result.FAILURE if run >= RUNS - REDS else Result.SUCCESS)
            rows.append((place, 0, created, created + lasted, None, result, lasted, 5000, False, False))
    rows.sort(key=lambda row: row[3])
    board.load(Kind.RUN, [Entry(*row)._replace(ref=ref) for ref, row in enumerate(rows)])
    board.load(Kind.JOB, ())
    for kind in Kind:
        if not kind.of_runs:
            board.load_facts(kind, ())


def make_rounds(
    config: Config, board: Board, store: Store, projects: list[Project], session: aiohttp.ClientSession
) -> Rounds:
    own = SelfMetrics("benchmark")
    own.declare(rules=[rule.name for rule in config.rules], receivers=[("team", "webhook")], sources=["gitlab"])
    clock = Time(now=lambda: NOW, monotonic=time.monotonic, sleep=asyncio.sleep, random=lambda: 0.5)
    return Rounds(
        Setting(config=config, board=board),
        metrics=METRICS,
        store=store,
        projects=lambda: projects,
        session=session,
        self_metrics=own,
        time=clock,
        started_at=NOW,
        new_id=lambda: "1",
    )


def make_view(rounds: Rounds, store: Store) -> View:
    """As the daemon makes it, without tokens."""

    async def nothing(*_: object) -> None:
        return None

    answers = Answers(scene=rounds.scene, judged_at=lambda: NOW, store=store, stats=dict, now=lambda: NOW)
    return View(
        snapshot=lambda: rounds.snapshot,
        self_metrics=lambda _: (b"", "text/plain"),
        ready=nothing,
        reload=nothing,  # type: ignore[arg-type]
        history=nothing,  # type: ignore[arg-type]
        webhook=nothing,  # type: ignore[arg-type]
        explain=lambda rule, labels, at: answer(rounds.scene(), store, Question(rule, tuple(labels), at), now=NOW),
        quiet=rounds.silences.quiet(),
        notifications=store.tellings,
        flaky=nothing,  # type: ignore[arg-type]
        admin_token=lambda: None,
        read_token=lambda: None,
        page=answers.view(),
    )


class Holds:
    """How long the loop went on with one thing at most."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def count(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - before - 0.001)


@contextmanager
def holds() -> Iterator[Holds]:
    counted = Holds()
    task = asyncio.create_task(counted.count())
    try:
        yield counted
    finally:
        task.cancel()


def ask(port: int, path: str) -> tuple[float, float, int]:
    """How long the answer took, in seconds of the wall and of the CPU, and its length in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    before, busy = time.perf_counter(), time.process_time()
    connection.request("GET", path, headers={"Accept": "text/html"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (path, answer.status, body[:200])
    return time.perf_counter() - before, time.process_time() - busy, len(body)


def pages(rounds: Rounds) -> Mapping[str, str]:
    snapshot = rounds.snapshot
    assert snapshot is not None
    key = next(alert.key for alert in snapshot.alerts if alert.rule == "main_is_red")
    return {
        "alerts": "/",
        "alerts, the last page": "/?page=9999",
        "alerts, filtered": "/?filter=project%3D~%22.*group-7%2F.*%22",
        "an alert": f"/alerts/{key}",
        "rules": "/rules",
        "a rule": "/rules/main_is_red",
        "sources": "/sources",
        "silences": "/silences",
        "a new silence": f"/silences/new?alert={key}",
        "sent": "/notifications",
        "`/api/v1/alerts`": "/api/v1/alerts",
        "`/api/v1/rules`": "/api/v1/rules",
        "`/api/v2/alerts`": "/api/v2/alerts",
        "`/api/v2/alerts/groups`": "/api/v2/alerts/groups",
    }


async def until(happened: Callable[[], object]) -> None:
    while not happened():
        await asyncio.sleep(0.1)


async def measure(number: int, folder: Path) -> None:
    """Prints a line for each page."""
    async with taking_posts() as posts, aiohttp.ClientSession() as session:
        (folder / "k2alert.yml").write_text(MAIN.format(folder=folder, url=posts.url))
        (folder / "rules.yml").write_text(RULES)
        config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
        assert config is not None
        board, projects, store = make_board(config, METRICS), make_projects(number), open_store(config.store)
        fill(board, projects)
        rounds = make_rounds(config, board, store, projects, session)
        await rounds.load()
        await rounds.round()
        await until(lambda: posts.taken)
        await rounds.round()
        await rounds.draw()
        runner, port = await start(make_app(make_view(rounds, store), loopback=True), "127.0.0.1:0")
        print(
            "| page | the first time, CPU (wall) | then, CPU (wall) | size | loop held at most |\n|---|---|---|---|---|"
        )
        for name, path in pages(rounds).items():
            with holds() as held:
                first, *later = [await asyncio.to_thread(ask, port, path) for _ in range(ASKED)]
            cpu, wall = (median(row[place] for row in later) * 1000 for place in (1, 0))
            print(
                f"| {name} | {first[1] * 1000:.0f} ms ({first[0] * 1000:.0f}) | {cpu:.0f} ms ({wall:.0f}) "
                f"| {first[2] / 1000:,.0f} kB | {held.longest * 1000:.0f} ms |"
            )
        await runner.cleanup()
        await rounds.close()
        await store.close()


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as inside:
        asyncio.run(measure(wanted, Path(inside)))
