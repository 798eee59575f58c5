"""A rehearsal that skips the instants at which nothing can change says the same as one that skips none."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.model import Result
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest import Backtest
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
    return Ran(project, branch, attempts, draw(st.integers(1, 90)))


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
