"""A real history replayed: served by a stand-in, collected over HTTP into SQLite, measured, held against brute force.

Everything between the forge and the value is k2alert's own: configuration, collector, HTTP client, flows, store,
board and the cycle that judges rules. Only the clock is set, for these histories lie in the past.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

from aiohttp.test_utils import TestServer

from k2alert.app import system_time
from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.http import Time
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Scene, plan
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import Entry, EntryChange, Kind, Saved, Window
from k2alert.recall import export_selection, fill_board, make_board
from k2alert.record import Store, open_store
from k2alert.times import from_ms, parse_instant, to_ms
from k2alert.universe import make_universe
from tests.support.brute_force import DAY, WEEK, Ended, Expected, ended_of, expect, window_ends
from tests.support.history import History, make_app

__all__ = ["Comparison", "Replay", "compare", "compare_findings", "ended_runs", "replaying", "unfold"]

LENGTHS = (DAY, WEEK)
_NAMES = Expected._fields
_MARGIN = timedelta(days=10)  # a week before the first run, and room: so that the first windows can be judged too

_CONFIG = """
sources:
  - {{type: {forge}, name: forge, url: "{url}", {key}: [{projects}], backfill: {days}d}}
store: sqlite:///{folder}/k2alert.db
retention: {days}d
rule_files: [rules.yml]
"""
_RULE = '  - {{name: {name}_{days}d, condition: {name} < 0.5, period: {days}d, severity: info, message: "x"}}\n'


@dataclass
class Comparison:
    """How many values were compared over how many windows, and those that differ, one line each."""

    windows: int = 0
    values: int = 0
    differences: list[str] = field(default_factory=list)

    def take(self, what: str, found: Sequence[object], wanted: Sequence[object]) -> None:
        """One window's values."""
        self.windows += 1
        self.values += len(wanted)
        if tuple(found) != tuple(wanted):
            self.differences.append(f"{what}: {tuple(found)} instead of {tuple(wanted)}")

    def __iadd__(self, other: "Comparison") -> "Comparison":
        self.windows += other.windows
        self.values += other.values
        self.differences += other.differences
        return self


class Replay:
    """k2alert at work on a history. `board` is what is in memory, `changes` what has been recorded, in order."""

    def __init__(self, history: History, config: Config) -> None:
        self.history = history
        self.config = config
        self.now = history.ends
        self.changes: list[EntryChange] = []
        self.requests: Counter[str] = Counter()
        self.board: Board
        self.store: Store
        self.collector: Collector

    async def start(self) -> None:
        """Opens the store, and fills memory from it as the daemon does."""
        self.store = open_store(self.config.store)
        self.board = make_board(self.config, METRICS)
        await fill_board(self.board, self.store)
        machine = system_time()
        self.collector = Collector(
            self.config.sources,
            forges=SOURCES,
            store=self.store,
            time=Time(lambda: self.now, machine.monotonic, machine.sleep, random.random),
            depth=lambda: self.config.look_back,
            version="0",
            on_saved=self._take,
        )
        await self.collector.load()

    async def look(self, now: datetime) -> int:
        """Looks at every project at this time; how many rows that changed in the store."""
        self.now = now
        before = len(self.changes)
        for source in self.config.sources:
            for project in source.projects:
                look = await self.collector.look(source.name, str(project))
                if look.failure is not None:
                    raise RuntimeError(f"{project}: {look.failure}")
        return len(self.changes) - before

    async def stop(self) -> None:
        """Closes everything; only the file is left."""
        for (kind, _), number in self.collector.stats()["forge"].asked.requests.items():
            self.requests[kind] += number
        await self.collector.close()
        await self.store.close()

    async def entries(self, kind: Kind) -> list[Entry]:
        """Every recorded row of a kind."""
        return [entry async for batch in self.store.entries(kind) for entry in batch]

    def _take(self, saved: Saved) -> None:
        self.board.apply(saved)
        self.changes += saved.entries


@asynccontextmanager
async def replaying(history: History, folder: Path, *, graphql: bool = True) -> AsyncIterator[Replay]:
    """k2alert, started, with this history behind a stand-in forge on loopback and an empty store in `folder`."""
    replay: Replay
    async with TestServer(make_app(history, lambda: replay.now, graphql=graphql)) as server:
        replay = Replay(history, _configure(history, str(server.make_url("")), folder))
        await replay.start()
        try:
            yield replay
        finally:
            await replay.stop()


async def unfold(replay: Replay, looks: int, *, whole_seconds: bool = False) -> Comparison:
    """The history as it happened, seen in so many looks: after each, the windows that end now.

    A look sees the runs whose end their forge tells by then; a GitHub run is told to be completed some seconds after
    its last job.
    """
    done = Comparison()
    history, selection = replay.history, replay.config.rules[0].selection
    told = {path: _told(history, path, whole_seconds) for path in history.projects}
    for number in range(1, looks + 1):
        now = history.begins + (history.ends - history.begins) * number / looks
        await replay.look(now)
        at = to_ms(now)
        for project, length in product(history.projects, LENGTHS):
            wanted = expect([run for since, run in told[project] if since <= now], length, at)
            labels, window = Labels({"source": "forge", "project": project}), Window(timedelta(milliseconds=length))
            found = [replay.board.measure(selection, name, labels, window, at).value for name in _NAMES]
            done.take(f"{project}, {length // DAY} d to {now}, as seen then", found, wanted)
    return done


def _told(history: History, project: str, whole_seconds: bool) -> list[tuple[datetime, Ended]]:
    found = []
    for row in history.rows:
        run = ended_of(row, whole_seconds=whole_seconds) if row["project"] == project else None
        if run is not None:
            found.append((max(parse_instant(row["finished_at"]), parse_instant(row["updated_at"])), run))
    return found


def ended_runs(
    history: History, project: str, *, default_branch: bool = False, whole_seconds: bool = False
) -> list[Ended]:
    """The project's runs that ended, as brute force sees them; all, or those of its default branch."""
    rows = (row for row in history.rows if row["project"] == project)
    wanted = (row for row in rows if not default_branch or row["ref"] == history.default_branch)
    return [run for row in wanted if (run := ended_of(row, whole_seconds=whole_seconds)) is not None]


def compare(boards: Sequence[Board], replay: Replay, *, whole_seconds: bool = False, every: int = 1) -> Comparison:
    """Every window that ends where a value may change (or one in `every` of them), on each of these boards.

    For every project, over all its runs (as rules count them) and over those of its default branch (as gauges do).
    """
    done = Comparison()
    for project in replay.history.projects:
        for selection in (replay.config.rules[0].selection, export_selection(replay.config)):
            runs = ended_runs(
                replay.history, project, default_branch=bool(selection.match), whole_seconds=whole_seconds
            )
            labels = Labels({"source": "forge", "project": project})
            for length, at in product(LENGTHS, window_ends(runs, LENGTHS)[::every]):
                window, wanted = Window(timedelta(milliseconds=length)), expect(runs, length, at)
                for board in boards:
                    found = [board.measure(selection, name, labels, window, at).value for name in _NAMES]
                    done.take(f"{project}, {length // DAY} d to {from_ms(at)}", found, wanted)
    return done


async def compare_findings(replay: Replay, ats: Iterable[int], *, whole_seconds: bool = False) -> Comparison:
    """The values that rules find at these instants, in whole cycles (`cycle.plan`), as the daemon runs them."""
    done = Comparison()
    projects = await replay.store.projects()
    scene = Scene(
        config=replay.config,
        metrics=METRICS,
        measures=replay.board,
        universe=make_universe(replay.config, projects),
        projects=projects,
        alerts={},
        log=(),
        started_at=replay.now,
    )
    runs = {path: ended_runs(replay.history, path, whole_seconds=whole_seconds) for path in replay.history.projects}
    for at in ats:
        found = {
            (finding.identity.get("project"), finding.rule.name): finding.value
            for finding in plan(scene, now=from_ms(at)).findings
        }
        for project in replay.history.projects:
            for length in LENGTHS:
                values = [found[project, f"{name}_{length // DAY}d"] for name in _NAMES]
                done.take(f"rules on {project} at {from_ms(at)}", values, expect(runs[project], length, at))
    return done


def _configure(history: History, url: str, folder: Path) -> Config:
    days = (history.ends - history.begins + _MARGIN).days
    main = folder / "k2alert.yml"
    projects = ", ".join(history.projects)
    key = "repositories" if history.forge == "github" else "projects"
    main.write_text(_CONFIG.format(forge=history.forge, url=url, key=key, projects=projects, days=days, folder=folder))
    rules = [_RULE.format(name=name, days=length // DAY) for name in _NAMES for length in LENGTHS]
    (folder / "rules.yml").write_text("alert_rules:\n" + "".join(rules))
    loaded = load(main, environ={}, metrics=METRICS)
    if loaded.config is None:
        raise RuntimeError("\n".join(str(problem) for problem in loaded.problems))
    return loaded.config
