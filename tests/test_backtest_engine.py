"""A rehearsal that skips the instants at which nothing can change says the same as one that skips none."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.model import Event, Result
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest import Backtest
from tests.support.looks import T0
from tests.support.rehearsing import (
    MAIN,
    PROJECTS,
    Ran,
    Reported,
    a_report,
    covered,
    deployed,
    heard,
    round_by_round,
    scene_of,
    scheduled,
)

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


def a_schedule(name: str) -> st.SearchStrategy[Reported]:
    made, delay = st.integers(-600, 400), st.integers(0, 30)
    last = st.none() | st.integers(-600, 700)
    return st.builds(scheduled, st.just("k2/app"), st.just(name), CRONS, made, delay, last)


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
    schedules=st.lists(st.sampled_from(["a", "b", "c"]).flatmap(a_schedule), max_size=3),
    rules=st.lists(st.sampled_from(AGES), min_size=1, max_size=4, unique=True),
)
def test_what_changes_by_itself_is_judged_in_time(ran: list[Ran], schedules: list[Reported], rules: list[str]) -> None:
    with TemporaryDirectory() as folder:
        scene, board = scene_of(Path(folder), written(rules), ran, GRID, reported=schedules)
        edges, told = round_by_round(scene, GRID)
        found = Backtest(scene, board, GRID).run()
    assert sorted(map(str, found.transitions)) == sorted(map(str, edges))
    assert heard(found.messages) == heard(told)


OF_FACTS = [
    "{condition: test_failure_rate > 0.2, period: 2h, min_samples: 9}",
    "{condition: flaky_tests >= 1, period: 3h, keep_firing_for: 23m}",
    "{condition: new_flaky_tests >= 1, period: 90m}",
    "{condition: coverage < 75, period: 1h, by: [project, branch]}",
    "{condition: coverage_drop > 3, period: 4h, for: 17m}",
    '{condition: "coverage < value(\\"coverage\\", offset=\\"2h\\") - 1", period: 1h}',
    "{condition: failed_deployments > 0, period: 45m, by: [project, environment], no_data: resolve}",
    "{condition: consecutive_failed_deployments >= 2, period: 6h, severity: critical}",
    "{condition: change_failure_rate > 0.3, period: 5h, clear: change_failure_rate < 0.1}",
    "{condition: lead_time_hours > 2, period: 4h}",
    "{condition: time_to_restore_hours > 1, period: 6h}",
    "{condition: deployment_frequency_per_day < 5, period: 12h}",
    "{condition: schedule_overdue_minutes > 20, period: 1h, by: [project, schedule]}",
    "{condition: schedule_overdue_minutes > 100, period: 1h, for: 10m, severity: critical}",
    "{condition: success_rate < 0.7 and test_failure_rate > 0.1, period: 2h}",
    '{condition: "absent(\\"coverage\\") or failed_deployments > 1", period: 2h}',
]
MINUTES = st.integers(-600, 740)
PROJECT = st.sampled_from(PROJECTS)
BRANCH = st.sampled_from(["main", "dev"])
SOME = st.sampled_from([0, 0, 0, 1, 4, 130])
REPORTED = st.one_of(
    st.builds(a_report, PROJECT, BRANCH, MINUTES, SOME, SOME, st.integers(1, 4)),
    st.builds(covered, PROJECT, BRANCH, MINUTES, st.sampled_from([70.0, 74.5, 78.0, 80.0])),
    st.builds(deployed, PROJECT, st.sampled_from(["production", "canary"]), MINUTES, RESULTS, st.integers(0, 400)),
    st.builds(
        scheduled,
        PROJECT,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["*/50 * * * *", "20 3,7 * * *"]),
        MINUTES,
        st.integers(0, 30),
    ),
)
NIGHTLY = st.builds(
    lambda project, minute, result: Ran(project, "main", ((minute, result),), 5, Event.SCHEDULE),
    PROJECT,
    MINUTES,
    RESULTS,
)


@settings(max_examples=30, deadline=None)
@given(
    ran=st.lists(st.one_of(a_run(days=0), NIGHTLY), max_size=15),
    reported=st.lists(REPORTED, max_size=25),
    rules=st.lists(st.sampled_from(OF_FACTS), min_size=1, max_size=4, unique=True),
)
def test_skipping_changes_nothing_of_reports_deployments_and_schedules(
    ran: list[Ran], reported: list[Reported], rules: list[str]
) -> None:
    with TemporaryDirectory() as folder:
        scene, board = scene_of(Path(folder), written(rules), ran, GRID, reported=reported)
        edges, told = round_by_round(scene, GRID)
        found = Backtest(scene, board, GRID).run()
    assert sorted(map(str, found.transitions)) == sorted(map(str, edges))
    assert heard(found.messages) == heard(told)


def a_bad_night() -> list[Reported]:
    """Something for every rule about facts."""
    reds = [a_report("k2/app", "main", minute, failing=7, mixed=0, sha=1) for minute in (20, 200)]
    flaky = [a_report("k2/app", "main", 210, failing=0, mixed=8, sha=2)]
    drops = [covered("k2/app", "main", minute, percent) for minute, percent in ((-300, 80.0), (30, 74.0), (90, 70.0))]
    deploys = [deployed("k2/app", "production", minute, Result.FAILURE, 300) for minute in (40, 60)]
    mended = [deployed("k2/app", "production", minute, Result.SUCCESS, 300) for minute in (-50, 300)]
    return [*reds, *flaky, *drops, *deploys, *mended, scheduled("k2/app", "a", "20 3,7 * * *", 10, 15)]


@pytest.mark.parametrize("rule", OF_FACTS)
def test_every_rule_about_facts_says_something_on_a_bad_night(rule: str, tmp_path: Path) -> None:
    ran = [Ran("k2/app", "main", ((minute, Result.FAILURE),)) for minute in (15, 25, 215)]
    scene, board = scene_of(tmp_path, written([rule]), ran, GRID, reported=a_bad_night())
    edges, told = round_by_round(scene, GRID)
    found = Backtest(scene, board, GRID).run()
    assert found.messages
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


@pytest.mark.parametrize("receiver", ["team", "chat"])
def test_too_much_at_once_is_listed_in_the_same_way(receiver: str, tmp_path: Path) -> None:
    main = MAIN.replace(
        "receiver: team\n  group_by: [alertname]", f"receiver: {receiver}\n  group_by: [alertname, branch]"
    )
    rules = ["{condition: consecutive_failures >= 2, period: 6h, by: [project, branch]}"]
    fails = [
        Ran("k2/app", f"b{branch}", ((minute + branch % 7, Result.FAILURE),))
        for branch in range(25)
        for minute in (-20 + branch, 60 + branch % 3, 71)
    ]
    greens = [Ran("k2/app", f"b{branch}", ((200 + branch % 11, Result.SUCCESS),)) for branch in range(25)]
    scene, board = scene_of(tmp_path, written(rules), [*fails, *greens], GRID, main)
    _, told = round_by_round(scene, GRID)
    found = Backtest(scene, board, GRID).run()
    assert "list" in {one.kind for one in heard(told)}
    assert heard(found.messages) == heard(told)
