"""What the status page draws: values as the rule judges them, from where history is whole, and when the alert fired."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from k2alert.curves import POINTS, curve_of, usual_span
from k2alert.labels import Labels
from k2alert.model import AlertState, Curve, Finding, Transition, Window
from tests.support.bench import DAY, MINUTE, T0, Bench, project

RULE = """
alert_rules:
  - {name: low, condition: 'CONDITION', period: PERIOD, severity: warning, message: "low", min_samples: 1}
"""
API = Labels({"source": "gitlab", "project": "pay/api"})
SPAN = 20 * MINUTE


def bench(folder: Path, runs: str, condition: str, period: str = "10m", **read: object) -> tuple[Bench, Finding]:
    rules = RULE.replace("CONDITION", condition).replace("PERIOD", period)
    made = Bench(folder, rules, f"pay/api main {runs}", projects=(project("pay/api", **read), project("pay/web")))
    return made, next(finding for finding in made.plan().findings if finding.identity == API)


def curve(folder: Path, runs: str, condition: str, *, edges: Sequence[Transition] = (), **keys: object) -> Curve:
    made, finding = bench(folder, runs, condition, **keys)  # type: ignore[arg-type]
    found = curve_of(made.scene, finding, edges, span=SPAN, now=T0)
    assert found is not None
    return found


def edge(ago: float, before: str, after: str, identity: Labels = API) -> Transition:
    return Transition(
        at=T0 - ago * MINUTE,
        rule="low",
        identity=identity,
        before=AlertState(before),
        after=AlertState(after),
        reason=None,
        value=None,
    )


def test_a_curve_is_the_value_and_the_limit_at_even_steps_up_to_now(tmp_path: Path) -> None:
    found = curve(tmp_path, "+" * 20 + "-" * 10, "success_rate < 0.95")

    assert len(found.points) == POINTS
    assert (found.points[0].at, found.points[-1].at) == (T0 - SPAN, T0)
    assert (found.points[0].value, found.points[-1].value) == (1.0, 0.0)
    assert {point.threshold for point in found.points} == {0.95}
    assert found.metric == "success_rate"
    steps = {round((later.at - earlier.at) / (SPAN / (POINTS - 1)), 6) for earlier, later in pairwise(found.points)}
    assert steps == {1.0}


def test_each_point_is_what_the_rule_would_have_seen_at_its_time(tmp_path: Path) -> None:
    made, finding = bench(tmp_path, "+-" * 10 + "-" * 10, "failed_pipelines > 3")
    found = curve_of(made.scene, finding, (), span=SPAN, now=T0)
    assert found is not None
    for point in found.points[::17]:
        seen = made.scene.measures.measure(
            finding.rule.selection,
            "failed_pipelines",
            API,
            finding.rule.window,
            int(point.at.timestamp() * 1000),
        )
        assert point.value == seen.value


@pytest.mark.parametrize(
    ("condition", "covered", "begins"),
    [
        ("success_rate < 0.95", 30, 20),  # all of it is whole
        ("success_rate < 0.95", 18, 8),  # not before a whole window of ten minutes
        ('value("success_rate", window="5m") < 0.95', 18, 13),
        ('value("success_rate", offset="4m") < 0.95', 18, 4),
    ],
)
def test_a_curve_begins_where_every_value_lies_inside_what_was_read(
    tmp_path: Path, condition: str, covered: int, begins: int
) -> None:
    found = curve(tmp_path, "+" * 30, condition, covered_since=T0 - covered * MINUTE)

    assert found.points[0].at == T0 - begins * MINUTE


@pytest.mark.parametrize("covered", [None, T0 - 5 * MINUTE])
def test_without_a_whole_window_there_is_a_curve_without_points(tmp_path: Path, covered: object) -> None:
    assert curve(tmp_path, "+" * 30, "success_rate < 0.95", covered_since=covered).points == ()


def test_what_retention_has_forgotten_is_not_drawn(tmp_path: Path) -> None:
    made, finding = bench(tmp_path, "+" * 10, "success_rate < 0.95", covered_since=T0 - 400 * DAY)
    found = curve_of(made.scene, finding, (), span=100 * DAY, now=T0)

    assert found is not None
    assert found.points[0].at == T0 - made.config.retention + 10 * MINUTE


def test_what_is_known_of_now_only_has_no_curve(tmp_path: Path) -> None:
    made, finding = bench(tmp_path, "+" * 10, "running_pipelines > 3")

    assert curve_of(made.scene, finding, (), span=SPAN, now=T0) is None


INCIDENTS: dict[str, tuple[list[Transition], list[tuple[float, float]]]] = {
    "over": ([edge(10, "pending", "firing"), edge(4, "firing", "ended")], [(10, 4)]),
    "goes on": ([edge(10, "inactive", "firing")], [(10, 0)]),
    "began before the curve": ([edge(40, "pending", "firing"), edge(4, "firing", "ended")], [(20, 4)]),
    "its beginning is forgotten": ([edge(4, "firing", "ended")], [(20, 4)]),
    "over before the curve": ([edge(50, "pending", "firing"), edge(40, "firing", "ended")], []),
    "only pending": ([edge(10, "inactive", "pending"), edge(8, "pending", "inactive")], []),
    "of another label set": ([edge(10, "inactive", "firing", Labels({"source": "x"}))], []),
    "twice": (
        [edge(3, "inactive", "firing"), edge(12, "firing", "ended"), edge(15, "pending", "firing")],
        [(15, 12), (3, 0)],
    ),
}


@pytest.mark.parametrize(("edges", "minutes"), INCIDENTS.values(), ids=INCIDENTS)
def test_incidents_are_the_stretches_in_which_the_alert_fired(
    tmp_path: Path, edges: list[Transition], minutes: list[tuple[float, float]]
) -> None:
    found = curve(tmp_path, "+" * 30, "success_rate < 0.95", edges=edges)

    assert list(found.incidents) == [(T0 - since * MINUTE, T0 - until * MINUTE) for since, until in minutes]


@pytest.mark.parametrize(
    ("period", "span"),
    [(timedelta(hours=1), DAY), (timedelta(hours=24), 7 * DAY), (timedelta(days=28), 30 * DAY)],
)
def test_a_curve_usually_shows_seven_periods_a_day_at_least_and_a_month_at_most(
    period: timedelta, span: timedelta, tmp_path: Path
) -> None:
    made, _ = bench(tmp_path, "+", "success_rate < 0.95")

    assert usual_span(replace(made.config.rules[0], window=Window(period))) == span
