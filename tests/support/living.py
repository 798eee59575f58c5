"""A life beside its rehearsal: the daemon's own rounds with a clock that is set, and what was said and stored.

Runs, reports and the like are recorded when they were seen, in a real store; each instant is one round, whose messages
are posted to a real server on loopback before the next begins.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

import aiohttp

from k2alert.collect.http import Time
from k2alert.config.model import Config
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.measure.catalogue import METRICS
from k2alert.model import AlertState, PipelineRun, Project, Transition
from k2alert.notify.message import compose
from k2alert.recall import fill_board, make_board
from k2alert.record import Store, open_store
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest import Rehearsed
from k2alert.rehearse.backtest_source import rehearse
from k2alert.rehearse.made_facts import Look
from k2alert.rehearse.world import Told
from k2alert.rounds import Rounds, Setting
from tests.support.loading import load_text
from tests.support.posts import Posts, taking_posts

__all__ = ["ROUTE", "Ended", "Heard", "Outcome", "delivered", "live", "play", "rehearsed", "seen"]

_MAIN = """
sources:
  - {{type: {forge}, name: {forge}, url: "http://127.0.0.1", token: abcdefgh, {key}: [{projects}], backfill: 60d}}
store: sqlite:///{folder}/k2alert.db
retention: 90d
receivers:
  - {{name: team, webhook: {{url: "{url}/team"}}}}
  - {{name: chat, webhook: {{url: "{url}/chat"}}}}
rule_files: [{rules}]
"""
ROUTE = """
route:
  receiver: team
  repeat_interval: 12h
  routes:
    - {matchers: ['severity="critical"'], receiver: chat, group_wait: 0s, repeat_interval: 4h, continue: true}
"""


class Ended(NamedTuple):
    """An incident: the rule, the label set, from when, until when and why it ended."""

    rule: str
    labels: str
    fired_at: datetime
    ended_at: datetime | None
    reason: str


class Heard(NamedTuple):
    """A message: when, who, why, and the alerts it was about with how each was shown."""

    at: datetime
    receiver: str
    kind: str
    alerts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a history."""

    incidents: list[Ended]
    messages: list[Heard]


class _Kinds(logging.Handler):
    """The kinds of messages as the desks log them, for each receiver in order."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "told of %d alerts":
            fields = vars(record)
            self.kinds.setdefault(fields["receiver"], []).append(fields["kind"])

    def __enter__(self) -> "_Kinds":
        self._logger = logging.getLogger("k2alert.desks")
        self._level = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


@dataclass
class _Life:
    """A daemon without loops: `rounds` and what they look at."""

    config: Config
    store: Store
    posts: Posts
    projects: Sequence[Project]
    now: datetime

    async def live(self, looks: Iterable[Look], grid: Grid) -> list[Heard]:
        """Every round of the grid; each look is recorded at its time, those of before the first come first."""
        coming = sorted(looks, key=lambda look: look.at)
        board = make_board(self.config, METRICS)
        await fill_board(board, self.store)
        heard: list[Heard] = []
        async with aiohttp.ClientSession() as session:
            rounds = self._rounds(Setting(config=self.config, board=board), session)
            await rounds.load()
            with _Kinds() as kinds:
                for number in range(grid.count):
                    self.now = grid.at(number)
                    seen = [look for look in coming if look.at <= self.now]
                    del coming[: len(seen)]
                    for look in seen:
                        board.apply(await self.store.save([] if look.run is None else [look.run]))
                        board.apply(await self.store.save_facts(look.facts))
                    await rounds.round()
                    await delivered()
                    heard += self._heard(kinds.kinds)
            await rounds.close()
        return heard

    def _rounds(self, setting: Setting, session: aiohttp.ClientSession) -> Rounds:
        metrics = SelfMetrics("test")
        metrics.declare(
            rules=[rule.name for rule in self.config.rules],
            sources=[source.name for source in self.config.sources],
            receivers=[("team", "webhook"), ("chat", "webhook")],
        )
        numbers = count(1)
        return Rounds(
            setting,
            metrics=METRICS,
            store=self.store,
            projects=lambda: [replace(one, complete_at=self.now, success_at=self.now) for one in self.projects],
            session=session,
            self_metrics=metrics,
            time=Time(
                now=lambda: self.now,
                monotonic=lambda: self.now.timestamp(),
                sleep=asyncio.sleep,
                random=lambda: 0.5,
            ),
            started_at=self.now,
            new_id=lambda: str(next(numbers)),
        )

    def _heard(self, kinds: dict[str, list[str]]) -> list[Heard]:
        """What was posted since the last round."""
        heard = []
        for taken in self.posts.taken:
            receiver = taken.path.strip("/")
            alerts = sorted((alert["fingerprint"], alert["status"]) for alert in taken.body["alerts"])
            heard.append(Heard(self.now, receiver, kinds[receiver].pop(0), tuple(alerts)))
        self.posts.taken.clear()
        assert not any(kinds.values())
        return heard


async def delivered() -> None:
    """Everything that the desks have in hand is with its receiver."""
    while tasks := [task for task in asyncio.all_tasks() if task.get_name().startswith("tell ")]:
        await asyncio.wait(tasks)


async def live(
    folder: Path,
    looks: Sequence[Look],
    grid: Grid,
    rules: Mapping[str, str],
    *,
    forge: str,
    covered: timedelta,
    route: str = ROUTE,
) -> tuple[Outcome, Outcome]:
    """What a daemon did that lived through this history, and what its rehearsal over the same store says."""
    paths = sorted({look.run.project for look in looks if look.run is not None})
    async with taking_posts() as posts:
        config = _configure(folder, posts.url, rules, forge, paths, route)
        first = grid.start - covered
        projects = [
            Project(source=forge, key=path, path=path, first_seen_at=first, covered_since=first) for path in paths
        ]
        store = open_store(config.store)
        try:
            for project in projects:
                await store.save_project(replace(project, complete_at=grid.end))
            messages = await _Life(config, store, posts, projects, grid.start).live(looks, grid)
            edges = [edge for rule in config.rules for edge in await store.transitions(rule.name, 1_000_000)]
            found = (await rehearse(config, config.rules, store, grid)).rehearsed
        finally:
            await store.close()
    return Outcome(play(edges), sorted(messages)), rehearsed(found)


def seen(runs: Iterable[PipelineRun]) -> list[Look]:
    """The looks at runs alone."""
    return [Look(run.seen, run) for run in runs]


def _configure(
    folder: Path, url: str, rules: Mapping[str, str], forge: str, paths: Sequence[str], route: str
) -> Config:
    key = "repositories" if forge == "github" else "projects"
    main = _MAIN.format(
        forge=forge,
        key=key,
        projects=", ".join(paths),
        folder=folder,
        url=url,
        rules=", ".join(f"{name}.yml" for name in rules),
    )
    loaded = load_text(folder, main + route, **rules)
    assert loaded.config is not None, loaded.problems
    return loaded.config


def play(edges: Iterable[Transition]) -> list[Ended]:
    """The incidents that these edges, in any order, begin and end."""
    found: list[Ended] = []
    fires: dict[tuple[str, str], datetime] = {}
    for edge in sorted(edges, key=lambda edge: (edge.at, edge.before is AlertState.FIRING)):
        who = (edge.rule, str(edge.identity))
        if edge.before is AlertState.FIRING:
            found.append(Ended(*who, fires.pop(who), edge.at, edge.reason.value if edge.reason else ""))
        if edge.after is AlertState.FIRING:
            fires[who] = edge.at
    found += (Ended(*who, at, None, "") for who, at in fires.items())
    return sorted(found, key=str)


def rehearsed(found: Rehearsed) -> Outcome:
    """The same of a rehearsal."""
    incidents = [
        Ended(
            one.rule.name,
            str(one.alert.identity),
            one.fired_at,
            one.ended_at,
            one.reason.value if one.reason else "",
        )
        for one in found.incidents
    ]
    return Outcome(sorted(incidents, key=str), sorted(map(_as_posted, found.messages)))


def _as_posted(told: Told) -> Heard:
    states = compose(told.due, (), now=told.at).states
    alerts = sorted((key, "firing" if state == "firing" else "resolved") for key, state in states.items())
    return Heard(told.at, told.due.receiver, told.due.kind.value, tuple(alerts))
