"""What the store promises of reports, deployments and schedules."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from k2alert.labels import Labels
from k2alert.model import (
    BenchmarkEntry,
    BenchmarkPoint,
    BenchmarkReport,
    DeploymentEntry,
    FactChange,
    FactEntry,
    JobRun,
    Kind,
    NamedTest,
    NameOfTest,
    Project,
    ReportEntry,
    Result,
    Saved,
    ScheduleEntry,
    Schedules,
    TestCase,
)
from k2alert.record import Store, open_store
from k2alert.record.naming import TESTS, Namer
from k2alert.record.sqlite_file import connect_writer, migrate
from tests.support.looks import T0, at, finished_run, job, ms
from tests.support.reported import coverage, deployment, execution, report, schedule, schedules, totals
from tests.support.stores import prune

FACTS = [kind for kind in Kind if not kind.of_runs]


async def facts_of(store: Store, kind: Kind, since_ms: int = 0) -> list[FactEntry]:
    return [entry async for batch in store.facts(kind, since_ms) for entry in batch]


async def names_of(store: Store) -> dict[int, str]:
    return {test.number: test.test async for batch in store.tests() for test in batch}


async def with_runs(store: Store) -> Store:
    await store.save([finished_run(name, 10 * int(name)) for name in "123"])
    return store


def bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


# --------------------------------------------------------------------------------------------- reports


async def test_a_test_report_becomes_a_stream_an_entry_and_names(store: Store) -> None:
    await with_runs(store)
    saved = await store.save_facts([report(execution("1", 9), "ok fine", "bad", flaky="torn", skipped=1)])
    (stream,), (change,) = saved.streams, saved.facts
    shown = {"source": "gitlab", "project": "k2/app", "ref_type": "default", "branch": "main", "event": "push"}
    assert stream.labels == Labels({**shown, "stage": "check", "job": "test"})
    numbers = {test.test: test.number for test in saved.tests}
    assert saved.tests[0] == NamedTest("gitlab", "k2/app", 0, "unit", "bad")
    assert numbers == {"bad": 0, "fine": 1, "ok": 2, "torn": 3}
    assert change.new == ReportEntry(
        stream=stream.id,
        ref=1,
        finished=ms(9),
        executed=4,
        failed=1,
        sha=bytes.fromhex("4f" * 20),
        named=True,
        ran=bits(0, 1, 2, 3),
        failing=bits(0, 3),
        mixed=bits(3),
        repeats=((3, 1, 0),),
    )
    assert await facts_of(store, Kind.TEST) == [change.new]
    assert await facts_of(store, Kind.TEST, ms(9) + 1) == []
    assert await names_of(store) == {number: test for test, number in numbers.items()}


async def test_saying_it_again_changes_nothing(store: Store) -> None:
    await with_runs(store)
    facts = [
        report(execution("1", 9), "a", "b"),
        coverage(execution("1", 9), 80, "x y"),
        deployment("1", 9, run="1"),
        schedules(schedule()),
    ]
    await store.save_facts(facts)
    assert await store.save_facts(facts) == Saved()
    assert await store.save_facts(facts[::-1]) == Saved()
    assert await store.save_facts([]) == Saved()


async def test_what_is_said_later_of_an_execution_replaces_it(store: Store) -> None:
    await with_runs(store)
    first = (await store.save_facts([report(execution("1", 9), "a", "b")])).facts[0].new
    (change,) = (await store.save_facts([report(execution("1", 9), "a b", "c")])).facts
    assert change.old == first
    assert await facts_of(store, Kind.TEST) == [change.new]
    assert (await store.test_evidence([(1, 1)])).keys() == {(1, 1)}
    drop = (await store.save_facts([coverage(execution("1", 9), 80, "x")])).facts[0].new
    (again,) = (await store.save_facts([coverage(execution("1", 9), 81, "x y")])).facts
    assert (again.old, await facts_of(store, Kind.COVERAGE)) == (drop, [again.new])


async def test_totals_alone_never_replace_named_tests_but_names_replace_totals(store: Store) -> None:
    await with_runs(store)
    await store.save_facts([totals(execution("1", 9), 5, 1)])
    named = await store.save_facts([report(execution("1", 9), "a", "b")])
    assert named.facts[0].old is not None
    assert await store.save_facts([totals(execution("1", 9), 7, 2)]) == Saved()


async def test_executions_are_told_apart_by_run_attempt_name_and_id(store: Store) -> None:
    await with_runs(store)
    of = [
        execution("1", 9),
        execution("2", 9),
        execution("1", 9, attempt=2),
        execution("1", 9, name="test 1/2"),
        execution("1", 9, id="77"),
    ]
    await store.save_facts([totals(by, 5) for by in of])
    found = await facts_of(store, Kind.TEST)
    assert len(found) == len(of)
    assert len({entry.stream for entry in found}) == 1


async def test_a_report_of_a_run_that_is_not_recorded_is_none(store: Store) -> None:
    by = execution("unknown", 9)
    facts = [report(by, "a"), coverage(by, 80), BenchmarkReport(by=by, points=(BenchmarkPoint(name="b", value=1.0),))]
    assert await store.save_facts(facts) == Saved()
    saved = await store.save_facts([deployment("1", 9, run="unknown")])  # it has labels of its own
    assert len(saved.facts) == 1


async def test_reports_with_the_same_tests_share_one_set_and_its_numbers(store: Store) -> None:
    await with_runs(store)
    names = " ".join(f"t{number}" for number in range(300))
    first = await store.save_facts([report(execution("1", 9), names)])
    second = await store.save_facts([report(execution("2", 19), names), report(execution("3", 29), f"{names} new")])
    assert len(first.tests) == 300
    assert [test.test for test in second.tests] == ["new"]
    one, two, three = await facts_of(store, Kind.TEST)
    assert isinstance(one, ReportEntry)
    assert isinstance(two, ReportEntry)
    assert isinstance(three, ReportEntry)
    assert one.ran is two.ran == bits(*range(300))
    assert three.ran == bits(*range(301))


async def test_hostile_names_and_messages_are_kept_within_bounds(store: Store) -> None:
    await with_runs(store)
    nasty = ["\0\ud800", "x" * 100_000, "x" * 99_999, "'; DROP TABLE names; --", "<!channel>", "", "\xff", "é" * 600]
    cases = tuple(TestCase(suite="\xff", test=name, message=name * 3, file=name) for name in nasty)
    hostile = replace(report(execution("1", 9), "a"), cases=cases, total=10**30, failed=-5, skipped=-1)
    saved = await store.save_facts([hostile])
    (entry,) = await facts_of(store, Kind.TEST)
    assert isinstance(entry, ReportEntry)
    assert entry.failing.bit_count() == len(nasty)  # all told apart, though two of them look alike
    assert (entry.executed, entry.failed) == (10**9, 0)
    evidence = await store.test_evidence([(entry.ref, test.number) for test in saved.tests])
    assert max(len(one.test) for one in evidence.values()) == 500
    assert max(len(one.message) for one in evidence.values()) == 500
    assert await store.save_facts([hostile]) == Saved()


async def test_messages_are_kept_of_the_first_failures_only_and_links_lead_to_the_job(store: Store) -> None:
    built: JobRun = job("test", 8, Result.FAILURE, id="501")
    await store.save([finished_run("1", 10, jobs=(built,))])
    many = " ".join(f"t{number:03}" for number in range(250))
    saved = await store.save_facts([report(execution("1", 9, id="501"), "", many)])
    evidence = await store.test_evidence([(1, test.number) for test in saved.tests])
    assert sum(bool(one.message) for one in evidence.values()) == 200
    assert len(evidence) == 250
    assert {one.web_url for one in evidence.values()} == {built.web_url}
    assert await store.test_evidence([(99, 0), (1, 999)]) == {}


def test_a_project_with_too_many_tests_has_totals_only(tmp_path: Path) -> None:
    con = connect_writer(tmp_path / "k2alert.db")
    migrate(con, tmp_path / "k2alert.db")
    names = [NameOfTest("unit", str(number)) for number in range(5)]
    assert Namer(con, 1, TESTS, most=4).set_of(names) is None
    found = Namer(con, 1, TESTS, most=5).set_of(names)
    assert found is not None
    assert found.bits == bits(0, 1, 2, 3, 4)
    con.close()


# -------------------------------------------------------------------------- deployments and schedules


async def test_a_deployment_counts_once_it_is_over_and_an_older_look_changes_nothing(store: Store) -> None:
    await with_runs(store)
    assert (await store.save_facts([deployment("7", None, created=3, run="1")])).facts == ()
    (change,) = (await store.save_facts([deployment("7", 9, Result.FAILURE, created=3, run="1")])).facts
    assert change.new == DeploymentEntry(change.new.stream if change.new else 0, 1, ms(9), ms(3), 1, ms(5))
    assert await store.save_facts([deployment("7", None, created=3, seen=5, run="1")]) == Saved()
    (evidence,) = (await store.deployment_evidence([1])).values()
    assert (evidence.environment, evidence.tier, evidence.run_id) == ("production", "production", "1")
    assert evidence.web_url == "https://gitlab.example.com/k2/app/-/environments/1/deployments/7"
    (stream,) = [stream for stream in await store.streams() if stream.kind is Kind.DEPLOYMENT]
    assert stream.labels["environment"] == "production"
    assert stream.labels["event"] == "push"  # of its run
    assert await facts_of(store, Kind.DEPLOYMENT) == [change.new]


async def test_a_deployments_commit_goes_before_its_run_and_its_own_creation(store: Store) -> None:
    await with_runs(store)
    by_commit = replace(deployment("1", 9, run="1", created=7), committed_at=at(2))
    facts = [by_commit, deployment("2", 9, run="1", created=7), deployment("3", 9, created=7)]
    await store.save_facts(facts)
    entries = await facts_of(store, Kind.DEPLOYMENT)
    assert [entry.since for entry in entries if isinstance(entry, DeploymentEntry)] == [ms(2), ms(5), ms(7)]


async def test_a_projects_schedules_are_saved_all_together(store: Store) -> None:
    one, two = schedule("1", "0 1 * * *"), schedule("2", "0 2 * * *")
    await store.save_facts([schedules(one, two), schedules(one, project="other")])
    changed = replace(two, cron="0 3 * * *", delay=timedelta(minutes=5))
    changes = (await store.save_facts([schedules(changed)])).facts
    assert {(change.old is None, change.new is None) for change in changes} == {(False, True), (False, False)}
    left = await facts_of(store, Kind.SCHEDULE)
    assert [(entry.cron, entry.delay) for entry in left if isinstance(entry, ScheduleEntry)] == [
        ("0 3 * * *", 5 * 60_000),
        ("0 1 * * *", 15 * 60_000),  # the other project's
    ]


# ---------------------------------------------------------------------------- forgetting, and restarts


async def test_a_restart_finds_everything_again(store_url: str) -> None:
    store = open_store(store_url)
    await with_runs(store)
    by = execution("1", 9)
    await store.save_facts([report(by, "a", "b"), coverage(by, 80, "x"), deployment("1", 9), schedules(schedule())])
    before = [await facts_of(store, kind) for kind in FACTS], await names_of(store), await store.streams()
    await store.close()
    store = open_store(store_url)
    assert ([await facts_of(store, kind) for kind in FACTS], await names_of(store), await store.streams()) == before
    await store.close()


async def test_retention_forgets_reports_with_their_names_and_gives_numbers_again(store: Store) -> None:
    await with_runs(store)
    await store.save_facts([report(execution("1", 9), "a b", "c"), report(execution("3", 29), "b d")])
    pruned = await prune(store, at(20))
    assert [(change.kind, change.old and change.old.ref, change.new) for change in pruned.facts] == [
        (Kind.TEST, 1, None)
    ]
    assert await names_of(store) == {1: "b", 3: "d"}
    assert await store.test_evidence([(1, 2)]) == {}
    saved = await store.save_facts([report(execution("3", 35, attempt=2), "b d e f g")])
    assert {test.number: test.test for test in saved.tests} == {0: "e", 2: "f", 4: "g"}
    assert (await prune(store, at(20))).facts == ()


async def test_retention_keeps_what_counts_however_old_it_is(store: Store) -> None:
    await with_runs(store)
    reports = [coverage(execution("1", number, attempt=number), 70 + number) for number in range(1, 9)]
    await store.save_facts(
        [
            *reports,
            deployment("1", 1),
            deployment("2", 2),
            deployment("3", 3, Result.FAILURE),
            deployment("4", 4, Result.FAILURE),
            deployment("5", None, created=3),
            schedules(schedule()),
        ]
    )
    await prune(store, at(1000))
    assert [entry.finished for entry in await facts_of(store, Kind.COVERAGE)] == [ms(minute) for minute in range(4, 9)]
    assert [entry.ref for entry in await facts_of(store, Kind.DEPLOYMENT)] == [2, 4]
    assert len(await facts_of(store, Kind.SCHEDULE)) == 1
    open_again = await store.save_facts([deployment("5", 1001)])
    assert open_again.facts[0].old is None


async def test_a_schedule_counts_from_when_it_was_first_seen_or_last_changed(store: Store) -> None:
    async def since(*of: Schedules) -> list[int]:
        await store.save_facts(of)
        return [entry.finished for entry in await facts_of(store, Kind.SCHEDULE)]

    old = schedule(since=10)
    assert await since(schedules(old, seen=at(500))) == [ms(500)]
    assert await since(schedules(old, seen=at(900))) == [ms(500)]
    assert await since(schedules(replace(old, since=at(700)), seen=at(900))) == [ms(700)]
    assert await since(schedules(seen=at(901)), schedules(old, seen=at(902))) == [ms(902)]


async def test_a_departed_projects_schedules_go_with_it(store: Store) -> None:
    await store.save_project(Project(source="gitlab", key="42", path="k2/app", first_seen_at=T0))
    await store.save_facts([schedules(schedule()), schedules(schedule(), project="other")])
    saved = await store.forget_projects([("gitlab", "42"), ("gitlab", "nobody")])
    (change,) = saved.facts
    assert isinstance(change, FactChange)
    assert change.new is None
    assert len(await facts_of(store, Kind.SCHEDULE)) == 1


async def test_benchmarks_are_kept_for_as_long_as_runs_are(store: Store) -> None:
    await with_runs(store)
    points = (BenchmarkPoint(name="fast", value=1.5, unit="ms"), BenchmarkPoint(name="broken", value=float("nan")))
    await store.save_facts([BenchmarkReport(by=execution("1", 9), points=points, cpu="EPYC")])
    assert await measured(store) == [("fast", 1.5, "ms", "EPYC")]
    await store.save_facts([BenchmarkReport(by=execution("1", 9), points=(replace(points[0], value=2.0),))])
    assert await measured(store) == [("fast", 2.0, "ms", "")]
    await prune(store, at(500))
    assert await measured(store) == []


async def measured(store: Store) -> list[tuple[str, float, str, str]]:
    points = [point for point in await facts_of(store, Kind.BENCHMARK) if isinstance(point, BenchmarkEntry)]
    return [(point.benchmark, point.value, point.unit, point.cpu) for point in points]
