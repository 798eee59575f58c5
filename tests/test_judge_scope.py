"""The functions of conditions, one by one, over measures written down by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k2alert.judge.scope import Scope, wilson
from k2alert.labels import Labels
from k2alert.model import Measured, Rule, Window
from k2alert.times import to_ms
from tests.support.judging import CATALOGUE, DAY, WrittenMeasures, condition, fixed, rule

IDENTITY = Labels({"source": "gitlab", "project": "k2/app"})
AT = to_ms(datetime(2026, 3, 10, 12, tzinfo=UTC))
HOUR = 3_600_000


def scope(measures: WrittenMeasures, of: Rule | None = None, labels: Labels = IDENTITY, at: int = AT) -> Scope:
    judged = of or rule("success_rate < 0.95")
    return Scope(judged, identity=IDENTITY, labels=labels, measures=measures, metrics=CATALOGUE, at=at)


def holds(text: str, measures: WrittenMeasures, **keys: Any) -> bool | None:
    return condition(text).evaluate(scope(measures, **keys))


def test_a_metric_is_measured_once_over_the_period_for_the_identity() -> None:
    measures = fixed(success_rate=0.9)
    assert holds("0 < success_rate < 1 and success_rate != 2 and samples('success_rate') == 100", measures) is True
    assert measures.asked == [("success_rate", IDENTITY, DAY, AT)]


def test_value_measures_another_window_or_an_earlier_time() -> None:
    measures = fixed(success_rate=0.9)
    text = "value('success_rate', window='1h', offset='24h') == value('success_rate', offset='1d')"
    assert holds(text + " == value('success_rate', window='20 runs') == value('success_rate')", measures) is True
    assert [(window, at) for _, _, window, at in measures.asked] == [
        (Window(length=timedelta(hours=1)), AT - 24 * HOUR),
        (DAY, AT - 24 * HOUR),
        (Window(runs=20), AT),
        (DAY, AT),
    ]


@pytest.mark.parametrize(
    ("metric", "samples", "expected"),
    [
        ("success_rate", 9, None),
        ("success_rate", 10, 0.5),
        ("avg_duration_minutes", 9, None),
        ("p95_duration_minutes", 9, None),
        ("total_pipelines", 9, 0.5),
        ("consecutive_failures", 0, 0.5),
        ("minutes_since_success", 1, 0.5),
        ("running_pipelines", 0, 0.5),
    ],
)
def test_too_few_samples_are_no_data_for_ratios_means_and_quantiles(
    metric: str, samples: int, expected: float | None
) -> None:
    judged = rule("success_rate < 0.95", min_samples=10)
    looked = scope(fixed(samples, **{metric: 0.5}), judged)
    assert looked[metric] == expected
    assert looked.functions["value"](metric, window="1h") == expected
    assert looked.functions["samples"](metric) == samples
    assert looked.functions["absent"](metric) is (expected is None)
    assert looked.functions["default"](metric, 7) == (7 if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(0 - 2) == 2", True),
        ("min(3, 1, 2) == 1", True),
        ("max(3, 1, 2) == 3", True),
        ("round(2.567, 1) == 2.6", True),
        ("round(2.567) == 3", True),
        ("abs(coverage) == 1", None),
        ("min(1, coverage) == 1", None),
        ("max(1, coverage) == 1", None),
        ("round(coverage, 2) == 1", None),
        ("absent('coverage')", True),
        ("absent('success_rate')", False),
        ("samples('coverage') == 100", True),
        ("default('coverage', 80) == 80", True),
        ("default('success_rate', 80) == 0.9", True),
        ("default('coverage', coverage) == 80", None),
        ("lower('success_rate') < 0.9 < upper('success_rate')", True),
        ("lower('error_rate') < 1", None),
        ("upper('error_rate') < 1", None),
    ],
)
def test_functions_say_what_the_contract_says(text: str, expected: bool | None) -> None:
    assert holds(text, fixed(success_rate=0.9)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label('tier', 3) == 2.5", True),
        ("label('team', 'nobody') == 'payments'", True),
        ("label('absent', 'nobody') == 'nobody'", True),
        ("label('absent', 0.75) == 0.75", True),
        ("label('team', 0.75) == 0.75", True),  # not a number: the rule goes on with its own
        ("label('endless', -1) == -1", True),
        ("label('tier', 'x') == '2.5'", True),
    ],
)
def test_labels_are_numbers_where_their_default_is_one(text: str, expected: bool) -> None:
    labels = Labels({"tier": "2.5", "team": "payments", "endless": "inf"})
    assert holds(text, fixed(), labels=labels) is expected


# The examples of R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17
# (1998), method 3; the last is the mirror image of 0 of 29.
@pytest.mark.parametrize(
    ("of", "samples", "lower", "upper"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_bounds_are_wilsons(of: int, samples: int, lower: float, upper: float) -> None:
    assert wilson(of / samples, samples, -1) == pytest.approx(lower, abs=5e-5)
    assert wilson(of / samples, samples, +1) == pytest.approx(upper, abs=5e-5)


def test_there_are_no_bounds_without_samples() -> None:
    assert wilson(0.5, 0, -1) is None


def daily(values: Mapping[int, float | None], samples: int = 5) -> WrittenMeasures:
    """Measures by the day of March 2026 (0 is the last of February) in which their window ends."""
    midnight = to_ms(datetime(2026, 2, 28, tzinfo=UTC))

    def answer(metric: str, window: Window, at: int) -> Measured:
        value = values.get((at - 1 - midnight) // 86_400_000)
        return Measured(value, 0 if value is None else samples)

    return WrittenMeasures(answer)


def test_a_baseline_is_the_median_over_utc_days_before_the_window() -> None:
    # At noon of the 10th, with a period of a day, the seven days before the window run from noon of the 2nd.
    measures = daily({day: float(day) for day in range(11)})
    assert scope(measures).functions["baseline"]("success_rate", "7d") == 5.5
    spans = [(window.length, at) for _, _, window, at in measures.asked]
    whole, half = timedelta(days=1), timedelta(hours=12)
    midnights = [AT - 12 * HOUR - days * 24 * HOUR for days in (7, 6, 5, 4, 3, 2, 1)]
    assert spans == [
        (half, midnights[0]),
        *((whole, midnight) for midnight in midnights[1:]),
        (half, AT - 24 * HOUR),
    ]


def test_a_baseline_needs_seven_days_with_data() -> None:
    seven = dict.fromkeys(range(2, 9), 1.0)
    assert scope(daily(seven)).functions["baseline"]("success_rate", "30d") == 1.0
    six = {**seven, 4: None}
    assert scope(daily(six)).functions["baseline"]("success_rate", "30d") is None


def test_a_day_without_runs_is_no_day_with_data_though_its_count_is_zero() -> None:
    def answer(metric: str, window: Window, at: int) -> Measured:
        return Measured(0, 0)

    assert scope(WrittenMeasures(answer)).functions["baseline"]("total_pipelines", "30d") is None


def test_days_with_too_few_samples_do_not_count_for_a_baseline() -> None:
    judged = rule("success_rate < 0.95", min_samples=10)
    measures = daily(dict.fromkeys(range(10), 1.0), samples=9)
    assert scope(measures, judged).functions["baseline"]("success_rate", "30d") is None
    assert scope(measures, judged).functions["baseline"]("failed_pipelines", "30d") == 1.0
