"""Findings: what one rule says of one label set, and the numbers that its message sees."""

from datetime import timedelta
from typing import Any

import pytest

from k2alert.judge.condition import check_message
from k2alert.judge.judge import judge, message_context
from k2alert.labels import Labels
from k2alert.model import Finding, Measured, Truth, Window
from k2alert.template import TEMPLATE_FUNCTIONS, TEMPLATE_NAMES, Template, TemplateError, compile_template
from tests.support.judging import CATALOGUE, DAY, WrittenMeasures, fixed, rule

IDENTITY = Labels({"source": "gitlab", "project": "k2/app"})
LABELS = IDENTITY.merged({"alertname": "r", "min_success": "0.8", "team": "payments"})


def find(text: str, measures: WrittenMeasures, **keys: Any) -> Finding:
    judged = rule(text, **keys)
    return judge(judged, identity=IDENTITY, labels=LABELS, measures=measures, metrics=CATALOGUE, at=0)


def message(source: str) -> Template:
    return compile_template(source, names=CATALOGUE.keys() | TEMPLATE_NAMES, functions=TEMPLATE_FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "truth", "value", "threshold"),
    [
        ("success_rate < 0.95", Truth.TRUE, 0.9, 0.95),
        ("0.95 > success_rate", Truth.TRUE, 0.9, 0.95),
        ("success_rate > 0.95", Truth.FALSE, 0.9, 0.95),
        ("coverage < 70", Truth.NO_DATA, None, 70),
        ("coverage < 70 or success_rate < 0.95", Truth.TRUE, None, 70),
        ("0.5 < success_rate < 0.95", Truth.TRUE, 0.9, 0.95),
        ("success_rate < label('min_success', 0.75) + 0.15", Truth.TRUE, 0.9, 0.8 + 0.15),
        ("success_rate < coverage", Truth.NO_DATA, 0.9, None),
        ("success_rate * 100 < 95", Truth.TRUE, 0.9, None),  # 0.9 against 95 would mislead
        ("default('coverage', 80) < 70", Truth.FALSE, 80, 70),
        ("samples('success_rate') >= 50 and success_rate < 0.95", Truth.TRUE, 100, 50),
        ("success_rate in [0.9]", Truth.TRUE, 0.9, None),
        ("absent('coverage')", Truth.TRUE, None, None),
        ("label('team', '') == 'payments'", Truth.TRUE, None, None),
    ],
)
def test_a_finding_shows_the_first_metric_and_what_it_is_compared_with(
    text: str, truth: Truth, value: float | None, threshold: float | None
) -> None:
    found = find(text, fixed(success_rate=0.9))
    assert (found.truth, found.value, found.threshold) == (truth, value, threshold)
    assert (found.identity, found.labels) == (IDENTITY, LABELS)


def test_the_samples_are_those_behind_the_first_metric() -> None:
    def answer(metric: str, window: Window, at: int) -> Measured:
        return Measured(0.9, 100 if window == DAY else 4)

    measures = WrittenMeasures(answer)
    assert find("success_rate < 0.95", measures).samples == 100
    assert find("value('success_rate', window='1h') < success_rate", measures).samples == 4
    assert find("absent('coverage')", measures).samples is None


def test_too_few_samples_are_no_data_and_still_counted() -> None:
    found = find("success_rate < 0.95", fixed(3, success_rate=0.0), min_samples=10)
    assert (found.truth, found.value, found.samples) == (Truth.NO_DATA, None, 3)


def test_clear_is_judged_beside_the_condition_and_is_none_where_there_is_none() -> None:
    assert find("success_rate < 0.95", fixed(success_rate=0.96)).clears is None
    assert find("success_rate < 0.95", fixed(success_rate=0.96), clear="success_rate >= 0.97").clears is Truth.FALSE
    assert find("success_rate < 0.95", fixed(success_rate=0.97), clear="success_rate >= 0.97").clears is Truth.TRUE
    assert find("success_rate < 0.95", fixed(), clear="success_rate >= 0.97").clears is Truth.NO_DATA


def test_a_message_sees_the_numbers_that_the_condition_saw() -> None:
    measures = fixed(success_rate=0.93, avg_duration_minutes=31.5)
    judged = rule(
        "success_rate < 0.95",
        message=message(
            "{{ success_rate | percent }} of {{ samples('success_rate') }}, {{ value }} for {{ labels.team }}"
        ),
        annotations={"slow": message("{{ avg_duration_minutes | duration }}, {{ value('coverage', window='1h') }}")},
    )
    found = judge(judged, identity=IDENTITY, labels=LABELS, measures=measures, metrics=CATALOGUE, at=0)
    seen = message_context(judged, identity=IDENTITY, labels=LABELS, measures=measures, metrics=CATALOGUE, at=0)
    context = {**seen, "value": found.value, "labels": found.labels}
    assert judged.message.render(context, escape=str) == "93% of 100, 0.93 for payments"
    assert judged.annotations["slow"].render(context, escape=str) == "31m 30s, no data"


def test_a_message_measures_nothing_that_it_does_not_name() -> None:
    measures = fixed(success_rate=0.93)
    judged = rule("coverage < 70", message=message("{{ success_rate }}"))
    message_context(judged, identity=IDENTITY, labels=LABELS, measures=measures, metrics=CATALOGUE, at=0)
    assert [asked[0] for asked in measures.asked] == ["success_rate"]


@pytest.mark.parametrize(
    ("source", "days"),
    [
        ("{{ success_rate | percent }}", 1),
        ("{{ consecutive_failures }}", 7),
        ("{{ value('success_rate', window='1h', offset='2d') }}", 2),
        ("{{ abs(success_rate - baseline('success_rate', '30d')) }}", 31),
        ("{{ label('tier', -1) }} {{ default('coverage', value) }} {{ min(value, threshold) }}", 1),
    ],
)
def test_the_look_back_of_a_message_counts_its_calls(source: str, days: int) -> None:
    assert check_message(message(source), metrics=CATALOGUE, window=DAY, retention=None).days == days


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("{{ value('sucess_rate') }}", 1, "did you mean 'success_rate'?"),
        ("a\n{{ value('success_rate', window='1x') }}", 2, "not a length of time"),
        ("{{ value('success_rate', window=period) }}", 1, "text in quotes"),
        ("{{ value(reason) }}", 1, "name in quotes"),
        ("{{ baseline('success_rate', '90d') }}", 1, "looks back 91d"),
        ("{{ lower('coverage') }}", 1, "is for ratios"),
        ("{{ round() }}", 1, "write round(x)"),
    ],
)
def test_the_calls_in_a_message_are_checked_as_those_in_a_condition(source: str, line: int, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        check_message(message(source), metrics=CATALOGUE, window=DAY, retention=timedelta(days=35))
    assert (caught.value.line, said in caught.value.text) == (line, True), caught.value.text


def test_a_period_in_runs_suits_the_metrics_of_a_message_too() -> None:
    with pytest.raises(TemplateError, match="not counted in runs"):
        check_message(message("{{ coverage }}"), metrics=CATALOGUE, window=Window(runs=20), retention=None)
