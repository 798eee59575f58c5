"""A round that judges only what can have changed comes to what one that judges everything comes to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from k2alert.alert.lifecycle import forget
from k2alert.config.model import Config
from k2alert.cycle import Plan, Scene, plan, planning
from k2alert.kept import Kept
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    RESULTS,
    BenchmarkEntry,
    CoverageEntry,
    DeploymentEntry,
    Entry,
    EntryChange,
    FactChange,
    FactEntry,
    Kind,
    NamedTest,
    OpenChange,
    OpenEntry,
    Project,
    ReportEntry,
    Result,
    RunState,
    Saved,
    ScheduleEntry,
    Stream,
)
from k2alert.pauses import at_once
from k2alert.recall import make_board
from k2alert.times import to_ms
from k2alert.universe import make_universe
from tests.support.loading import load_text
from tests.support.looks import T0, ms

MAIN = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app, k2/lib]}]
project_labels: [{match: ['project="k2/app"'], labels: {team: one}}, {match: ['project="k2/lib"'], labels: {team: two}}]
time_intervals: [{name: early, time_intervals: [{times: [{start_time: "00:30", end_time: "01:00"}]}]}]
receivers: [{name: team, webhook: {url: http://hooks.example.com}}]
route: {receiver: team, group_by: [alertname], group_wait: 0s}
rule_files: ["*rules.yml"]
"""
RULES = [
    "{condition: success_rate < 0.7, period: 2h}",
    "{condition: success_rate < 0.7, period: 2h, min_samples: 3, for: 17m, keep_firing_for: 23m}",
    "{condition: success_rate < 0.7, period: 1h, clear: success_rate > 0.9, no_data: resolve}",
    "{condition: success_rate < 0.5, period: 1h, no_data: alert, for: 30m}",
    "{condition: success_rate < 0.7, period: 1h, by: [team]}",
    "{condition: success_rate < 0.7, period: 1h, by: [source], exclude_during: [early]}",
    "{condition: failed_pipelines >= 2, period: 45m, by: [project, branch]}",
    "{condition: total_pipelines > 0, period: 30m, by: [project, result], match: ['result!=\"success\"']}",
    "{condition: consecutive_failures >= 2, period: 3h}",
    "{condition: success_rate < 0.6, period: 4 runs, by: [project, branch], keep_firing_for: 1h}",
    '{condition: "value(\\"success_rate\\", window=\\"30m\\", offset=\\"1h\\") < 0.5", period: 1h}',
    '{condition: "success_rate < baseline(\\"success_rate\\", \\"8d\\")", period: 1h}',
    '{condition: "absent(\\"success_rate\\") and failed_pipelines == 0", period: 1h}',
    '{condition: "default(\\"p95_duration_minutes\\", 0) > 4 or lower(\\"success_rate\\") < 0.2", period: 2h}',
    "{condition: minutes_since_success > 90, period: 6h, for: 5m}",
    "{condition: 40 <= minutes_since_run < 120, period: 1h, by: [project, branch]}",
    "{condition: schedule_overdue_minutes > 20, period: 24h, keep_firing_for: 25m}",
    "{condition: pending_pipelines > 0, period: 1h, for: 10m}",
    "{condition: running_pipelines > 1, period: 1h, by: [project, branch]}",
    "{condition: oldest_pending_minutes > 15, period: 1h}",
    "{condition: oldest_pending_job_minutes > 15 or pending_jobs > 1, period: 1h}",
    "{condition: job_success_rate < 0.7, period: 90m, by: [project, job]}",
    "{condition: job_success_rate < 0.7, period: 2 runs}",
    "{condition: runner_minutes > 10, period: 40m}",
    "{condition: job_retry_rate > 0, period: 2h}",
    "{condition: test_failure_rate > 0.2, period: 2h, min_samples: 9}",
    "{condition: flaky_tests >= 1, period: 3h, keep_firing_for: 23m}",
    "{condition: new_flaky_tests >= 1, period: 90m}",
    "{condition: failed_tests >= 1, period: 90m, by: [project, test]}",
    "{condition: coverage < 75, period: 1h, by: [project, branch]}",
    "{condition: coverage_drop > 3, period: 4h, for: 17m}",
    "{condition: failed_deployments > 0, period: 45m, by: [project, environment], no_data: resolve}",
    "{condition: consecutive_failed_deployments >= 2, period: 6h}",
    "{condition: time_to_restore_hours > 1, period: 6h}",
    "{condition: benchmark_regressions > 0, period: 6h}",
    "{condition: success_rate < 0.7 and test_failure_rate > 0.1, period: 2h}",
]
SOME_RULES = st.lists(st.sampled_from(RULES), min_size=1, max_size=6, unique=True)
PROJECTS = ("k2/app", "k2/lib")


def written(rules: list[str]) -> str:
    """A rule file; what is not about the condition is filled in."""
    lines = (f"  - {{name: r{number}, severity: warning, message: x, {rule[1:]}" for number, rule in enumerate(rules))
    return "alert_rules:\n" + "\n".join(lines) + "\n"


def configured(folder: Path, rules: list[str]) -> Config:
    loaded = load_text(folder, MAIN, rules=written(rules))
    assert loaded.config is not None, loaded.problems
    return loaded.config


def a_project(path: str) -> Project:
    since = T0 - timedelta(days=60)
    return Project(source="gitlab", key=path, path=path, first_seen_at=since, covered_since=since, complete_at=T0)


@dataclass
class World:
    """A board, what is on it, and rounds of both kinds over it."""

    scene: Scene
    board: Board
    kept: Kept
    now: datetime = T0
    streams: dict[tuple[Kind, Labels], int] = field(default_factory=dict)
    rows: dict[tuple[Kind, int], Entry] = field(default_factory=dict)
    facts: dict[tuple[Kind, int], FactEntry] = field(default_factory=dict)
    opens: dict[tuple[Kind, str], OpenEntry] = field(default_factory=dict)
    tests: list[NamedTest] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, rules: list[str]) -> "World":
        config = configured(folder, rules)
        board = make_board(config, METRICS)
        projects = [a_project(path) for path in PROJECTS]
        scene = Scene(
            config=config,
            metrics=METRICS,
            measures=board,
            universe=make_universe(config, projects),
            projects=projects,
            alerts={},
            log=(),
            started_at=T0,
        )
        world = cls(scene, board, Kept(config.rules, METRICS, board))
        world.fill()
        return world

    def reload(self, config: Config) -> None:
        """Other rules, over a board that is filled with what is stored; alerts stay, and nothing else that was kept."""
        self.board = make_board(config, METRICS)
        self.fill()
        universe = make_universe(config, self.scene.projects)
        self.scene = replace(self.scene, config=config, measures=self.board, universe=universe)
        self.kept = Kept(config.rules, METRICS, self.board)

    def fill(self) -> None:
        """The board takes all that is stored, as `recall` has it."""
        self.board.add_streams(Stream(number, kind, labels) for (kind, labels), number in self.streams.items())
        opens = [OpenChange(kind, key, entry) for (kind, key), entry in self.opens.items()]
        self.board.apply(Saved(opens=opens))
        for kind in Kind:
            if kind.of_runs:
                self.board.load(kind, [row for (of, _), row in self.rows.items() if of is kind])
            else:
                self.board.load_facts(kind, [fact for (of, _), fact in self.facts.items() if of is kind])
        self.board.apply(Saved(tests=self.tests))

    def stream(self, kind: Kind, **labels: str) -> int:
        """The number of a stream, which the board learns where it is new."""
        full = Labels({"source": "gitlab", "ref_type": "default", "event": "push", **labels})
        if (kind, full) not in self.streams:
            self.streams[kind, full] = len(self.streams)
            self.board.apply(Saved(streams=[Stream(self.streams[kind, full], kind, full)]))
        return self.streams[kind, full]

    def remember(self) -> None:
        """Nine days of runs and the names of the tests, as a start would load them."""
        names = [NamedTest("gitlab", path, number, "all", f"t{number}") for path in PROJECTS for number in range(8)]
        self.tests += names
        self.board.apply(Saved(tests=names))
        for number in range(45):
            stream = self.stream(Kind.RUN, project=PROJECTS[number % 2], branch="main")
            finished = ms(-13_200 + 293 * number)
            result = RESULTS.index(Result.FAILURE if number % 5 == 1 else Result.SUCCESS)
            row = Entry(stream, 100 + number, finished - 60_000, finished, None, result, 60_000, 9, False, False)
            self.put_row(Kind.RUN, row, row.ref)

    def put_row(self, kind: Kind, row: Entry | None, ref: int) -> None:
        """What the store says of a run's outcome, or a job's, from now on."""
        old = self.rows.pop((kind, ref), None)
        if row is not None:
            self.rows[kind, ref] = row
        self.board.apply(Saved(entries=[EntryChange(kind, old, row)]))

    def put_fact(self, kind: Kind, fact: FactEntry | None, ref: int) -> None:
        """The same of another fact."""
        old = self.facts.pop((kind, ref), None)
        if fact is not None:
            self.facts[kind, ref] = fact
        self.board.apply(Saved(facts=[FactChange(kind, old, fact)]))

    def open(self, kind: Kind, key: str, entry: OpenEntry | None) -> None:
        """A run or a job is open like this from now on, or no more."""
        self.opens.pop((kind, key), None)
        if entry is not None:
            self.opens[kind, key] = entry
        self.board.apply(Saved(opens=[OpenChange(kind, key, entry)]))

    def read(self, path: str, **changed: object) -> None:
        """Something else is known of a project."""
        projects = [replace(one, **changed) if one.path == path else one for one in self.scene.projects]  # type: ignore[arg-type]
        self.scene = replace(self.scene, projects=projects)

    def know(self, *paths: str) -> None:
        """These projects are there from now on."""
        projects = [replace(a_project(path), complete_at=self.now) for path in paths]
        universe = make_universe(self.scene.config, projects)
        self.scene = replace(self.scene, projects=projects, universe=universe)

    def round(self) -> Plan:
        """Both kinds of round, which must come to the same."""
        whole = plan(self.scene, now=self.now)
        made = at_once(planning(self.scene, self.kept, now=self.now))
        assert made.findings == whole.findings
        assert list(made.step.alerts.items()) == list(whole.step.alerts.items())
        assert made == whole
        assert made.due == whole.due
        self.scene = replace(self.scene, alerts=dict(made.step.alerts))
        return made


Act = Callable[[World], None]
REF = st.integers(0, 9)
MINUTES = st.integers(-150, 20)  # after now; a fact may come late, or be dated by a clock that goes ahead
PROJECT = st.sampled_from(PROJECTS)
BRANCH = st.sampled_from(["main", "dev"])
RESULT = st.sampled_from([RESULTS.index(one) for one in (Result.SUCCESS, Result.FAILURE, Result.FAILURE, Result.ERROR)])


@st.composite
def saving_a_row(draw: st.DrawFn) -> Act:
    """A run's or a job's outcome comes late or early, is replaced, is superseded, or goes."""
    kind, ref = draw(st.sampled_from([Kind.RUN, Kind.RUN, Kind.JOB])), draw(REF)
    gone, minute, took, result = draw(st.integers(0, 5)) == 0, draw(MINUTES), draw(st.integers(1, 9)), draw(RESULT)
    until = draw(st.none() | st.integers(0, 60))
    path, branch, which = draw(PROJECT), draw(BRANCH), draw(st.sampled_from(["push", "schedule"]))

    def act(world: World) -> None:
        more = {"job": "test", "stage": "check"} if kind is Kind.JOB else {}
        stream = world.stream(kind, project=path, branch=branch, **{"event": which}, **more)
        finished = to_ms(world.now) + minute * 60_000
        created = finished - took * 60_000
        superseded = None if until is None else finished + until * 60_000
        row = Entry(stream, ref, created, finished, superseded, result, took * 60_000, 9, False, until is None)
        world.put_row(kind, None if gone else row, ref)

    return act


@st.composite
def opening(draw: st.DrawFn) -> Act:
    """A run or a job waits, begins to run, or is over."""
    kind, key = draw(st.sampled_from([Kind.RUN, Kind.JOB])), draw(st.integers(0, 3))
    minute = draw(st.sampled_from([-100, -20, -7, 0, 1, 3, 9]))
    state, path = draw(st.sampled_from([RunState.PENDING, RunState.RUNNING, None])), draw(PROJECT)

    def act(world: World) -> None:
        stream = world.stream(kind, project=path, branch="main")
        created = to_ms(world.now) + minute * 60_000
        new = None if state is None else OpenEntry(stream, str(key), state, created, created)
        world.open(kind, str(key), new)

    return act


def a_report(stream: int, ref: int, finished: int, number: int) -> FactEntry:
    failing, sha = (0, 0, 1, 130, 5)[number % 5], bytes([number % 3]) * 20
    return ReportEntry(stream, ref, finished, 8, failing.bit_count(), sha, True, 255, failing, 4 & failing, ())


def a_coverage(stream: int, ref: int, finished: int, number: int) -> FactEntry:
    return CoverageEntry(stream, ref, finished, ref, False, 70.0 + number % 12, 0)


def a_deployment(stream: int, ref: int, finished: int, number: int) -> FactEntry:
    result = RESULTS.index(Result.FAILURE if number % 2 else Result.SUCCESS)
    return DeploymentEntry(stream, ref, finished, finished - 60_000, result, finished - number * 60_000)


def a_schedule(stream: int, ref: int, finished: int, number: int) -> FactEntry:
    return ScheduleEntry(stream, ref, finished, f"{number % 60} * * * *", "UTC", True, 300_000, None)


def a_benchmark(stream: int, ref: int, finished: int, number: int) -> FactEntry:
    value = 100.0 if number % 20 < 10 else 180.0
    return BenchmarkEntry(stream, ref, finished, b"4f" * 10, "fast", value, "ns", True, None, "")


MADE: Mapping[Kind, Callable[[int, int, int, int], FactEntry]] = {
    Kind.TEST: a_report,
    Kind.COVERAGE: a_coverage,
    Kind.DEPLOYMENT: a_deployment,
    Kind.SCHEDULE: a_schedule,
    Kind.BENCHMARK: a_benchmark,
}


@st.composite
def saving_a_fact(draw: st.DrawFn) -> Act:
    """A report, a deployment, a schedule or a measurement comes, is replaced, or goes."""
    kind, ref, number = draw(st.sampled_from(list(MADE))), draw(REF), draw(st.integers(0, 59))
    gone, minute, path = draw(st.integers(0, 5)) == 0, draw(MINUTES), draw(PROJECT)

    def act(world: World) -> None:
        more = {"environment": "production"} if kind is Kind.DEPLOYMENT else {"job": "test"}
        stream = world.stream(kind, project=path, branch="main", **more)
        finished = to_ms(world.now) + minute * 60_000
        world.put_fact(kind, None if gone else MADE[kind](stream, ref, finished, number), ref)

    return act


def passing(minutes: float) -> Act:
    """Time passes, and projects are read meanwhile; or the clock is set back."""

    def act(world: World) -> None:
        world.now += timedelta(minutes=minutes)
        for path in PROJECTS:
            world.read(path, complete_at=world.now)

    return act


def hanging(minutes: int) -> Act:
    """Time passes, and no project is read."""

    def act(world: World) -> None:
        world.now += timedelta(minutes=minutes)

    return act


def reading(path: str, hours: int) -> Act:
    """A project's history is read anew, and covers so much now."""
    return lambda world: world.read(path, covered_since=world.now - timedelta(hours=hours))


def reloading(rules: list[str]) -> Act:
    """The files are read again, and there are other rules, some of which have the names of those before."""

    def act(world: World) -> None:
        with TemporaryDirectory() as folder:
            world.reload(configured(Path(folder), rules))

    return act


def hearing(world: World) -> None:
    """All that ended was heard, so it is forgotten."""
    back, gone = forget(world.scene.alerts, lambda _: True)
    alerts = dict(world.scene.alerts)
    for alert in back:
        alerts[alert.rule, alert.identity] = alert
    for alert in gone:
        del alerts[alert.rule, alert.identity]
    world.scene = replace(world.scene, alerts=alerts)


def pruning(world: World) -> None:
    """Old rows are forgotten, and label sets with them."""
    for (kind, ref), row in list(world.rows.items()):
        if row.finished < to_ms(world.now) - 3_600_000:
            world.put_row(kind, None, ref)
    world.board.drop_empty()


def failing(world: World) -> None:
    """A round breaks off in the middle; or it comes to its end, and the store does not take what it came to."""
    work = planning(world.scene, world.kept, now=world.now)
    for _ in range(3):
        next(work, None)
    work.close()


def unsaved(world: World) -> None:
    """A round comes to its end, but the store does not take what it came to."""
    at_once(planning(world.scene, world.kept, now=world.now))


ACTS: st.SearchStrategy[Act] = st.one_of(
    saving_a_row(),
    saving_a_row(),
    opening(),
    saving_a_fact(),
    st.builds(passing, st.sampled_from([0.1, 0.5, 1, 7, 7, 33, 95, 400, -3])),
    st.builds(hanging, st.sampled_from([1, 9, 30])),
    st.builds(reading, PROJECT, st.sampled_from([0, 1, 3, 900])),
    st.sampled_from([hearing, pruning, failing, unsaved]),
    st.builds(reloading, SOME_RULES),
    st.builds(
        lambda paths: lambda world: world.know(*paths), st.sampled_from([PROJECTS, PROJECTS[:1], PROJECTS[::-1]])
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    rules=SOME_RULES,
    remembers=st.booleans(),
    rounds=st.lists(st.lists(ACTS, max_size=4), min_size=2, max_size=25),
)
def test_keeping_changes_nothing(rules: list[str], remembers: bool, rounds: list[list[Act]]) -> None:
    with TemporaryDirectory() as folder:
        world = World.of(Path(folder), rules)
    if remembers:
        world.remember()
    for acts in rounds:
        for act in acts:
            act(world)
        made = world.round()
        for edge in made.step.transitions:
            event(f"an alert is {edge.after.value}")


@pytest.mark.parametrize("rule", RULES)
def test_a_quiet_day_is_the_same(rule: str, tmp_path: Path) -> None:
    """All that is left to change a finding is time."""
    world = World.of(tmp_path, [rule])
    world.remember()
    for key, minute in enumerate((-50, -10, 18, 30)):
        for kind, labels in ((Kind.RUN, {}), (Kind.JOB, {"job": "test", "stage": "check"})):
            stream = world.stream(kind, project="k2/app", branch="main", **labels)
            state = (RunState.PENDING, RunState.RUNNING)[key % 2]
            opened = OpenChange(kind, str(key), OpenEntry(stream, str(key), state, ms(minute), ms(minute)))
            world.board.apply(Saved(opens=[opened]))
            until = ms(minute + 40) if key == 1 else None
            row = Entry(stream, key, ms(minute - 5), ms(minute), until, key % 3, 300_000, 9, False, False)
            world.put_row(kind, row, key)
    for number, (kind, make) in enumerate(MADE.items()):
        stream = world.stream(kind, project="k2/app", branch="main", environment="production", job="test")
        for key, minute in enumerate((-400, -90, -20, 5)):
            world.put_fact(kind, make(stream, 10 * number + key, ms(minute), key), 10 * number + key)
    for _ in range(200):
        world.round()
        passing(7)(world)


def test_what_failed_is_judged_anew(tmp_path: Path) -> None:
    world = World.of(tmp_path, ["{condition: failed_pipelines == 0, period: 1h, by: [project]}"])
    (rule,) = world.scene.config.rules
    other = replace(rule, selection=replace(rule.selection, by=("project", "team")))  # its facts were not loaded
    universe = make_universe(replace(world.scene.config, rules=(other,)), world.scene.projects)
    world.scene = replace(world.scene, config=replace(world.scene.config, rules=(other,)), universe=universe)
    world.kept = Kept((other,), METRICS, world.board)

    assert "KeyError" in world.round().findings[0].error
    world.board.require(other.selection, frozenset({Kind.RUN}))
    world.board.load(Kind.RUN, ())

    assert world.round().findings[0].value == 0


def test_all_these_rules_are_good(tmp_path: Path) -> None:
    assert len(World.of(tmp_path, RULES).kept.rules) == len(RULES)
