"""What is said of reports, deployments and schedules, from the store to the value of a condition. Times are minutes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from k2alert.labels import Labels, parse_matcher
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    CoverageKind,
    Event,
    Fact,
    Measured,
    NameOfTest,
    RefType,
    Result,
    Schedule,
    Selection,
    TestCase,
    TestReport,
    Window,
)
from k2alert.recall import behind, fill_board
from k2alert.record import Store
from k2alert.times import parse_instant, to_ms
from tests.support.looks import at, finished_run, run
from tests.support.reported import coverage, deployment, execution, report, schedule, schedules, totals

DAY = timedelta(days=1)
APP = Labels({"source": "gitlab", "project": "k2/app"})
NO_DATA = Measured(None, 0)


async def board_of(store: Store, metric: str, selection: Selection) -> Board:
    kind = METRICS[metric].kind
    assert kind is not None
    board = Board(lambda _: Labels())
    board.require(selection, frozenset({kind}))
    await fill_board(board, store)
    return board


def selection(*match: str, by: Sequence[str] = ("project",)) -> Selection:
    return Selection(tuple(parse_matcher(text) for text in match), tuple(by))


async def ask(
    store: Store,
    metric: str,
    now: float | datetime = 1000,
    of: Selection | None = None,
    labels: Labels = APP,
    window: timedelta = DAY,
) -> Measured:
    of = of or selection()
    board = await board_of(store, metric, of)
    when = now if isinstance(now, datetime) else at(now)
    return board.measure(of, metric, labels, Window(window), to_ms(when))


async def told(store: Store, *facts: Fact, runs: str = "1 2 3 4") -> Store:
    await store.save([finished_run(name, 100 + 10 * int(name)) for name in runs.split()])
    await store.save_facts(facts)
    return store


# ----------------------------------------------------------------------------------------------- tests


async def test_executions_are_counted_and_skipped_tests_are_none(store: Store) -> None:
    await told(
        store,
        report(execution("1", 10), "a b c", "d", skipped=2),
        report(execution("2", 20), "a b c d"),
        totals(execution("3", 30), 12, failed=1, skipped=2),
    )
    assert await ask(store, "total_tests") == Measured(18, 18)
    assert await ask(store, "failed_tests") == Measured(2, 18)
    assert await ask(store, "test_failure_rate") == Measured(2 / 18, 18)
    assert await ask(store, "total_tests", 20) == Measured(8, 8)  # what had been told of by then


async def test_nothing_reported_is_a_count_of_zero_and_no_rate(store: Store) -> None:
    for metric in ("total_tests", "failed_tests", "flaky_tests", "new_flaky_tests", "deployments"):
        assert await ask(store, metric) == Measured(0, 0)
    for metric in ("test_failure_rate", "flaky_test_rate", "coverage", "coverage_drop", "schedule_overdue_minutes"):
        assert await ask(store, metric) == NO_DATA
    for metric in ("change_failure_rate", "lead_time_hours", "deployment_frequency_per_day", "time_to_restore_hours"):
        assert await ask(store, metric) == NO_DATA


A = execution("1", 10)
FLAKY: list[tuple[str, list[Fact], int]] = [
    ("a retried job", [report(A, "b", "a"), report(execution("1", 20, id="7"), "a b")], 1),
    ("a further attempt", [report(A, "b", "a"), report(execution("1", 20, attempt=2), "a b")], 1),
    ("another run of the commit", [report(A, "b", "a"), report(execution("2", 20), "a b")], 1),
    ("passed first, failed then", [report(A, "a b"), report(execution("1", 20, attempt=2), "b", "a")], 1),
    ("the report says so itself", [report(A, "b", flaky="a")], 1),
    ("twice in one report", [report(A, "a b", "a")], 1),
    ("failed twice", [report(A, "b", "a"), report(execution("1", 20, attempt=2), "b", "a")], 0),
    ("another job", [report(A, "b", "a"), report(execution("1", 20, job="lint"), "a b")], 0),
    ("another commit", [report(A, "b", "a"), report(execution("other", 20), "a b")], 0),
    ("another workflow", [report(A, "b", "a"), report(execution("nightly", 20), "a b")], 0),
    ("another test", [report(A, "b", "a"), report(execution("1", 20, attempt=2), "b", "c")], 0),
    ("two tests", [report(A, "", "a b"), report(execution("1", 20, attempt=2), "a b")], 2),
    ("only totals", [totals(A, 5, 1), totals(execution("1", 20, attempt=2), 5)], 0),
]


@pytest.mark.parametrize(("facts", "flaky"), [case[1:] for case in FLAKY], ids=[case[0] for case in FLAKY])
async def test_a_test_is_flaky_with_both_outcomes_in_one_job_on_one_commit(
    store: Store, facts: list[Fact], flaky: int
) -> None:
    await store.save([finished_run("other", 150, sha="ab" * 20), finished_run("nightly", 150, workflow="nightly")])
    await told(store, *facts)
    assert (await ask(store, "flaky_tests")).value == flaky


async def test_the_flaky_rate_is_among_the_distinct_tests_of_each_job(store: Store) -> None:
    await told(
        store,
        report(execution("1", 10), "a b c", "d"),
        report(execution("1", 20, attempt=2), "a b c d"),
        report(execution("2", 30), "a b c e"),
        report(execution("2", 30, job="e2e"), "a"),
        totals(execution("3", 40, job="lint"), 7),
        totals(execution("4", 50, job="lint"), 9, skipped=1),
    )
    assert await ask(store, "flaky_test_rate") == Measured(1 / (5 + 1 + 8), 14)


async def test_a_report_of_which_most_failed_makes_nothing_flaky(store: Store) -> None:
    names = " ".join(f"t{number}" for number in range(12))
    broken, fine = report(execution("1", 10), "x", names), report(execution("1", 20, attempt=2), f"x {names}")
    await told(store, broken, fine)
    assert await ask(store, "flaky_tests") == Measured(0, 13)
    assert (await ask(store, "failed_tests")).value == 12
    nine = " ".join(names.split()[:9])
    await store.save_facts([report(execution("1", 10), "x", nine)])
    assert await ask(store, "flaky_tests") == Measured(9, 13)


async def test_new_is_what_was_not_flaky_before(store: Store) -> None:
    hour = timedelta(hours=1)
    await told(
        store,
        report(execution("1", 10), "b", "a"),
        report(execution("1", 20, attempt=2), "a b"),
        report(execution("2", 110), "", "a b"),
        report(execution("2", 120, attempt=2), "a b"),
    )
    assert (await ask(store, "flaky_tests", 125, window=hour)).value == 2
    assert (await ask(store, "new_flaky_tests", 125, window=hour)).value == 1
    assert (await ask(store, "new_flaky_tests", 25, window=hour)).value == 1
    assert (await ask(store, "new_flaky_tests", 125)).value == 2


async def test_tests_are_told_apart_by_name_where_a_rule_asks(store: Store) -> None:
    twice = TestCase(suite="unit", test="b", executions=3, failures=2)
    both = TestReport(by=execution("1", 10), total=5, failed=2, named=True, cases=(twice,), passed=(NAMES["a"],) * 2)
    await told(store, both, report(execution("2", 20), "a b"), totals(execution("3", 30), 100))
    by_test = selection('test!="c"', by=("project", "test"))
    board = await board_of(store, "total_tests", by_test)
    found = set(board.label_sets(by_test, Window(DAY), to_ms(at(1000)), METRICS["total_tests"].kind))  # type: ignore[arg-type]
    assert found == {APP.merged({"test": "a"}), APP.merged({"test": "b"})}
    assert await ask(store, "total_tests", of=by_test, labels=APP.merged({"test": "a"})) == Measured(3, 3)
    assert await ask(store, "failed_tests", of=by_test, labels=APP.merged({"test": "b"})) == Measured(2, 4)
    assert await ask(store, "flaky_tests", of=by_test, labels=APP.merged({"test": "b"})) == Measured(1, 1)
    assert await ask(store, "flaky_tests", of=by_test, labels=APP.merged({"test": "a"})) == Measured(0, 1)


NAMES = {name: NameOfTest("unit", name) for name in "ab"}


async def test_the_tests_behind_a_value_are_shown_where_they_failed_last(store: Store) -> None:
    await told(
        store,
        report(execution("1", 10), "b", "a"),
        report(execution("1", 20, attempt=2), "b", "a"),
        report(execution("1", 30, attempt=3), "a b"),
    )
    board = await board_of(store, "flaky_tests", selection())
    refs = board.evidence(selection(), "flaky_tests", APP, Window(DAY), to_ms(at(1000)), 10)
    known = await behind(store, [refs])
    (shown,) = known.tests.values()
    assert (shown.suite, shown.test, shown.job, shown.message) == ("unit", "a", "test", "a broke")
    assert shown.finished_at == at(20)
    assert shown.web_url.endswith("/pipelines/1")
    assert [one.id for one in known.test_reports.values()] == ["1"]
    assert (refs.faults, refs.samples) == (1, 2)


# -------------------------------------------------------------------------------------------- coverage


async def test_coverage_is_of_the_newest_report_however_old(store: Store) -> None:
    await told(store, coverage(execution("1", 10), 80), coverage(execution("2", 20), 78.5))
    assert await ask(store, "coverage", 50_000) == Measured(78.5, 1)
    assert await ask(store, "coverage", 15) == Measured(80, 1)
    assert await ask(store, "coverage", 5) == NO_DATA
    assert await ask(store, "coverage_drop", 50_000) == Measured(1.5, 1)
    assert await ask(store, "coverage_drop", 15) == NO_DATA


async def test_a_drop_is_from_the_highest_of_the_period_before_or_else_from_the_report_before(store: Store) -> None:
    reports = [coverage(execution(run, finished), percent) for run, finished, percent in DROPS]
    await told(store, *reports)
    for minutes, drop, held in ((120, 8, 2), (30, 5, 1), (1000, 12, 3)):
        window = timedelta(minutes=minutes)
        assert await ask(store, "coverage_drop", window=window) == Measured(drop, held), minutes


DROPS = [("1", 10, 90), ("2", 100, 86), ("3", 140, 83), ("4", 200, 78)]


async def test_a_part_of_the_files_is_not_the_coverage(store: Store) -> None:
    await told(
        store,
        coverage(execution("1", 10), 80, "a b c d"),
        coverage(execution("2", 20, job="shard"), 20, "a b"),
        coverage(execution("2", 30), 81, "a b c d"),
        coverage(execution("3", 40), 30, "c d"),
    )
    assert await ask(store, "coverage", 35) == Measured(81, 1)
    assert await ask(store, "coverage") == Measured(81, 1)
    assert await ask(store, "coverage_drop") == Measured(-1, 1)
    await store.save_facts([coverage(execution("4", 50), 79, "a b c")])  # a file was deleted
    assert await ask(store, "coverage") == Measured(79, 1)


async def test_a_shard_that_came_before_the_whole_of_its_run_is_a_part_too(store: Store) -> None:
    await told(store, coverage(execution("1", 10, job="shard"), 20, "a b"), coverage(execution("1", 20), 80, "a b c d"))
    assert await ask(store, "coverage", 15) == Measured(20, 1)  # nobody could know
    assert await ask(store, "coverage_drop") == NO_DATA


async def test_what_was_moved_away_is_forgotten_in_time(store: Store) -> None:
    small = [coverage(execution("1", 20 + number, attempt=number), 60, "a") for number in range(1, 32)]
    await told(store, coverage(execution("1", 10, attempt=0), 80, "a b c d"), *small)
    assert await ask(store, "coverage", 50) == Measured(80, 1)
    assert await ask(store, "coverage") == Measured(60, 1)


async def test_the_default_branch_counts_unless_the_rule_names_another(store: Store) -> None:
    await store.save([run("9", branch="topic", ref_type=RefType.BRANCH, seen=1)])
    await told(store, coverage(execution("1", 10), 80), coverage(execution("9", 20), 40))
    assert await ask(store, "coverage") == Measured(80, 1)
    assert await ask(store, "coverage", of=selection('branch="topic"')) == Measured(40, 1)
    by_branch = selection(by=("project", "branch"))
    assert await ask(store, "coverage", of=by_branch, labels=APP.merged({"branch": "topic"})) == Measured(40, 1)


async def test_the_forges_number_gives_way_to_the_file_of_its_run_and_is_never_held_against_one(store: Store) -> None:
    forge = CoverageKind.FORGE
    await told(store, coverage(execution("1", 10), 80), coverage(execution("1", 12, job=""), 75, kind=forge))
    assert await ask(store, "coverage") == Measured(80, 1)
    await store.save_facts([coverage(execution("2", 20, job=""), 74, kind=forge)])
    assert await ask(store, "coverage") == Measured(74, 1)
    assert await ask(store, "coverage_drop") == NO_DATA


# ----------------------------------------------------------------------------------------- deployments


async def test_deployments_give_doras_measures(store: Store) -> None:
    hour = 60
    await store.save([finished_run("9", 2 * hour + 1, created=hour)])
    await store.save_facts(
        [
            deployment("1", 3 * hour, run="9", created=2 * hour),  # 2 h after its run began
            deployment("2", 5 * hour, Result.FAILURE, created=4 * hour),
            deployment("3", 6 * hour, Result.FAILURE, created=5.5 * hour),
            deployment("4", 9 * hour, created=8 * hour),  # 1 h; restored 4 h after the first failure
            deployment("5", 9 * hour, Result.CANCELLATION, created=8 * hour),
            deployment("6", 9 * hour, Result.FAILURE, created=8 * hour, environment="staging"),
            deployment("7", None, created=9 * hour),
        ]
    )
    now = 10 * hour
    assert await ask(store, "deployments", now) == Measured(5, 5)
    assert await ask(store, "failed_deployments", now) == Measured(3, 5)
    assert await ask(store, "change_failure_rate", now) == Measured(0.6, 5)
    assert await ask(store, "deployment_frequency_per_day", now) == Measured(2, 5)
    assert await ask(store, "lead_time_hours", now) == Measured(1.5, 2)
    assert await ask(store, "time_to_restore_hours", now) == Measured(4, 1)
    assert await ask(store, "consecutive_failed_deployments", now) == Measured(1, 5)  # staging is the worst
    production = selection('environment="production"')
    assert await ask(store, "consecutive_failed_deployments", now, production) == Measured(0, 4)
    assert await ask(store, "consecutive_failed_deployments", 7 * hour, production) == Measured(2, 3)
    assert await ask(store, "deployments", 100 * hour) == Measured(0, 0)
    assert await ask(store, "deployment_frequency_per_day", 100 * hour) == Measured(0, 0)


# ------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("cron", "timezone", "now", "overdue"),
    [
        ("0 2 * * *", "UTC", "2026-03-10T02:14:00Z", 0),  # forges are late
        ("0 2 * * *", "UTC", "2026-03-10T02:15:00Z", 15),
        ("0 2 * * *", "UTC", "2026-03-12T02:00:00Z", 2 * 1440),  # since the first that is missing
        ("30 2 * * *", "Europe/Berlin", "2026-03-10T02:00:00Z", 30),
        ("0 2 * * 1-5", "UTC", "2026-03-14T02:20:00Z", 4 * 1440 + 20),
        ("not a cron line", "UTC", "2026-03-10T02:15:00Z", None),
        ("0 2 * * *", "Mars/Olympus", "2026-03-10T02:15:00Z", None),
        ("0 0 30 2 *", "UTC", "2026-03-10T02:15:00Z", None),
        ("0 2 * * *", "../../etc/passwd", "2026-03-10T02:15:00Z", None),
    ],
)
async def test_a_schedule_is_overdue_from_when_it_was_due(
    store: Store, cron: str, timezone: str, now: str, overdue: float | None
) -> None:
    await store.save_facts([schedules(scheduled(cron, timezone, "2026-03-09T12:00:00Z"))])
    assert (await ask(store, "schedule_overdue_minutes", parse_instant(now))).value == overdue


@pytest.mark.parametrize(
    ("since", "now", "overdue"),
    [
        ("2026-03-28T12:00:00Z", "2026-03-29T00:59:00Z", 0),  # 01:59 in Berlin; 02:30 does not exist that night
        ("2026-03-28T12:00:00Z", "2026-03-29T01:20:00Z", 20),  # it was due at 03:00, which is 01:00 UTC
        ("2026-10-24T12:00:00Z", "2026-10-25T00:50:00Z", 20),  # 02:30 comes twice; the first time counts
        ("2026-10-25T00:45:00Z", "2026-10-25T02:00:00Z", 0),  # and the second does not
    ],
)
async def test_a_change_of_the_clock_confuses_no_schedule(store: Store, since: str, now: str, overdue: float) -> None:
    await store.save_facts([schedules(scheduled("30 2 * * *", "Europe/Berlin", since))])
    assert (await ask(store, "schedule_overdue_minutes", parse_instant(now))).value == overdue


def scheduled(cron: str, timezone: str, since: str) -> Schedule:
    return replace(schedule(cron=cron, since=parse_instant(since)), timezone=timezone)


async def test_a_run_that_a_schedule_started_clears_it_whenever_it_came_and_however_it_ended(store: Store) -> None:
    nightly = [schedules(schedule(cron="0 2 * * *", since=0))]  # due at minute 120
    await store.save_facts(nightly)
    assert (await ask(store, "schedule_overdue_minutes", 200)).value == 80
    await store.save([run("1", created=150, seen=151, event=Event.SCHEDULE)])
    assert (await ask(store, "schedule_overdue_minutes", 200)).value == 0
    assert (await ask(store, "schedule_overdue_minutes", 149)).value == 29  # as it was then
    await store.save([run("2", created=1561, seen=1570, event=Event.PUSH)])
    assert (await ask(store, "schedule_overdue_minutes", 1600)).value == 40
    await store.save([finished_run("3", 1600, Result.FAILURE, created=1559.5, event=Event.SCHEDULE)])
    assert (await ask(store, "schedule_overdue_minutes", 1600)).value == 0


async def test_of_two_schedules_on_a_branch_each_has_its_own_runs(store: Store) -> None:
    nightly, weekly = schedule("1", "0 2 * * *", name="nightly"), schedule("2", "0 1 * * 2", name="weekly")
    await store.save_facts([schedules(nightly, weekly)])  # T0 is a Monday; the weekly is due at minute 1500
    await store.save([run(str(day), created=120 + 1440 * day, event=Event.SCHEDULE) for day in range(3)])
    by_schedule = selection(by=("project", "schedule"))
    now = 120 + 2 * 1440 + 30
    for name, overdue in (("nightly", 0), ("weekly", now - 1500)):
        labels = APP.merged({"schedule": name})
        assert (await ask(store, "schedule_overdue_minutes", now, by_schedule, labels)).value == overdue, name
    assert (await ask(store, "schedule_overdue_minutes", now)) == Measured(now - 1500, 2)


async def test_a_schedule_that_is_gone_or_asleep_is_never_overdue(store: Store) -> None:
    one, two = schedule("1"), schedule("2")
    await store.save_facts([schedules(one, two)])
    assert await ask(store, "schedule_overdue_minutes", 200) == Measured(80, 2)
    await store.save_facts([schedules(replace(two, active=False))])
    assert await ask(store, "schedule_overdue_minutes", 200) == NO_DATA
