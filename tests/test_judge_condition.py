"""What conditions may say, what they may not and where they are told so, and what is known of them at load."""

import warnings
from datetime import timedelta

import pytest

from k2alert.judge.condition import ConditionError
from k2alert.judge.grammar import Use
from k2alert.judge.window import parse_window
from k2alert.model import Window
from tests.support.judging import condition

RUNS = Window(runs=20)


@pytest.mark.parametrize(
    "text",
    [
        "success_rate < 0.95",  # the seed's four
        "avg_duration_minutes > 30",
        "flaky_test_rate > 0.05",
        "coverage_drop > 2",
        "0 < success_rate <= 0.5",
        "not (success_rate >= 0.95 or total_pipelines < 10)",
        "avg_duration_minutes > 1.5 * baseline('avg_duration_minutes', '30d')",
        'value("success_rate", window="1h", offset="24h") - success_rate > 0.2',
        'value("success_rate", window="20 runs") < 0.5',
        'label("team", "") in ["payments", "search"] and success_rate < 0.9',
        'label("tier", 3) not in (1, -2)',
        'label("a", "x") == label("b", "x")',
        'success_rate < label("min_success", 0.75)',
        'success_rate < (0.99 if label("tier", "") == "gold" else 0.9)',
        'lower("success_rate") < 0.5 or upper("error_rate") > +0.5',
        'absent("coverage") == (total_pipelines > 3)',
        'default("coverage", -1) < 70',
        "round(success_rate, 2) == 0.95 and round(abs(min(1, 2, 3)) + max(1, 2)) > 0",
        "value('running_pipelines') > 20",
        "1 < 2",
        "\n  success_rate < 0.95\n  and total_pipelines > 3\n",
    ],
)
def test_what_the_contract_lists_compiles(text: str) -> None:
    assert condition(text, retention=timedelta(days=35)).text == text


ERRORS = [
    # text, column, a part of what is said
    ("", 0, "empty"),
    (" \n ", 0, "empty"),
    ("success_rate", 0, "must be true or false"),
    ("success_rate - 0.95", 0, "must be true or false"),
    ("'text'", 0, "must be true or false"),
    ("sucess_rate < 0.95", 0, "did you mean 'success_rate'?"),
    ("1 < 2 and sucess_rate < 0.95", 10, "did you mean 'success_rate'?"),
    ("zzz > 1", 0, "unknown name 'zzz'"),
    ("'ä' == 'ä' and zzz > 1", 15, "unknown name 'zzz'"),  # characters are counted, not bytes
    ("\n\n zzz > 1", 3, "unknown name 'zzz'"),
    ("success_rate = 0.95", 13, "use == to compare, not ="),
    ("value('success_rate', window='1h') = 1", 35, "use == to compare, not ="),
    ("success_rate => 0.95", 13, "write >="),
    ("success_rate =< 0.95", 13, "write <="),
    ("success_rate < 95%", 17, "as a ratio: 0.95 instead of 95%"),
    ("success_rate < 1 && 1 < 2", 17, "write and"),
    ("success_rate < 1 || 1 < 2", 17, "write or"),
    ("!(success_rate < 1)", 0, "write not"),
    ("success_rate < 1 AND 1 < 2", 17, "lower case"),
    ("success_rate < 1; 1 < 2", 16, "one expression"),
    ("success_rate < 1 # low", 17, "comment"),
    ("success_rate < 1 # low\nand 1 > 2", 17, "comment"),  # or the line below would be lost without a word
    ("'#' == 'a' and success_rate < (", 30, "ends too early"),
    ("label('a', '\\n') == 'b'", 12, "backslash"),
    ("label('a', '''b''') == 'b'", 11, "triple quotes"),
    ("success_rate.real < 1", 0, "dot after a name"),
    ("success_rate[0] < 1", 0, "square brackets"),
    ("success_rate < 1 & total_pipelines > 1", 15, "& is not allowed; write and"),
    ("success_rate < 1 | 2", 15, "| is not allowed; write or"),
    ("2 ** 3 > 1", 0, "** is not allowed"),
    ("7 % 2 == 1", 0, "% is not allowed"),
    ("7 // 2 == 3", 0, "// is not allowed"),
    ("1 << 2 == 4", 0, "not allowed"),
    ("success_rate is 1", 0, "use =="),
    ("success_rate is not 1", 0, "use !="),
    ("~1 < 2", 0, "write not"),
    ("lambda: 1", 0, "lambda"),
    ("(x := 1) < 2", 1, ":="),
    ("f'{success_rate}' == ''", 0, "f-strings"),
    ("[x for x in [1]] == [1]", 0, "comprehensions"),
    ("{1: 2} == 1", 0, "braces"),
    ("1 in {1, 2}", 5, "list"),
    ("success_rate < True", 15, "True is not a number"),
    ("success_rate < None", 15, "None is not a number"),
    ("success_rate < ...", 15, "not a number"),
    ("b'x' == 'x'", 0, "not a number or text"),
    ("success_rate < 1j", 15, "not a number"),
    ("success_rate < 1e999", 15, "too large"),
    ("success_rate < 2e15", 15, "too large"),
    (f"label('a', '{'x' * 201}') == ''", 11, "text too long"),
    ("success_rate and 1 < 2", 0, "and takes true or false, and this is a number"),
    ("1 < 2 or 'a'", 9, "or takes true or false, and this is text"),
    ("not success_rate", 4, "not takes true or false"),
    ("-(1 < 2) < 1", 2, "- takes a number"),
    ("'a' * 3 == 'aaa'", 0, "* takes a number, and this is text"),
    ("1 + ('a' == 'b') > 1", 5, "+ takes a number"),
    ("success_rate < '1'", 15, "compares a number with text"),
    ("label('a', 'x') == 1", 19, "compares text with a number"),
    ("label('a', 'x') < 'y'", 18, "< takes a number, and this is text"),
    ("(1 < 2) < (2 < 3)", 11, "< takes a number"),
    ("1 < 2 if success_rate else 2 < 3", 9, "if takes true or false"),
    ("(1 if 1 < 2 else 'a') == 1", 17, "if gives a number and else gives text"),
    ("success_rate in 1", 16, "in looks into a list"),
    ("success_rate in []", 16, "in looks into a list"),
    ("success_rate in [1, 'a']", 20, "looks for a number in a list with text"),
    ("success_rate in [1, total_pipelines]", 20, "only numbers or only text"),
    ("success_rate in [-'a']", 17, "only numbers or only text"),
    ("1 < success_rate in [1]", 20, "does not chain"),
    ("success_rate == [1]", 16, "right of in"),
    ("samples > 3", 0, 'write samples("success_rate")'),
    ("success_rate('1h') < 1", 0, "is a metric, not a function"),
    ("basline(1) < 2", 0, "did you mean 'baseline'?"),
    ("open('f') < 2", 0, "unknown function 'open'"),
    ("success_rate()() < 2", 0, "only a function's name"),
    ("abs() < 1", 0, "write abs(x)"),
    ("abs(1, 2) < 1", 0, "write abs(x)"),
    ("abs('a') < 1", 4, "abs takes a number"),
    ("min(1) < 1", 0, "write min(x, y)"),
    ("abs(*[1]) < 1", 4, "* before a value"),
    ("abs(**1) < 1", 4, "** before a value"),
    ("abs(x=1) < 1", 4, "abs takes no x="),
    ("round(1.5, 1.0) < 1", 11, "whole number of decimals"),
    ("round(1.5, 99) < 1", 11, "whole number of decimals"),
    ("value() < 1", 0, "write value("),
    ("value(success_rate) < 1", 6, "name in quotes"),
    ("value('sucess_rate') < 1", 6, "did you mean 'success_rate'?"),
    ("value('success_rate', '1h') < 1", 0, "write value("),
    ("value('success_rate', windw='1h') < 1", 22, "takes no windw="),
    ("value('success_rate', window=1) < 1", 29, "text in quotes"),
    ("value('success_rate', window='1 hour') < 1", 29, "not a length of time"),
    ("value('success_rate', window='0') < 1", 29, "no time at all"),
    ("value('success_rate', window='0 runs') < 1", 29, "not a length of time"),
    ("value('success_rate', offset='20 runs') < 1", 29, "not a duration"),
    ("value('coverage', window='20 runs') < 1", 0, "not counted in runs"),
    ("value('running_pipelines', window='1h') < 1", 0, "is of now"),
    ("value('running_pipelines', offset='1h') < 1", 0, "is of now"),
    ("baseline('running_pipelines', '30d') < 1", 0, "is of now"),
    ("baseline('success_rate') < 1", 0, "write baseline("),
    ("baseline('success_rate', '6d') < 1", 25, "between 7d and 366d"),
    ("baseline('success_rate', '20 runs') < 1", 25, "not a duration"),
    ("samples('success_rate', window='1h') < 1", 24, "samples takes no window="),
    ("lower('total_pipelines') < 1", 6, "is for ratios, and total_pipelines is none"),
    ("upper('health_score') < 1", 6, "is for ratios"),
    ("default('success_rate') < 1", 0, "write default("),
    ("default('success_rate', 'a') < 1", 24, "default takes a number"),
    ("label('team') == 'a'", 0, "write label("),
    ("label(1, 2) == 2", 6, "label's name in quotes"),
    ("label('a', success_rate) == 2", 11, "a number or text"),
    # retention is 35 d
    ("value('success_rate', window='36d') < 1", 0, "looks back 36d, but retention is 35d"),
    ("value('success_rate', window='1h', window='2h') < 1", 35, "window= is given twice"),
    (f"absent('{'x' * 200}')", 7, f"unknown metric '{'x' * 60}…' ("),
    (f"{'x' * 200} < 1", 0, f"unknown name '{'x' * 60}…' ("),
    ("success_rate <> 1", 13, "write != instead of <>"),
    ("success_rate ≤ 0.9", 13, "write <= instead of ≤"),
    ("success_rate < 0,95", 0, "a decimal is written with a point: 0.95"),
    ("success_rate\u00a0< 0.95", 12, "a space that is none"),
    ("“success_rate” < 1", 0, "write plain quotes"),
    ("success_rate < 0.5 and", 19, "ends too early"),
    ("success_rate <", 13, "ends too early"),
    ("SUCCESS_RATE < 1", 0, "did you mean 'success_rate'?"),
    ("1 < 2 and value('success_rate', offset='35d') < 1", 10, "looks back 36d"),
    ("baseline('success_rate', '35d') < 1", 0, "looks back 36d"),
]


@pytest.mark.parametrize(("text", "column", "said"), ERRORS, ids=[text[:40] for text, _, _ in ERRORS])
def test_an_error_says_what_and_where(text: str, column: int, said: str) -> None:
    with pytest.raises(ConditionError) as caught:
        condition(text, retention=timedelta(days=35))
    assert said in caught.value.text
    assert caught.value.column_offset == column
    assert "\n" not in caught.value.text


@pytest.mark.parametrize(
    "text",
    [
        "().__class__.__bases__[0].__subclasses__() == 1",
        "__import__('os').system('id') == 0",
        "success_rate.__class__ == 1",
        "__builtins__ == 1",
        "value.__globals__ == 1",
        "[[0] * 9999 for _ in [1] * 9999] == 1",
        "[x for x in 'a' * 9999 for y in 'a' * 9999] == 1",
        "9**9**9 > 1",
        "9**99999999 > 1",
        "1 << 99999999 > 1",
        "'a' * 999999999 == 'a'",
        "'%500000000d' % 1 == ''",
        "f'{1:>500000000}' == ''",
        "'a'.ljust(500000000) == ''",
        "(" * 10_000 + "1" + ")" * 10_000 + " < 2",
        "[" * 10_000,
        "(" * 450 + "1" + ")" * 450 + " < 2",
        "-" * 900 + "1 < 2",
        "not " * 240 + "1 < 2",
        "1 < " * 200 + "1",
        "1+" * 400 + "1 < 2",
        "lambda:" * 100 + "1",
        "1 if 1 < 2 else " * 60 + "1 < 2",
        "x" * 1_000_000,
        "1 < 2 and " * 100_000 + "1 < 2",
        "9" * 900 + " > 1",
        "1e15" + " * 1e15" * 30 + " > 1",
        "rand() < 2",
        "print(1) == 1",
        "success_rate < 1\x00",
        "label('\ud800', '') == ''",
        "import os",
        "success_rate < 1\n\x0cimport os",
        "while True: pass",
        "(yield 1) == 1",
        "(await x) == 1",
        "*success_rate",
        "success_rate < 1,",
        "‘success_rate’ < 1",
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
def test_what_could_escape_or_run_away_is_refused_at_load(text: str) -> None:
    with pytest.raises(ConditionError):
        condition(text)


def test_odd_but_legal_python_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert condition("success_rate <1or 1<2")


@pytest.mark.parametrize(
    ("text", "first", "metrics"),
    [
        ("success_rate < 0.95", Use("success_rate"), {"success_rate"}),
        (
            "1 < 2 and (coverage < 70 or success_rate < 1)",
            Use("coverage", column_offset=11),
            {"coverage", "success_rate"},
        ),
        ("success_rate < 1 if coverage > 1 else 1 < 2", Use("success_rate"), {"coverage", "success_rate"}),
        ("absent('coverage') or success_rate < 1", Use("success_rate", column_offset=22), {"coverage", "success_rate"}),
        ("default('coverage', success_rate) < 1", Use("coverage", "default"), {"coverage", "success_rate"}),
        ("abs(success_rate) < 1", Use("success_rate", column_offset=4), {"success_rate"}),
        (
            "value('success_rate', window='1h', offset='2h') < 1",
            Use("success_rate", "value", Window(length=timedelta(hours=1)), timedelta(hours=2)),
            {"success_rate"},
        ),
        ("absent('coverage')", None, {"coverage"}),
        ("label('a', 1) > 1", None, set()),
    ],
)
def test_a_condition_knows_its_metrics_and_the_first_in_reading_order(
    text: str, first: Use | None, metrics: set[str]
) -> None:
    compiled = condition(text)
    assert compiled.first == first
    assert compiled.metrics == metrics


@pytest.mark.parametrize(
    ("text", "window", "days"),
    [
        ("success_rate < 1", Window(length=timedelta(days=1)), 1),
        ("success_rate < 1", RUNS, 7),
        ("consecutive_failures > 3", Window(length=timedelta(days=1)), 7),
        ("minutes_since_success > 3", Window(length=timedelta(days=10)), 10),
        ("value('success_rate', window='3d') < 1", Window(length=timedelta(days=1)), 3),
        ("value('success_rate', offset='3d') < 1", Window(length=timedelta(days=1)), 4),
        ("value('success_rate', window='20 runs', offset='1d') < 1", Window(length=timedelta(days=1)), 8),
        ("value('success_rate', window='1h') < 1", Window(length=timedelta(days=2)), 2),  # the period still counts
        ("baseline('success_rate', '30d') < 1", Window(length=timedelta(days=1)), 31),
        ("1 < 2", Window(length=timedelta(days=1)), 1),
    ],
)
def test_the_look_back_counts_period_window_offset_and_baseline(text: str, window: Window, days: int) -> None:
    assert condition(text, window=window).look_back == timedelta(days=days)


def test_a_period_in_runs_suits_runs_and_states_only() -> None:
    assert condition("success_rate < 1 and running_pipelines > 1", window=RUNS)
    with pytest.raises(ConditionError, match="coverage is not counted in runs"):
        condition("coverage < 70", window=RUNS)


def test_the_seven_days_of_streaks_and_runs_need_no_retention() -> None:
    assert condition("consecutive_failures > 3", retention=timedelta(days=2))
    assert condition("success_rate < 1", window=RUNS, retention=timedelta(days=2))


@pytest.mark.parametrize(
    ("text", "window"),
    [("24h", Window(length=timedelta(days=1))), ("20 runs", RUNS), ("1 run", Window(runs=1))],
)
def test_windows_are_lengths_of_time_or_runs(text: str, window: Window) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "0 runs", "20runs", "20 run s", "-1h", "1.5h", "9999999 runs", "١ runs"]
)
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"length of time|no time at all"):
        parse_window(text)
