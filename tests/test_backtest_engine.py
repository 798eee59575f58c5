"""A rehearsal that skips the instants at which nothing can change says the same as one that skips none."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.model import Event, Result, ScheduleEntry
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest import Backtest
from k2alert.times import to_ms
from tests.support.looks import T0
from tests.support.rehearsing import MAIN, PROJECTS, Ran, heard, round_by_round, scene_of

RULES = [
    "{condition: success_rate < 0.7, period: 2h}",
    "{condition: success_rate < 0.7, period: 2h, min_samples: 3, for: 17m, keep_firing_for: 23m}",
    "{condition: success_rate < 0.7, period: 1h, clear: success_rate > 0.9, no_data: resolve}",
    "{condition: failed_pipelines >= 2, period: 45m, by: [project, branch]}",
    "{condition: consecutive_failures >= 2, period: 3h, severity: critical}",
    "{condition: success_rate < 0.5, period: 1h, no_data: alert, for: 30m}",
    "{condition: success_rate < 0.6, period: 4 runs, by: [project, branch], keep_firing_for: 1h}",
    '{condition: "value(\\"success_rate\\", window=\\"30m\\", offset=\\"1h\\") < 0.5", period: 1h}',
    '{condition: "success_rate < baseline(\\"success_rate\\", \\"8d\\")", period: 1h}',
    "{condition: minutes_since_success > 90, period: 6h, for: 5m}",
    "{condition: total_pipelines == 0, period: 1h}",
    '{condition: "absent(\\"success_rate\\") and failed_pipelines == 0", period: 1h, by: [project, branch]}',
]

AGES = [
    "{condition: minutes_since_success > 90, period: 6h, for: 5m}",
    "{condition: 40 <= minutes_since_run < 120, period: 1h}",
    "{condition: not minutes_since_run < 55, period: 1h, by: [project, branch]}",
    "{condition: minutes_since_success > 60 or success_rate < 0.5, period: 2h, clear: minutes_since_run < 30}",
    '{condition: "value(\\"minutes_since_success\\", offset=\\"45m\\") > 70 and failed_pipelines > 0", period: 3h}',
    '{condition: "default(\\"minutes_since_success\\", 0) > 100 and not absent(\\"success_rate\\")", period: 5h}',
    "{condition: minutes_since_success - minutes_since_run > 30, period: 6h}",
    "{condition: round(minutes_since_run / 60) == 2, period: 1h}",
    "{condition: success_rate < 0.6, clear: minutes_since_success < 20, period: 4h}",
    "{condition: schedule_overdue_minutes > 20, period: 24h, keep_firing_for: 25m}",
    "{condition: schedule_overdue_minutes > 0 and failed_pipelines == 0, period: 2h, no_data: alert}",
]
CRONS = st.sampled_from(["0 * * * *", "*/20 * * * *", "30 3 * * *", "15 2,5 * * *", "0 0 1 1 *"])

RESULTS = st.sampled_from([Result.SUCCESS, Result.FAILURE, Result.FAILURE, Result.CANCELLATION, Result.ERROR])
GRID = Grid(T0, timedelta(minutes=5), 150)


def written(rules: list[str]) -> str:
    """A rule file; what is not about the condition is filled in."""
    lines = []
    for number, rule in enumerate(rules):
        severity = "" if "severity" in rule else "severity: warning, "
        lines.append(f"  - {{name: r{number}, {severity}message: x, {rule[1:]}")
    return "alert_rules:\n" + "\n".join(lines) + "\n"


@st.composite
def a_run(draw: st.DrawFn, days: int) -> Ran:
    first = draw(st.integers(-days * 1440, 720))
    gaps = draw(st.lists(st.integers(1, 200), max_size=2))
    ends = [first + sum(gaps[:place]) for place in range(len(gaps) + 1)]
    attempts = tuple((end, draw(RESULTS)) for end in ends)
    project, branch = draw(st.sampled_from([("k2/app", "main"), ("k2/app", "dev"), ("k2/lib", "main")]))
    event = draw(st.sampled_from([Event.PUSH, Event.PUSH, Event.SCHEDULE]))
    return Ran(project, branch, attempts, draw(st.integers(1, 90)), event)


@st.composite
def a_schedule(draw: st.DrawFn) -> ScheduleEntry:
    known, last = draw(st.integers(-600, 400)), draw(st.none() | st.integers(-600, 700))
    return ScheduleEntry(
        stream=0,
        ref=draw(st.integers(1, 10_000)),
        finished=to_ms(T0 + timedelta(minutes=known)),
        cron=draw(CRONS),
        timezone="UTC",
        any_workflow=True,
        delay=draw(st.integers(0, 30)) * 60_000,
        last_run=None if last is None else to_ms(T0 + timedelta(minutes=last)),
    )


@settings(max_examples=30, deadline=None)
@given(
    ran=st.lists(a_run(days=0), max_size=25),
    past=st.lists(a_run(days=10), max_size=15),
    rules=st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True),
)
def test_skipping_changes_nothing(ran: list[Ran], past: list[Ran], rules: list[str]) -> None:
    with TemporaryDirectory() as folder:
        scene, board = scene_of(Path(folder), written(rules), [*ran, *past], GRID)
        edges, told = round_by_round(scene, GRID)
        found = Backtest(scene, board, GRID).run()
    assert sorted(map(str, found.transitions)) == sorted(map(str, edges))
    assert heard(found.messages) == heard(told)


@settings(max_examples=40, deadline=None)
@given(
    ran=st.lists(a_run(days=0), max_size=15),
    schedules=st.lists(a_schedule(), max_size=3, unique_by=lambda schedule: schedule.ref),
    rules=st.lists(st.sampled_from(AGES), min_size=1, max_size=4, unique=True),
)
def test_what_changes_by_itself_is_judged_in_time(
    ran: list[Ran], schedules: list[ScheduleEntry], rules: list[str]
) -> None:
    with TemporaryDirectory() as folder:
        scene, board = scene_of(Path(folder), written(rules), ran, GRID, schedules=schedules)
        edges, told = round_by_round(scene, GRID)
        found = Backtest(scene, board, GRID).run()
    assert sorted(map(str, found.transitions)) == sorted(map(str, edges))
    assert heard(found.messages) == heard(told)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_the_list_says_something_on_some_history(rule: str, tmp_path: Path) -> None:
    fails = [Ran("k2/app", "main", ((minute, Result.FAILURE),)) for minute in (10, 30, 50, 70)]
    greens = [Ran("k2/app", "main", ((minute, Result.SUCCESS),)) for minute in range(-14_000, 0, 400)]
    greens += [Ran("k2/app", "main", ((minute, Result.SUCCESS),)) for minute in (400, 410, 420, 430)]
    greens.append(Ran("k2/app", "main", ((650, Result.CANCELLATION),)))
    scene, board = scene_of(tmp_path, written([rule]), [*greens, *fails], GRID)
    edges, told = round_by_round(scene, GRID)
    found = Backtest(scene, board, GRID).run()
    assert found.messages
    assert sorted(map(str, found.transitions)) == sorted(map(str, edges))
    assert heard(found.messages) == heard(told)


INHIBITED = """
inhibit_rules: [{source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [project]}]
"""
MUTED = """
time_intervals: [{name: early, time_intervals: [{times: [{start_time: "00:30", end_time: "03:00"}]}]}]
"""


@pytest.mark.parametrize("more", ["", INHIBITED, MUTED, "digest"])
def test_routes_of_every_kind_say_the_same(more: str, tmp_path: Path) -> None:
    main = MAIN + ("" if more == "digest" else more)
    if more == MUTED:
        main = main.replace("receiver: team\n", "receiver: team\n  mute_time_intervals: [early]\n", 1)
    if more == "digest":
        main = main.replace("receiver: team\n", 'receiver: team\n  digest: "daily 02:00 UTC"\n', 1)
    fails = [Ran(project, "main", ((minute, Result.FAILURE),)) for minute in (10, 30) for project in PROJECTS]
    greens = [Ran("k2/app", "main", ((minute, Result.SUCCESS),)) for minute in range(200, 700, 50)]
    scene, board = scene_of(tmp_path, written(RULES[:6]), [*fails, *greens], GRID, main)
    edges, told = round_by_round(scene, GRID)
    found = Backtest(scene, board, GRID).run()
    assert found.messages
    assert sorted(map(str, found.transitions)) == sorted(map(str, edges))
    assert heard(found.messages) == heard(told)
