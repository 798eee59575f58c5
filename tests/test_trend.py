"""Where a value comes from: the window before, the way here, and silence where half of the history would lie."""

from datetime import timedelta
from pathlib import Path

import pytest

from k2alert.labels import Labels
from k2alert.model import Evidence
from k2alert.telling import value_text
from k2alert.trend import Trend, owner_of, with_past
from tests.support.bench import DAY, MINUTE, T0, Bench, project

RATE = """
alert_rules:
  - {name: low, condition: 'CONDITION', period: PERIOD, severity: warning, message: "low", min_samples: 2}
"""
NOW = T0 - MINUTE / 2  # ten minutes back from here are the last ten runs
API = Labels({"source": "gitlab", "project": "pay/api"})


def trend(
    folder: Path, runs: str, condition: str = "success_rate < 0.95", period: str = "10m", **read: object
) -> Trend:
    rules = RATE.replace("CONDITION", condition).replace("PERIOD", period)
    projects = (project("pay/api", **read), project("pay/web"))
    bench = Bench(folder, rules, f"pay/api main {runs}", projects=projects)
    found = Trend.of(bench.scene, bench.config.rules[0], API, now=NOW)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("runs", "condition", "before"),
    [
        ("+" * 5 + "-" * 5 + "-" * 10, "success_rate < 0.95", 0.5),
        ("-" * 10 + "+" * 10, "success_rate < 0.95", 0.0),
        ("-" * 10, "success_rate < 0.95", None),  # nothing ran then
        ("-" + "-" * 10, "success_rate < 0.95", None),  # one run is too few: min_samples is 2
        ("-" + "-" * 10, "failed_pipelines > 3", 1),  # a count needs no samples
        ("-" * 20, "consecutive_failures >= 3", None),  # a streak has no window before
        ("-" * 20, "minutes_since_success > 3", None),
        ("+" * 10 + "-" * 10, 'value("success_rate", offset="5m") < 0.95', 1.0),
    ],
)
def test_the_value_before_is_that_of_the_window_before(
    tmp_path: Path, runs: str, condition: str, before: float | None
) -> None:
    assert trend(tmp_path, runs, condition).before() == before


def test_what_was_not_read_to_its_beginning_is_not_told(tmp_path: Path) -> None:
    runs = "+" * 10 + "-" * 10
    assert trend(tmp_path, runs, covered_since=NOW - 20 * MINUTE).before() == 1.0
    assert trend(tmp_path, runs, covered_since=NOW - 19 * MINUTE).before() is None
    found = trend(tmp_path, runs)
    assert Trend.of(found.scene, found.rule, Labels({"source": "elsewhere"}), now=NOW) is None


def test_a_window_of_runs_has_no_window_before(tmp_path: Path) -> None:
    found = trend(tmp_path, "+" * 20 + "-" * 20, period="20 runs")
    assert found.before() is None
    assert found.span == ""
    assert found.at(NOW) == 0.0


def test_the_chart_ends_with_the_value_of_now_and_says_what_is_beyond(tmp_path: Path) -> None:
    found = trend(tmp_path, "+" * 700 + "-" * 700, period="6h")
    chart = found.chart(0.95, lambda value: value_text(value, found.scene.metrics["success_rate"]))
    assert chart is not None
    assert chart.values[-1] == found.at(NOW) == 0.0
    assert chart.is_bad[-1]
    assert chart.values[20] == 1.0
    assert not chart.is_bad[20]
    assert (chart.title, chart.span, chart.threshold_text) == ("success rate", "1d", "< 95%")
    assert (chart.low_text, chart.high_text) == ("0%", "100%")
    assert all(value is not None or not bad for value, bad in zip(chart.values, chart.is_bad, strict=True))


def test_there_is_no_chart_of_what_was_never_measured(tmp_path: Path) -> None:
    assert trend(tmp_path, "-" * 5, period="1m").chart(0.95, str) is None


@pytest.mark.parametrize(
    ("labels", "owner"),
    [({"team": "pay"}, "pay"), ({"owner": "ann", "team": "pay"}, "ann"), ({"project": "x"}, "")],
)
def test_the_owner_is_who_the_configuration_names(labels: dict[str, str], owner: str) -> None:
    assert owner_of(Labels(labels)) == owner


def test_times_are_in_the_past_only(tmp_path: Path) -> None:
    assert trend(tmp_path, "+-" * 10).at(T0 - 40 * DAY) is None
    assert trend(tmp_path, "+-" * 10).at(T0 - timedelta(days=1)) is None


def test_evidence_is_told_with_the_value_before_and_the_owner(tmp_path: Path) -> None:
    found = trend(tmp_path, "+" * 10 + "-" * 10)
    labels = Labels({"project": "pay/api", "team": "payments"})
    evidence = with_past(found.scene, found.rule, API, labels, Evidence(faults=10, samples=10), now=NOW)
    assert (evidence.before, evidence.owner, evidence.faults) == (1.0, "payments", 10)


def test_what_retention_has_forgotten_is_not_told(tmp_path: Path) -> None:
    found = trend(tmp_path, "+" * 10, period="20d", covered_since=T0 - 400 * DAY)
    retention = found.scene.config.retention

    assert found.covered == NOW - retention
    assert found.at(NOW - retention + 20 * DAY - MINUTE) is None
