"""Benchmarks that got worse: counted once, where they did, and never for what the machine did."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.labels import Labels, parse_matcher
from k2alert.measure.board import Board
from k2alert.measure.change_points import find_steps
from k2alert.measure.courses import Course
from k2alert.measure.narrow import Refs
from k2alert.model import (
    RESULTS,
    BenchmarkEntry,
    Entry,
    EntryChange,
    FactChange,
    Kind,
    Measured,
    ReportEntry,
    Result,
    Saved,
    Selection,
    Stream,
    Window,
)

DAY = 86_400_000
MONTH = Window(length=timedelta(days=100))
ALL = Selection((), ("project",))
EACH = Selection((), ("project", "benchmark"))
OF_PROJECT = Labels({"source": "s", "project": "a/b"})
LABELS = {"source": "s", "project": "a/b", "branch": "main", "ref_type": "default", "workflow": "CI"}


def entry(
    at: int, value: float, name: str = "parse", *, stream: int = 3, lower: bool = True, cpu: str = ""
) -> BenchmarkEntry:
    """The measurement of a day."""
    return BenchmarkEntry(stream, at, at * DAY, b"", name, value, "ns", lower, None, cpu)


def made(entries: list[BenchmarkEntry], *selections: Selection, runs: tuple[Entry, ...] = ()) -> Board:
    """A board that has loaded these."""
    board = Board(lambda labels: Labels())
    for selection in selections or (ALL,):
        board.require(selection, frozenset({Kind.BENCHMARK, Kind.TEST}))
    board.add_streams(
        [
            Stream(1, Kind.RUN, Labels(LABELS)),
            Stream(2, Kind.TEST, Labels({**LABELS, "job": "unit"})),
            Stream(3, Kind.BENCHMARK, Labels({**LABELS, "job": "bench"})),
            Stream(4, Kind.BENCHMARK, Labels({**LABELS, "job": "bench", "branch": "x", "ref_type": "branch"})),
        ]
    )
    board.load(Kind.RUN, runs)
    board.load_facts(Kind.TEST, ())
    board.load_facts(Kind.BENCHMARK, entries)
    return board


def regressions(board: Board, selection: Selection = ALL, labels: Labels = OF_PROJECT, at: int = 99) -> Measured:
    return board.measure(selection, "benchmark_regressions", labels, MONTH, at * DAY)


def largest(board: Board, selection: Selection = ALL, labels: Labels = OF_PROJECT, at: int = 99) -> Measured:
    return board.measure(selection, "max_benchmark_regression_percent", labels, MONTH, at * DAY)


SLOWER = [10.0] * 20 + [15.0] * 20


def test_a_step_for_the_worse_is_one_regression_and_says_how_much() -> None:
    board = made([entry(day, value) for day, value in enumerate(SLOWER)])
    assert regressions(board) == Measured(1, 1)
    assert largest(board).value == pytest.approx(50)


def test_it_counts_from_the_point_that_confirms_it_until_the_window_has_passed() -> None:
    board = made([entry(day, value) for day, value in enumerate(SLOWER)])
    week = Window(length=timedelta(days=7))
    counts = [
        board.measure(ALL, "benchmark_regressions", OF_PROJECT, week, day * DAY).value for day in (24, 25, 31, 32, 39)
    ]
    assert counts == [0, 1, 1, 0, 0]


def test_what_gets_better_is_none_and_a_rate_that_falls_is_one() -> None:
    faster = [entry(day, value) for day, value in enumerate(reversed(SLOWER))]
    assert regressions(made(faster)) == Measured(0, 1)
    fewer = [entry(day, value, lower=False) for day, value in enumerate(reversed(SLOWER))]
    assert regressions(made(fewer)) == Measured(1, 1)
    assert largest(made(fewer)).value == pytest.approx(100 / 3)


def test_nothing_measured_is_no_data_and_nothing_worse_is_none() -> None:
    assert regressions(made([])) == Measured(None, 0)
    assert largest(made([])) == Measured(None, 0)
    assert largest(made([entry(0, 10.0)])) == Measured(0.0, 1)


def test_benchmarks_are_told_apart_by_name_and_picked_by_it() -> None:
    entries = [entry(day, value, name) for day, value in enumerate(SLOWER) for name in ("parse", "print")]
    entries += [entry(day, 10.0, "scan") for day in range(40)]
    board = made(entries, ALL, EACH, Selection((parse_matcher('benchmark!="parse"'),), ("project",)))
    assert regressions(board) == Measured(2, 3)
    named = [OF_PROJECT.merged({"benchmark": name}) for name in ("parse", "print", "scan")]
    assert [regressions(board, EACH, labels).value for labels in named] == [1, 1, 0]
    assert sorted(labels["benchmark"] for labels in board.label_sets(EACH, MONTH, 99 * DAY, Kind.BENCHMARK)) == [
        "parse",
        "print",
        "scan",
    ]
    picked = Selection((parse_matcher('benchmark!="parse"'),), ("project",))
    assert regressions(board, picked) == Measured(1, 2)


def test_another_branch_or_processor_has_a_course_of_its_own() -> None:
    days = list(enumerate(SLOWER))
    assert regressions(made([entry(day, value, stream=3 if day < 20 else 4) for day, value in days])).value == 0
    assert regressions(made([entry(day, value, cpu="" if day < 20 else "Xeon") for day, value in days])).value == 0


def test_where_a_whole_report_gets_worse_at_once_it_is_the_machine() -> None:
    names = ["parse", "print", "scan", "sort", "send"]
    together = [entry(day, value, name) for day, value in enumerate(SLOWER) for name in names]
    assert regressions(made(together)) == Measured(0, 5)
    alone = [entry(day, value if name == "parse" else 10.0, name) for day, value in enumerate(SLOWER) for name in names]
    assert regressions(made(alone)) == Measured(1, 5)
    assert regressions(made([one for one in together if one.benchmark != "send"])) == Measured(4, 4)


def test_evidence_is_the_report_that_it_began_with() -> None:
    board = made([entry(day, value) for day, value in enumerate(SLOWER)])
    refs = board.evidence(ALL, "benchmark_regressions", OF_PROJECT, MONTH, 99 * DAY, 10)
    assert (refs.kind, refs.refs, refs.faults, refs.samples) == (Kind.BENCHMARK, (20,), 1, 1)


def run(day: int, minutes: float, result: Result = Result.SUCCESS, *, stream: int = 1) -> Entry:
    length = int(minutes * 60_000)
    return Entry(stream, day, day * DAY - length, day * DAY, None, RESULTS.index(result), length, 0, False, False)


def test_the_runs_of_a_workflow_are_a_benchmark_and_failures_are_not_timed() -> None:
    runs = [run(day, minutes) for day, minutes in enumerate(SLOWER)]
    failed = [run(100 + day, 1, Result.FAILURE) for day in range(30)]
    board = made([], ALL, EACH, runs=(*runs[:30], *failed))
    for late in runs[30:]:
        board.apply(Saved(entries=[EntryChange(Kind.RUN, None, late)]))
    assert regressions(board) == Measured(1, 1)
    labels = OF_PROJECT.merged({"benchmark": "pipeline:CI"})
    assert largest(board, EACH, labels).value == pytest.approx(50)
    refs = board.evidence(ALL, "benchmark_regressions", OF_PROJECT, MONTH, 99 * DAY, 10)
    assert (refs.kind, refs.refs, refs.first_failing, refs.last_green) == (Kind.RUN, (20,), 20, 19)


def test_the_tests_of_a_job_are_a_benchmark_too() -> None:
    reports = [
        ReportEntry(2, day, day * DAY, 9, 0, b"", False, 0, 0, 0, (), int(value * 1000))
        for day, value in enumerate(SLOWER)
    ]
    board = made([], ALL, EACH)
    board.apply(Saved(facts=[FactChange(Kind.TEST, None, report) for report in reports]))
    assert regressions(board, EACH, OF_PROJECT.merged({"benchmark": "suite:unit"})) == Measured(1, 1)
    board.apply(Saved(facts=[FactChange(Kind.TEST, report, None) for report in reports[20:]]))
    assert regressions(board) == Measured(0, 1)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), late=st.integers(0, 150), change=st.sampled_from([0.7, 1, 1.3, 2]))
def test_the_order_in_which_measurements_come_does_not_matter(seed: int, late: int, change: float) -> None:
    chance = Random(seed)
    values = [100 * (1 + chance.gauss(0, 0.03)) * (change if index >= 70 else 1) for index in range(150)]
    points = list(enumerate(values))
    head, tail = points[:late], points[late:]
    chance.shuffle(tail)
    course = Course(Kind.BENCHMARK, True)
    for index, value in head:
        course.insert(index, index, value)
    for index, value in tail:
        course.insert(index, index, value)
        if chance.random() < 0.2:
            course.worsenings(0, 1000)
    expected = [(step.at, step.confirmed) for step in find_steps(values) if step.after > step.before]
    assert [(step.began, step.confirmed) for step in course.worsenings(-1, 1000)] == expected


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), dropped=st.integers(0, 50), asked=st.booleans())
def test_what_retention_takes_from_the_beginning_changes_no_later_step(seed: int, dropped: int, asked: bool) -> None:
    chance = Random(seed)
    values = [100 * (1 + chance.gauss(0, 0.03)) * (1.5 if index >= 90 else 1) for index in range(140)]
    course = Course(Kind.BENCHMARK, True)
    for index, value in enumerate(values):
        course.insert(index, index, value)
        if asked and index == 100:
            course.worsenings(0, 1000)
    before = course.worsenings(-1, 1000)
    for index in range(dropped):
        course.remove(index, index)
    assert course.worsenings(-1, 1000) == before
    assert len(course) == 140 - dropped


def test_what_was_said_of_the_machine_is_said_anew_when_a_benchmark_comes_or_goes() -> None:
    names = ["parse", "print", "scan", "sort", "send"]
    found = [entry(day, value, name) for day, value in enumerate(SLOWER) for name in names]
    board, last = made([one for one in found if one.benchmark != "send"]), found[4::5]
    assert regressions(board).value == 4
    board.apply(Saved(facts=[FactChange(Kind.BENCHMARK, None, one) for one in last]))
    assert regressions(board).value == 0
    assert regressions(board, at=25).value == 0
    board.apply(Saved(facts=[FactChange(Kind.BENCHMARK, one, None) for one in last]))
    assert regressions(board).value == 4


def test_measurements_say_the_same_in_whatever_batches_they_are_loaded() -> None:
    found = [entry(day, value, name) for day, value in enumerate(SLOWER) for name in ("parse", "print")]
    for batches in ([found], [found[:30], found[30:]], [found[50:], found[:50]], [[one] for one in found]):
        board = made([])
        board.require(EACH, frozenset({Kind.BENCHMARK}))
        for batch in batches:
            board.load_facts(Kind.BENCHMARK, batch, more=True)
        board.load_facts(Kind.BENCHMARK, ())
        for name in ("parse", "print"):
            labels = OF_PROJECT.merged({"benchmark": name})
            assert [regressions(board, EACH, labels, at).value for at in (24, 25, 99)] == [0, 1, 1]


def test_steps_that_were_worked_out_beforehand_are_those_that_are_worked_out_when_asked() -> None:
    runs = tuple(run(day, 60 if day < 40 else 90) for day in range(5000))
    asked, settled = made([], ALL, runs=runs), made([], ALL, runs=runs)

    pauses = len(list(settled.settle(later=False)))

    assert pauses > 2  # so long a course is not worked out in one go
    assert list(settled.settle(later=True)) == []
    assert regressions(settled, at=60) == regressions(asked, at=60)
    assert regressions(settled, at=60).value == 1


def test_what_nobody_waits_for_has_no_data_until_it_is_worked_out() -> None:
    runs = tuple(run(day, 60 if day < 40 else 90) for day in range(2000))
    board = made([], ALL)
    board.require(EACH, frozenset({Kind.BENCHMARK}), later=True)
    board.load(Kind.RUN, runs)
    board.load_facts(Kind.BENCHMARK, ())
    labels = OF_PROJECT.merged({"benchmark": "pipeline:CI"})

    assert list(board.settle(later=False)) == []
    assert regressions(board, EACH, labels, at=60) == Measured(None, 0)
    for _ in board.settle(later=True):
        pass
    assert regressions(board, EACH, labels, at=60).value == 1

    board.apply(Saved(entries=[EntryChange(Kind.RUN, None, run(2000, 90))]))  # which takes no time to work out
    assert regressions(board, EACH, labels, at=60).value == 1


def test_what_rules_ask_for_is_not_put_off_by_gauges_that_show_it_too() -> None:
    board = made([], ALL)
    board.require(EACH, frozenset({Kind.BENCHMARK}))
    board.require(EACH, frozenset({Kind.BENCHMARK}), later=True)
    board.load(Kind.RUN, tuple(run(day, 60 if day < 40 else 90) for day in range(100)))
    board.load_facts(Kind.BENCHMARK, ())

    assert regressions(board, EACH, OF_PROJECT.merged({"benchmark": "pipeline:CI"}), at=60).value == 1


@pytest.mark.parametrize("late", [0, 3, 4990])
def test_a_course_that_was_worked_out_bit_by_bit_takes_what_comes_late(late: int) -> None:
    values = [100.0 + (number * 7919 % 13) + 40 * (number > 3000) for number in range(5000)]
    kept = [number for number in range(5000) if number != late]
    course, plain = Course(Kind.BENCHMARK, lower_is_better=True), Course(Kind.BENCHMARK, lower_is_better=True)
    course.extend(kept, Refs.of(kept), [values[number] for number in kept])
    while course.read_on(700):
        pass
    course.insert(late, late, values[late])
    for number in range(5000):
        plain.insert(number, number, values[number])
    assert course.worsenings(-1, 5000) == plain.worsenings(-1, 5000) != []
