"""What the board answers, as stories: runs as text, times in minutes since a fixed, dull moment."""

import tracemalloc
from datetime import timedelta

import pytest

from k2alert.intervals import Interval, Range, Span
from k2alert.labels import Labels, parse_matcher
from k2alert.measure.board import Board
from k2alert.model import (
    RESULTS,
    Entry,
    EntryChange,
    EvidenceRefs,
    Kind,
    Measured,
    OpenChange,
    OpenEntry,
    Result,
    RunState,
    Saved,
    Selection,
    Stream,
    Window,
)

MINUTE = 60_000
DAY = Window(length=timedelta(days=1))
BY_PROJECT = Selection((), ("project",))
APP = Labels({"source": "gitlab", "project": "k2/app"})
RUNS, JOBS = frozenset({Kind.RUN}), frozenset({Kind.JOB})
LETTERS = {"+": "success", "-": "failure", "E": "error", "T": "timeout", "c": "cancellation", "s": "skip"}

MAIN = Stream(1, Kind.RUN, APP.merged({"branch": "main", "ref_type": "default"}))
TOPIC = Stream(2, Kind.RUN, APP.merged({"branch": "topic", "ref_type": "branch"}))
OTHER = Stream(3, Kind.RUN, Labels({"source": "gitlab", "project": "k2/lib", "branch": "main"}))
TEST = Stream(4, Kind.JOB, APP.merged({"branch": "main", "job": "test", "runner": "big"}))
LINT = Stream(5, Kind.JOB, APP.merged({"branch": "main", "job": "lint"}))


def run(
    ref: int,
    letter: str = "+",
    *,
    stream: Stream = MAIN,
    finished: float,
    created: float | None = None,
    superseded: float | None = None,
    duration: float | None = 5,
    allowed: bool = False,
    retry: bool = False,
) -> Entry:
    """A row; times and lengths in minutes. It was created five minutes before it finished."""
    return Entry(
        stream=stream.id,
        ref=ref,
        created=round((finished - 5 if created is None else created) * MINUTE),
        finished=round(finished * MINUTE),
        superseded=None if superseded is None else round(superseded * MINUTE),
        result=RESULTS.index(Result(LETTERS[letter])),
        duration=None if duration is None else round(duration * MINUTE),
        queued=None,
        allowed=allowed,
        retry=retry,
    )


def runs(results: str, *, stream: Stream = MAIN, first: int = 1) -> list[Entry]:
    """One run every ten minutes, numbered from `first`; run n finishes at 10 · n."""
    return [
        run(ref, letter, stream=stream, finished=10 * ref) for ref, letter in enumerate(results, first) if letter != "_"
    ]


def board_with(*entries: Entry, selection: Selection = BY_PROJECT, kind: Kind = Kind.RUN) -> Board:
    board = Board(lambda _: Labels())
    board.require(selection, frozenset({kind}))
    board.add_streams([MAIN, TOPIC, OTHER, TEST, LINT])
    board.load(kind, sorted(entries, key=lambda entry: entry.finished))
    return board


def ask(
    board: Board, metric: str, at: float, *, window: Window = DAY, labels: Labels = APP, by: Selection = BY_PROJECT
) -> Measured:
    return board.measure(by, metric, labels, window, round(at * MINUTE))


# --------------------------------------------------------------------------------------------- windows


def test_a_window_holds_its_end_and_not_its_beginning() -> None:
    board = board_with(*runs("+-+"))
    twenty = Window(length=timedelta(minutes=20))
    assert ask(board, "total_pipelines", 30, window=twenty).value == 2
    assert ask(board, "total_pipelines", 29.99, window=twenty).value == 2
    assert ask(board, "total_pipelines", 29.99, window=Window(length=timedelta(minutes=20, seconds=-1))).value == 1


def test_until_a_rerun_finishes_the_last_outcome_counts_and_the_past_keeps_it() -> None:
    board = board_with(run(1, "-", finished=10, superseded=40), run(2, "+", finished=40, created=5, retry=True))
    assert ask(board, "success_rate", 39.99) == Measured(0.0, 1)
    assert ask(board, "success_rate", 40) == Measured(1.0, 1)
    assert ask(board, "success_rate", 39.99) == Measured(0.0, 1)


@pytest.mark.parametrize(
    ("results", "window", "rate", "total"),
    [
        ("--++++", 4, 1.0, 4),
        ("-+c+s", 2, 1.0, 4),  # what was cancelled or skipped since the second last decided run is there, undecided
        ("-+", 5, 0.5, 2),
        ("ccs", 2, None, 3),
    ],
)
def test_a_window_of_runs_begins_with_the_nth_last_decided_run(
    results: str, window: int, rate: float | None, total: int
) -> None:
    board = board_with(*runs(results))
    assert ask(board, "success_rate", 100, window=Window(runs=window)).value == rate
    assert ask(board, "total_pipelines", 100, window=Window(runs=window)).value == total


def test_a_window_of_runs_holds_all_the_jobs_of_those_runs() -> None:
    older = [run(n, "-", stream=TEST, created=0, finished=n) for n in range(1, 6)]
    newer = [run(n, "+", stream=LINT, created=4, finished=n) for n in range(6, 9)]
    late = run(9, "-", stream=TEST, created=4, finished=4.5)
    board = board_with(*older, *newer, late, kind=Kind.JOB)
    assert ask(board, "failed_jobs", 20, window=Window(runs=1)) == Measured(1, 4)
    assert ask(board, "failed_jobs", 20, window=Window(runs=2)) == Measured(6, 9)


def test_a_job_that_the_forge_says_ended_before_its_run_began_is_still_one_of_its_jobs() -> None:
    hasty = run(1, "-", stream=TEST, created=10, finished=8)
    board = board_with(hasty, run(2, stream=LINT, created=10, finished=12), kind=Kind.JOB)
    assert ask(board, "failed_jobs", 20, window=Window(runs=1)) == Measured(1, 2)


# --------------------------------------------------------------------------------------------- formulas


def test_counts_are_zero_where_nothing_is_and_everything_else_is_no_data() -> None:
    board = board_with()
    for name in ("total_pipelines", "successful_pipelines", "failed_pipelines", "cancelled_pipelines"):
        assert ask(board, name, 10) == Measured(0, 0)
    for name in ("success_rate", "avg_duration_minutes", "p95_duration_minutes", "health_score", "minutes_since_run"):
        assert ask(board, name, 10) == Measured(None, 0)


def test_decided_runs_alone_are_in_ratios() -> None:
    board = board_with(*runs("++-ETccs"))
    assert ask(board, "success_rate", 100) == Measured(0.4, 5)
    assert ask(board, "error_rate", 100) == Measured(0.2, 5)
    assert ask(board, "failed_pipelines", 100) == Measured(3, 5)
    assert ask(board, "cancelled_pipelines", 100) == Measured(2, 8)


@pytest.mark.parametrize(
    ("metric", "minutes"),
    [
        ("avg_duration_minutes", 4.0),
        ("median_duration_minutes", 2.5),
        ("p95_duration_minutes", 8.95),
        ("p99_duration_minutes", 9.79),
        ("max_duration_minutes", 10.0),
    ],
)
def test_quantiles_interpolate_between_the_two_lengths_they_lie_between(metric: str, minutes: float) -> None:
    known = [run(n, finished=n, duration=d) for n, d in enumerate((1, 10, 2, 3), start=1)]
    unknown = run(9, finished=9, duration=None)
    cancelled = run(10, "c", finished=9, duration=500)
    board = board_with(*known, unknown, cancelled)
    assert ask(board, metric, 20) == Measured(minutes, 4)


def test_health_joins_success_and_speed() -> None:
    assert ask(board_with(*runs("++++")), "health_score", 50) == Measured(1.0, 4)
    slow = [run(n, letter, finished=n, duration=35) for n, letter in enumerate("+-", start=1)]
    assert ask(board_with(*slow), "health_score", 50) == Measured(0.7 * 0.5 + 0.3 * 0.5, 2)


def test_ages_know_no_period() -> None:
    board = board_with(*runs("+-c"))
    short = Window(length=timedelta(minutes=1))
    assert ask(board, "minutes_since_success", 5000, window=short) == Measured(4990.0, 1)
    assert ask(board, "minutes_since_run", 5000, window=short) == Measured(4970.0, 1)
    assert ask(board, "minutes_since_success", 9) == Measured(None, 0)


def test_a_failure_that_is_allowed_counts_for_no_job_metric_but_the_runners_minutes() -> None:
    board = board_with(
        run(1, "+", stream=TEST, finished=1, duration=2),
        run(2, "-", stream=LINT, finished=2, duration=60, allowed=True),
        run(3, "+", stream=LINT, finished=3, duration=4, allowed=True),
        kind=Kind.JOB,
    )
    assert ask(board, "job_success_rate", 10) == Measured(1.0, 2)
    assert ask(board, "failed_jobs", 10) == Measured(0, 2)
    assert ask(board, "avg_job_duration_minutes", 10) == Measured(3.0, 2)
    assert ask(board, "runner_minutes", 10) == Measured(66.0, 3)


def test_a_retried_job_counts_once_and_its_minutes_every_time() -> None:
    first = run(1, "-", stream=TEST, created=0, finished=10, superseded=20)
    again = run(2, "+", stream=TEST, created=0, finished=20, retry=True)
    board = board_with(first, again, run(3, stream=LINT, created=0, finished=12), kind=Kind.JOB)
    assert ask(board, "job_retry_rate", 30) == Measured(0.5, 2)
    assert ask(board, "job_retry_rate", 15) == Measured(0.0, 2)
    assert ask(board, "job_success_rate", 30) == Measured(1.0, 2)
    assert ask(board, "runner_minutes", 30) == Measured(15.0, 3)


# ---------------------------------------------------------------------------------------------- streaks


@pytest.mark.parametrize(
    ("results", "streak"),
    [("---", 3), ("+--", 2), ("--+", 0), ("-c-s", 2), ("-ET", 3), ("c", None), ("", None)],
)
def test_a_streak_is_the_decided_runs_since_the_last_green(results: str, streak: int | None) -> None:
    assert ask(board_with(*runs(results)), "consecutive_failures", 100).value == streak


def test_a_newer_green_wins_though_an_older_red_finishes_after_it() -> None:
    slow_red = run(1, "-", created=0, finished=50)
    quick_green = run(2, "+", created=10, finished=20)
    assert ask(board_with(slow_red, quick_green), "consecutive_failures", 60).value == 0


def test_a_streak_reaches_back_further_than_the_period() -> None:
    board = board_with(*runs("+-----"))
    hour = Window(length=timedelta(minutes=15))
    assert ask(board, "consecutive_failures", 60, window=hour) == Measured(5, 2)
    assert ask(board, "consecutive_failures", 80, window=hour) == Measured(None, 0)


def test_a_coarser_by_takes_the_worst_workflow_and_branch() -> None:
    board = board_with(*runs("+__--"), *runs("-+_-", stream=TOPIC, first=11))
    assert ask(board, "consecutive_failures", 200).value == 2
    assert ask(board, "consecutive_failures", 45).value == 1
    assert board.evidence(BY_PROJECT, "consecutive_failures", APP, DAY, 200 * MINUTE, 10) == EvidenceRefs(
        Kind.RUN, (5, 4), 2, 6, first_failing=4, last_green=1
    )


def test_a_streak_forgets_a_red_run_that_a_green_rerun_beyond_the_selection_superseded() -> None:
    reds = Selection((parse_matcher('result="failure"'),), ("project",))
    healed = run(1, "-", finished=10, superseded=42)
    green = run(2, "+", created=5, finished=42, retry=True)
    board = board_with(healed, green, run(3, "-", finished=30), selection=reds)
    quarter = Window(length=timedelta(minutes=15))
    assert [ask(board, "consecutive_failures", at, window=quarter, by=reds).value for at in (40, 43, 40)] == [2, 1, 2]


# ------------------------------------------------------------------------------------------ what is open


def opened(key: str, state: RunState, *, created: float, stream: Stream = MAIN) -> OpenChange:
    entry = OpenEntry(stream.id, key, state, round(created * MINUTE), None)
    return OpenChange(stream.kind, key, entry)


def test_open_runs_are_counted_as_they_stand() -> None:
    board = board_with()
    waiting = [opened("1", RunState.PENDING, created=10), opened("2", RunState.PENDING, created=20)]
    board.apply(Saved(opens=[*waiting, opened("3", RunState.BLOCKED, created=0)]))
    assert ask(board, "pending_pipelines", 30).value == 2
    assert ask(board, "oldest_pending_minutes", 30).value == 20.0
    board.apply(Saved(opens=[opened("1", RunState.RUNNING, created=10), OpenChange(Kind.RUN, "2", None)]))
    assert ask(board, "pending_pipelines", 30).value == 0
    assert ask(board, "running_pipelines", 30).value == 1
    assert ask(board, "oldest_pending_minutes", 30).value == 0


def test_a_label_set_is_known_by_what_finished_in_the_window_or_is_open() -> None:
    board = board_with(*runs("+"), run(9, stream=OTHER, finished=9000))
    lib = Labels({"source": "gitlab", "project": "k2/lib"})
    assert board.label_sets(BY_PROJECT, DAY, 9000 * MINUTE, Kind.RUN) == [lib]
    board.apply(Saved(opens=[opened("1", RunState.PENDING, created=8000)]))
    assert set(board.label_sets(BY_PROJECT, DAY, 9000 * MINUTE, Kind.RUN)) == {APP, lib}


# ----------------------------------------------------------------------------- selections and their facts


def test_a_selection_that_was_not_loaded_cannot_be_measured() -> None:
    board = Board(lambda _: Labels())
    board.require(BY_PROJECT, RUNS)
    with pytest.raises(LookupError):
        ask(board, "total_pipelines", 10)
    board.load(Kind.RUN, ())
    assert ask(board, "total_pipelines", 10) == Measured(0, 0)


def test_an_unknown_name_is_an_error() -> None:
    board = board_with()
    with pytest.raises(KeyError):
        ask(board, "no_such_metric", 10)


def test_a_selection_required_later_is_loaded_without_counting_twice() -> None:
    facts = runs("+-")
    board = board_with(*facts)
    board.apply(Saved(opens=[opened("7", RunState.RUNNING, created=1)]))
    by_branch = Selection((), ("branch",))
    assert not board.require(BY_PROJECT, RUNS)
    assert board.require(by_branch, RUNS)
    board.apply(Saved(entries=[EntryChange(Kind.RUN, None, run(3, finished=30))]))
    board.load(Kind.RUN, [*facts, run(3, finished=30)])
    main = Labels({"source": "gitlab", "branch": "main"})
    assert ask(board, "total_pipelines", 100).value == 3
    assert ask(board, "total_pipelines", 100, by=by_branch, labels=main).value == 3
    assert ask(board, "running_pipelines", 100, by=by_branch, labels=main).value == 1


def test_a_load_may_come_in_parts() -> None:
    board = Board(lambda _: Labels())
    board.require(BY_PROJECT, RUNS)
    board.add_streams([MAIN])
    board.load(Kind.RUN, runs("+-"), more=True)
    board.load(Kind.RUN, runs("+", first=3))
    assert ask(board, "total_pipelines", 100).value == 3


def test_kinds_are_kept_apart() -> None:
    board = board_with(*runs("+"))
    assert board.require(BY_PROJECT, JOBS)
    board.load(Kind.JOB, [run(1, "-", stream=TEST, finished=1)])
    assert ask(board, "total_pipelines", 50).value == 1
    assert ask(board, "failed_jobs", 50).value == 1


def test_the_parts_of_two_kinds_may_take_turns() -> None:
    board = Board(lambda _: Labels())
    board.require(BY_PROJECT, RUNS | JOBS)
    board.add_streams([MAIN, TEST])
    board.load(Kind.RUN, runs("+"), more=True)
    board.load(Kind.JOB, [run(1, "-", stream=TEST, finished=1)], more=True)
    board.load(Kind.RUN, runs("+", first=3))
    board.load(Kind.JOB, [run(2, "-", stream=TEST, finished=2)])
    assert ask(board, "total_pipelines", 100).value == 2
    assert ask(board, "failed_jobs", 100).value == 2


def test_matchers_see_fact_labels_project_labels_and_the_result() -> None:
    match = [parse_matcher(text) for text in ('ref_type="default"', 'team="core"', 'result=~"failure|error"')]
    failing = Selection(tuple(match), ("project", "team"))
    board = Board(lambda labels: Labels({"team": "core" if labels["project"] == "k2/app" else "other"}))
    board.require(failing, RUNS)
    board.add_streams([MAIN, TOPIC, OTHER])
    board.load(Kind.RUN, [*runs("+-E"), *runs("-", stream=TOPIC, first=8), *runs("-", stream=OTHER, first=9)])
    team = APP.merged({"team": "core"})
    assert board.label_sets(failing, DAY, 200 * MINUTE, Kind.RUN) == [team]
    assert ask(board, "total_pipelines", 200, by=failing, labels=team) == Measured(2, 2)


def test_a_series_is_dropped_when_nothing_is_in_it_and_begins_anew() -> None:
    other = run(9, stream=OTHER, finished=5)
    lib = Labels({"source": "gitlab", "project": "k2/lib"})
    board = board_with(*runs("-+-"), other)
    board.drop_empty()
    assert set(board.label_sets(BY_PROJECT, DAY, 100 * MINUTE, Kind.RUN)) == {APP, lib}
    board.apply(Saved(entries=[EntryChange(Kind.RUN, other, None)]))
    board.drop_empty()
    assert ask(board, "success_rate", 100) == Measured(1 / 3, 3)
    assert board.label_sets(BY_PROJECT, DAY, 100 * MINUTE, Kind.RUN) == [APP]
    board.apply(Saved(entries=[EntryChange(Kind.RUN, None, run(10, "-", stream=OTHER, finished=50))]))
    assert ask(board, "failed_pipelines", 100, labels=lib).value == 1


def test_a_stream_that_is_forgotten_comes_back_under_another_number() -> None:
    other = run(9, stream=OTHER, finished=5)
    lib = Labels({"source": "gitlab", "project": "k2/lib"})
    board = board_with(*runs("-+-"), other)
    board.apply(Saved(entries=[EntryChange(Kind.RUN, other, None)], gone=[OTHER.id]))
    with pytest.raises(KeyError):
        board.apply(Saved(entries=[EntryChange(Kind.RUN, None, other)]))
    again = OTHER._replace(id=99)
    back = run(10, "-", stream=again, finished=50)
    board.apply(Saved(streams=[again], entries=[EntryChange(Kind.RUN, None, back)]))
    assert ask(board, "failed_pipelines", 100, labels=lib).value == 1
    assert ask(board, "success_rate", 100) == Measured(1 / 3, 3)


def test_a_branch_is_not_taken_for_another_when_one_is_forgotten() -> None:
    board = board_with(*runs("--", stream=TOPIC))
    fresh = Stream(6, Kind.RUN, APP.merged({"branch": "fresh"}))
    board.apply(Saved(gone=[MAIN.id, TEST.id, LINT.id]))
    board.apply(Saved(streams=[fresh], entries=[EntryChange(Kind.RUN, None, run(9, "+", stream=fresh, finished=50))]))
    assert ask(board, "consecutive_failures", 100).value == 2


def test_nothing_is_left_of_branches_that_are_forgotten() -> None:
    board = board_with()
    held = []
    tracemalloc.start()
    for first in (10, 10_000, 20_000):
        numbers = range(first, first + 1000)
        board.apply(Saved(streams=[Stream(n, Kind.RUN, APP.merged({"branch": f"topic {n}"})) for n in numbers]))
        board.apply(Saved(gone=numbers))
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[2] - held[1] < 10_000


def test_taking_out_more_than_was_ever_added_up_leaves_nothing_stale() -> None:
    first, later = runs("+"), runs("++---", first=2)
    board = board_with(*first)
    assert ask(board, "success_rate", 100) == Measured(1.0, 1)
    board.apply(Saved(entries=[EntryChange(Kind.RUN, None, entry) for entry in later]))
    board.apply(Saved(entries=[EntryChange(Kind.RUN, entry, None) for entry in [*first, *later[:3]]]))
    assert ask(board, "success_rate", 100) == Measured(0.0, 2)


# --------------------------------------------------------------------------------------------- evidence


@pytest.mark.parametrize(
    ("metric", "refs", "faults", "samples"),
    [
        ("success_rate", (6, 5), 3, 5),
        ("failed_pipelines", (6, 5), 3, 5),
        ("error_rate", (5,), 1, 5),
        ("total_pipelines", (7, 6), 7, 7),
        ("successful_pipelines", (4, 1), 2, 5),
        ("cancelled_pipelines", (7, 3), 2, 7),
        ("avg_duration_minutes", (6, 5), 5, 5),
        ("consecutive_failures", (6, 5), 2, 5),
    ],
)
def test_evidence_is_what_did_it(metric: str, refs: tuple[int, ...], faults: int, samples: int) -> None:
    board = board_with(*(entry._replace(duration=entry.ref) for entry in runs("+-c+E-c")))
    found = board.evidence(BY_PROJECT, metric, APP, DAY, 100 * MINUTE, 2)
    assert found == EvidenceRefs(Kind.RUN, refs, faults, samples, first_failing=5, last_green=4)


def test_evidence_of_jobs_are_the_failing_jobs() -> None:
    failing = run(2, "-", stream=TEST, finished=2)
    board = board_with(run(1, stream=TEST, finished=1), failing, run(3, stream=LINT, finished=3), kind=Kind.JOB)
    found = board.evidence(BY_PROJECT, "job_success_rate", APP, DAY, 10 * MINUTE, 10)
    assert found == EvidenceRefs(Kind.JOB, (2,), 1, 3, None, None)


# --------------------------------------------------------------------------------- times that don't count

NIGHTLY = Interval("nightly", (Span(times=(Range(2 * 60, 4 * 60),)),))  # from 02:00 to 04:00, UTC


def test_facts_that_finished_in_a_time_interval_do_not_count() -> None:
    by_day = Selection((), ("project",), (NIGHTLY,))
    board = Board(lambda _: Labels())
    board.require(by_day, RUNS)
    board.add_streams([MAIN])
    board.load(Kind.RUN, [run(1, "-", finished=119), run(2, "-", finished=120), run(3, "+", finished=239.9)])
    moved = EntryChange(Kind.RUN, run(1, "-", finished=119), run(1, "-", finished=130))
    at = 300 * MINUTE

    assert board.measure(by_day, "failed_pipelines", APP, DAY, at) == Measured(1, 1)
    board.apply(Saved(entries=[EntryChange(Kind.RUN, None, run(4, "+", finished=240))]))
    assert board.measure(by_day, "success_rate", APP, DAY, at) == Measured(0.5, 2)
    board.apply(Saved(entries=[moved]))  # a correction put its end into the night
    assert board.measure(by_day, "failed_pipelines", APP, DAY, at) == Measured(0, 1)
    assert board.measure(by_day, "total_pipelines", APP, DAY, 200 * MINUTE) == Measured(0, 0)
    board.apply(Saved(entries=[EntryChange(Kind.RUN, moved.new, moved.old)]))
    assert board.measure(by_day, "failed_pipelines", APP, DAY, at) == Measured(1, 2)
