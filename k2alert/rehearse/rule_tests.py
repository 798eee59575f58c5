"""Runs rule tests: a test and its configuration come in, what was expected and what came instead goes out.

What ran is recorded in a store of its own, measured on the daemon's board, and judged by the daemon's cycle at each
instant of the evaluation interval. A minute costs a round, not a minute.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from k2alert.alert.lifecycle import AlertId
from k2alert.collect.settings import SourceSettings
from k2alert.config.model import Config
from k2alert.cycle import Plan, Scene
from k2alert.grounds import grounds_of
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import Alert, AlertState, Evidence, Finding, Project, Rule, Truth
from k2alert.notify import INTEGRATIONS
from k2alert.notify.message import Message, headline, shown
from k2alert.notify.text import clean
from k2alert.recall import fill_board, make_board
from k2alert.record import Store, open_store
from k2alert.rehearse.made_facts import Look, looks_of
from k2alert.rehearse.rule_test_file import ExpectedAlert, ExpectedMessage, RuleTest
from k2alert.rehearse.world import Told, World
from k2alert.telling import message_of, value_text, words_of
from k2alert.times import format_duration
from k2alert.universe import Universe, make_universe

__all__ = ["Difference", "Outcome", "run_test"]

_EVER = timedelta(days=3650)
_MINUTE = timedelta(minutes=1)
_MOST_SHOWN = 5


class Difference(NamedTuple):
    """One expectation that did not come true: what it was, and what came instead, a line for each."""

    expected: ExpectedAlert | ExpectedMessage
    wanted: str
    got: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test came to."""

    test: RuleTest
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether everything came true."""
        return not self.differences


class _Heard(NamedTuple):
    """A message as its receiver read it."""

    at: datetime
    receiver: str
    kind: str
    text: str
    labels: tuple[Mapping[str, str], ...]


class _Line(NamedTuple):
    """One alert of one rule at one time, as a difference shows it."""

    alert: Alert | None
    finding: Finding | None
    states: frozenset[str]
    text: str


async def run_test(test: RuleTest, config: Config) -> Outcome:
    """Runs one test from its beginning to its last expectation."""
    with TemporaryDirectory(prefix="k2alert-test-") as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'test.db'}")
        try:
            stage = await _Stage.open(test, config, store)
            return Outcome(test, tuple(await stage.play()))
        finally:
            await store.close()


@dataclass(slots=True)
class _Stage:
    """A test while it runs."""

    test: RuleTest
    config: Config
    store: Store
    board: Board
    looks: list[Look]
    projects: tuple[Project, ...]
    universe: Universe
    world: World = field(default_factory=World)
    heard: list[_Heard] = field(default_factory=list)
    ended: set[AlertId] = field(default_factory=set)  # those whose last life is over

    @classmethod
    async def open(cls, test: RuleTest, config: Config, store: Store) -> "_Stage":
        """Everything in its place, at the beginning."""
        looks = looks_of(test.spec)
        given = (*test.spec.runs, *test.spec.deployments, *test.spec.schedules)
        paths = dict.fromkeys((one.source, one.project) for one in given)
        projects = tuple(_project(source, path, test.spec.start) for source, path in paths)
        config = replace(config, sources=_sources(config, {source for source, _ in paths}))
        board = make_board(config, METRICS)
        await fill_board(board, store)
        return cls(test, config, store, board, looks, projects, make_universe(config, projects))

    async def play(self) -> list[Difference]:
        """Round after round to the last expectation."""
        start, step = self.test.spec.start, self.config.evaluation_interval
        alerts = [one for one in self.test.expected if isinstance(one, ExpectedAlert)]
        messages = [one for one in self.test.expected if isinstance(one, ExpectedMessage)]
        ends = max([one.at for one in alerts] + [_minute(one.at) + _MINUTE - step for one in messages])
        found: list[Difference] = []
        rounds = max(0, ends // step)
        for number in range(rounds + 1):
            now = start + number * step
            scene, made = await self._round(now)
            until = now + step
            for one in alerts:
                if now <= start + one.at < until:
                    found += await self._compare(one, scene, made, now)
        found += [difference for one in messages if (difference := self._compare_message(one)) is not None]
        return sorted(found, key=lambda difference: (difference.expected.at, difference.expected.place))

    async def _round(self, now: datetime) -> tuple[Scene, Plan]:
        await self._record(now)
        scene = self._scene(now)
        made, told = self.world.round(scene, now=now)
        for edge in made.step.transitions:
            (self.ended.add if edge.after is AlertState.ENDED else self.ended.discard)((edge.rule, edge.identity))
        spoken = replace(scene, alerts=made.step.alerts)
        self.heard += [await self._hear(spoken, one) for one in told]
        return spoken, made

    async def _record(self, now: datetime) -> None:
        """What the forge has said by now."""
        seen = [look for look in self.looks if look.at <= now]
        del self.looks[: len(seen)]
        if seen:
            self.board.apply(await self.store.save([look.run for look in seen if look.run is not None]))
            self.board.apply(await self.store.save_facts([fact for look in seen for fact in look.facts]))

    def _scene(self, now: datetime) -> Scene:
        start = self.test.spec.start
        since = [start + one.from_ for one in self.test.spec.unread if start + one.from_ <= now < start + one.to]
        projects = [replace(project, complete_at=min([now, *since]), success_at=now) for project in self.projects]
        return Scene(
            config=self.config,
            metrics=METRICS,
            measures=self.board,
            universe=self.universe,
            projects=projects,
            alerts=self.world.alerts,
            log=(),
            started_at=start,
        )

    async def _hear(self, scene: Scene, told: Told) -> _Heard:
        due = told.due
        alerts = shown(due, INTEGRATIONS[due.integration.kind].shows)
        rules = {rule.name: rule for rule in self.config.rules}
        evidence = await grounds_of(scene, self.store, alerts, rules, now=told.at)
        message = message_of(scene, due, alerts, rules, evidence, now=told.at)
        labels = tuple(alert.labels for part in due.parts for alert in part.alerts)
        return _Heard(told.at, due.receiver, due.kind.value, _text(message), labels)

    # ------------------------------------------------------------------------------------- comparing

    async def _compare(self, one: ExpectedAlert, scene: Scene, made: Plan, now: datetime) -> list[Difference]:
        rule = next(rule for rule in self.config.rules if rule.name == one.rule)
        lines = [await self._line(scene, rule, identity, made, now) for identity in _identities(one.rule, made)]
        chosen = [line for line in lines if _has(_labels(line), one.labels)]
        wrong = [line for line in chosen if not _fits(one, line)]
        if chosen and not wrong:
            return []
        if not chosen and one.state == "inactive":
            return []
        return [Difference(one, _wanted(one), tuple(_shown(line, one) for line in (wrong or lines)[:_MOST_SHOWN]))]

    async def _line(self, scene: Scene, rule: Rule, identity: AlertId, made: Plan, now: datetime) -> _Line:
        alert = made.step.alerts.get(identity)
        finding = next((one for one in made.findings if (one.rule.name, one.identity) == identity), None)
        states = _states(alert, finding, over=identity in self.ended)
        if alert is None or alert.state not in (AlertState.PENDING, AlertState.FIRING):
            return _Line(alert, finding, states, "")
        evidence = await grounds_of(scene, self.store, [alert], {rule.name: rule}, now=now)
        words = words_of(scene, alert, rule, evidence.get(alert.key, Evidence()), clean, now=now)
        return _Line(alert, finding, states, words.text)

    def _compare_message(self, one: ExpectedMessage) -> Difference | None:
        minute = self.test.spec.start + _minute(one.at)
        near = [heard for heard in self.heard if minute <= heard.at < minute + _MINUTE]
        found = [heard for heard in near if _is_told(one, heard)]
        if len(found) == one.count or (one.count is None and found):
            return None
        others = sorted(self.heard, key=lambda heard: abs(heard.at - minute))[:_MOST_SHOWN]
        told = [self._told(heard) for heard in sorted(others, key=lambda heard: heard.at)]
        return Difference(one, _wanted_message(one), tuple(told) or ("nobody was told anything",))

    def _told(self, heard: _Heard) -> str:
        at = format_duration(heard.at - self.test.spec.start)
        return f"{at}: {heard.receiver} was told ({heard.kind}): {clean(heard.text, 200)}"


def _project(source: str, path: str, start: datetime) -> Project:
    return Project(
        source=source,
        key=path,
        path=path,
        default_branch="main",
        web_url=f"https://forge.example/{path}",
        first_seen_at=start - _EVER,
        covered_since=start - _EVER,
        complete_at=start,
        success_at=start,
    )


def _sources(config: Config, names: Iterable[str]) -> tuple[SourceSettings, ...]:
    """The sources that the test names; those that the main file has keep what it says of them."""
    known = {source.name: source for source in config.sources}
    return tuple(known.get(name) or SourceSettings(type="gitlab", name=name) for name in sorted(names))


def _minute(at: timedelta) -> timedelta:
    return at // _MINUTE * _MINUTE


def _text(message: Message) -> str:
    """All that a message says of its alerts, in one line."""
    lines = ("".join(span.text for span in headline(item, message)) + ": " + item.text for item in message.items)
    return " · ".join(lines)


def _identities(rule: str, made: Plan) -> Sequence[AlertId]:
    found = {(one.rule.name, one.identity): None for one in made.findings if one.rule.name == rule}
    found.update({identity: None for identity in made.step.alerts if identity[0] == rule})
    return tuple(found)


def _states(alert: Alert | None, finding: Finding | None, *, over: bool) -> frozenset[str]:
    """All the states that a test may call it by: one whose last life is over is inactive, and has ended."""
    state = AlertState.INACTIVE if alert is None or alert.state is AlertState.ENDED else alert.state
    found = {state.value}
    if over and state is AlertState.INACTIVE:
        found.add(AlertState.ENDED.value)
    if finding is not None and finding.truth is Truth.NO_DATA:
        found.add("no_data")
    if finding is not None and finding.truth is Truth.UNKNOWN:
        found.add("unknown")
    return frozenset(found)


def _labels(line: _Line) -> Mapping[str, str]:
    known = line.alert or line.finding
    return known.labels if known is not None else {}


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name, "") == value for name, value in wanted.items())


def _fits(one: ExpectedAlert, line: _Line) -> bool:
    if one.state not in line.states:
        return False
    if one.message is not None and one.message not in line.text:
        return False
    if one.value is None:
        return True
    value = line.finding.value if line.finding is not None else None
    return isinstance(value, int | float) and isclose(value, one.value, rel_tol=1e-6, abs_tol=1e-9)


def _is_told(one: ExpectedMessage, heard: _Heard) -> bool:
    return (
        heard.receiver == one.receiver
        and one.kind in (None, heard.kind)
        and (one.contains is None or one.contains in heard.text)
        and (not one.labels or any(_has(labels, one.labels) for labels in heard.labels))
    )


# --------------------------------------------------------------------------------------------- in words


def _wanted(one: ExpectedAlert) -> str:
    of = "".join(f" {name}={value}" for name, value in one.labels.items())
    more = f", with {one.message!r} in its message" if one.message is not None else ""
    more += f", with the value {one.value:g}" if one.value is not None else ""
    return f"at {format_duration(one.at)}: {one.rule}{of} is {one.state}{more}"


def _wanted_message(one: ExpectedMessage) -> str:
    number = "something" if one.count is None else "nothing" if not one.count else f"{one.count} messages"
    more = f" ({one.kind.value})" if one.kind is not None else ""
    more += f" that contains {one.contains!r}" if one.contains is not None else ""
    more += "".join(f" {name}={value}" for name, value in one.labels.items())
    return f"at {format_duration(one.at)}: {one.receiver} is told {number}{more}"


def _shown(line: _Line, one: ExpectedAlert) -> str:
    """An alert that is not as expected, or one of those that were there instead."""
    labels = _labels(line)
    by = line.finding.rule.selection.by if line.finding is not None else ("source", "project")
    of = " ".join(f"{name}={labels.get(name, '')}" for name in dict.fromkeys((*by, *one.labels)))
    text = f": {clean(line.text, 200)!r}" if line.text else ""
    return f"{of} is {'/'.join(sorted(line.states))}{_value(line.finding)}{text}"


def _value(finding: Finding | None) -> str:
    if finding is None or finding.rule.condition is None or finding.rule.condition.first is None:
        return ""
    metric = finding.rule.condition.first.metric
    known = value_text(finding.value, METRICS[metric]) or "no data"
    samples = "" if finding.samples is None else f" of {finding.samples} samples"
    return f" ({metric} {known}{samples})"
