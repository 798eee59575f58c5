"""Histories and scenes for rehearsals: a board with made-up rows, and the same history gone through round by round."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from k2alert.cycle import Scene
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    RESULTS,
    CoverageEntry,
    DeploymentEntry,
    Entry,
    Event,
    FactEntry,
    Kind,
    Project,
    ReportEntry,
    Result,
    ScheduleEntry,
    Stream,
    Transition,
)
from k2alert.recall import make_board
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest import in_history
from k2alert.rehearse.world import Told, World
from k2alert.times import to_ms
from k2alert.universe import make_universe
from tests.support.loading import load_text
from tests.support.looks import T0

MAIN = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app, k2/lib]}]
receivers:
  - {name: team, webhook: {url: http://hooks.example.com}}
  - {name: chat, slack: {bot_token: abcdefgh, channel: "#a"}}
route:
  receiver: team
  group_by: [alertname]
  repeat_interval: 1h
  routes: [{matchers: ['severity="critical"'], receiver: chat, group_wait: 6m, repeat_interval: 3h, continue: true}]
rule_files: ["*rules.yml"]
"""


PROJECTS = ("k2/app", "k2/lib")


class Ran(NamedTuple):
    """A run of a project's branch: its attempts as minutes of their ends and results, in order."""

    project: str
    branch: str
    attempts: tuple[tuple[int, Result], ...]
    minutes: int = 5
    event: Event = Event.PUSH


class Reported(NamedTuple):
    """A report, deployment or schedule: what a stream of these labels has at this minute, ready but for its number."""

    labels: tuple[tuple[str, str], ...]
    minute: int
    kind: Kind
    make: Callable[[int, int, int], FactEntry]


def a_report(project: str, branch: str, minute: int, failing: int, mixed: int, sha: int) -> Reported:
    """A report of eight tests, of which the bits `failing` failed, those of `mixed` also passed."""
    failing |= mixed
    failed = failing.bit_count()

    def make(stream: int, ref: int, finished: int) -> ReportEntry:
        executed = 8 + mixed.bit_count()
        return ReportEntry(stream, ref, finished, executed, failed, bytes([sha] * 20), True, 255, failing, mixed, ())

    labels = {"project": project, "branch": branch, "job": "test", "stage": "check"}
    return Reported(tuple(labels.items()), minute, Kind.TEST, make)


def covered(project: str, branch: str, minute: int, percent: float) -> Reported:
    """A coverage report."""

    def make(stream: int, ref: int, finished: int) -> CoverageEntry:
        return CoverageEntry(stream, ref, finished, ref, False, percent, 0)

    labels = {"project": project, "branch": branch, "job": "test", "stage": "check"}
    return Reported(tuple(labels.items()), minute, Kind.COVERAGE, make)


def deployed(project: str, environment: str, minute: int, result: Result, lead: int) -> Reported:
    """A deployment of what was committed `lead` minutes before."""

    def make(stream: int, ref: int, finished: int) -> DeploymentEntry:
        since = finished - lead * 60_000
        return DeploymentEntry(stream, ref, finished, finished - 60_000, RESULTS.index(result), since)

    labels = {"project": project, "branch": "main", "environment": environment, "environment_tier": "production"}
    return Reported(tuple(labels.items()), minute, Kind.DEPLOYMENT, make)


def scheduled(project: str, name: str, cron: str, minute: int, delay: int, last_run: int | None = None) -> Reported:
    """A schedule of main, from that minute on; the forge says that it last started a run at the minute `last_run`."""
    last = None if last_run is None else to_ms(T0 + timedelta(minutes=last_run))

    def make(stream: int, ref: int, finished: int) -> ScheduleEntry:
        return ScheduleEntry(stream, ref, finished, cron, "UTC", True, delay * 60_000, last)

    labels = {"project": project, "branch": "main", "workflow": "", "schedule": name}
    return Reported(tuple(labels.items()), minute, Kind.SCHEDULE, make)


class Heard(NamedTuple):
    """A message, comparable: when, who, why, and of which alerts."""

    at: str
    receiver: str
    integration: str
    kind: str
    alerts: tuple[str, ...]


def scene_of(
    folder: Path,
    rules: str,
    ran: Sequence[Ran],
    grid: Grid,
    main: str = MAIN,
    reported: Sequence[Reported] = (),
) -> tuple[Scene, Board]:
    """The scene with everything that ran, known and complete."""
    loaded = load_text(folder, main, rules=rules)
    assert loaded.config is not None, loaded.problems
    config = loaded.config
    board = make_board(config, METRICS)
    places = sorted({(one.project, one.branch, one.event) for one in ran})
    board.add_streams(_stream(number, *place) for number, place in enumerate(places))
    entries = sorted(_entries(ran, places), key=lambda entry: (entry.finished, entry.ref))
    board.load(Kind.RUN, entries)
    board.load(Kind.JOB, ())
    _report(board, reported, first=len(places))
    projects = [_project(path, grid) for path in PROJECTS]
    return (
        Scene(
            config=config,
            metrics=METRICS,
            measures=board,
            universe=make_universe(config, projects),
            projects=projects,
            alerts={},
            log=(),
            started_at=grid.start,
        ),
        board,
    )


def round_by_round(scene: Scene, grid: Grid) -> tuple[list[Transition], list[Told]]:
    """Every instant of the grid, one after the other."""
    world, edges, told = World(), [], []
    for number in range(grid.count):
        made, said = world.round(scene, now=grid.at(number))
        edges += made.step.transitions
        told += said
    return edges, told


def heard(told: Iterable[Told]) -> list[Heard]:
    """Messages in a form that can be compared."""
    return [
        Heard(
            one.at.isoformat(),
            one.due.receiver,
            one.due.integration.name,
            one.due.kind.value,
            tuple(sorted(alert.key for part in one.due.parts for alert in part.alerts)),
        )
        for one in told
    ]


def _report(board: Board, reported: Sequence[Reported], first: int) -> None:
    """Loads facts of every kind; their streams are numbered from `first` on."""
    streams = sorted({(one.kind, one.labels) for one in reported})
    board.add_streams(
        Stream(
            first + number, kind, Labels({"source": "gitlab", "ref_type": "default", "event": "push", **dict(labels)})
        )
        for number, (kind, labels) in enumerate(streams)
    )
    for kind in Kind:
        if not kind.of_runs:
            facts = [
                one.make(first + streams.index((kind, one.labels)), ref, to_ms(T0 + timedelta(minutes=one.minute)))
                for ref, one in enumerate(reported)
                if one.kind is kind
            ]
            board.load_facts(kind, sorted(facts, key=lambda fact: (fact.finished, fact.ref)))


def _stream(number: int, project: str, branch: str, event: Event) -> Stream:
    labels = {"source": "gitlab", "project": project, "ref_type": "default", "branch": branch, "event": event.value}
    return Stream(number, Kind.RUN, Labels(labels))


def _entries(ran: Sequence[Ran], places: Sequence[tuple[str, str, Event]]) -> Iterable[Entry]:
    for number, one in enumerate(ran):
        ends = [to_ms(T0 + timedelta(minutes=minute)) for minute, _ in one.attempts]
        for place, (finished, (_, result)) in enumerate(zip(ends, one.attempts, strict=True)):
            yield Entry(
                stream=places.index((one.project, one.branch, one.event)),
                ref=number * 10 + place,
                created=ends[0] - one.minutes * 60_000,
                finished=finished,
                superseded=ends[place + 1] if place + 1 < len(ends) else None,
                result=RESULTS.index(result),
                duration=one.minutes * 60_000,
                queued=1000,
                allowed=False,
                retry=place > 0,
            )


def _project(path: str, grid: Grid) -> Project:
    first = grid.start - timedelta(days=60)
    # The second project's history begins later: its rules are unknown at first.
    covered = first if path == "k2/app" else grid.start - timedelta(hours=2)
    known = Project(source="gitlab", key=path, path=path, first_seen_at=first, covered_since=covered)
    return in_history(known, until=grid.end, retention=timedelta(days=100))
