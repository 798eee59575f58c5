"""What every engine of the store promises of facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from k2alert.labels import Labels
from k2alert.model import (
    Entry,
    EntryChange,
    Kind,
    KnownRun,
    OpenChange,
    OpenEntry,
    PipelineRun,
    RefType,
    Result,
    RunState,
    RunTotal,
    Saved,
    packed,
)
from k2alert.record import Store
from tests.support.looks import at, finished_run, job, ms, outcome, run
from tests.support.reported import deployment, execution, report, schedule, schedules
from tests.support.stores import entries_of, news, prune

# ---------------------------------------------------------------------------------------------- saving


async def test_a_finished_run_becomes_a_stream_and_an_entry(store: Store) -> None:
    saved = await store.save([run(created=3, seen=20, outcomes=(outcome(20, Result.FAILURE, took=12),))])
    (stream,) = saved.streams
    (change,) = saved.entries
    assert change.new is not None
    assert stream.kind is Kind.RUN
    assert stream.labels == Labels(
        {"source": "gitlab", "project": "k2/app", "ref_type": "default", "branch": "main", "event": "push"}
    )
    assert change.kind is Kind.RUN
    assert change.old is None
    assert change.new == Entry(
        stream.id, change.new.ref, ms(3), ms(20), None, 1, 12 * 60_000, 30_000, allowed=False, retry=False
    )
    assert saved.opens == ()
    assert await entries_of(store) == [change.new]
    assert await store.streams() == [stream]


async def test_saving_the_same_facts_again_changes_nothing(store: Store) -> None:
    looks = [
        finished_run("1", 10, jobs=(job(finished=9), job("lint", id="502", finished=8))),
        run("2", seen=4, state=RunState.PENDING, jobs=(job(id="503"),)),
    ]
    await store.save(looks)
    assert await store.save(looks) == Saved()
    assert await store.save(looks[::-1]) == Saved()
    assert await store.save([]) == Saved()


async def test_one_run_looked_at_twice_in_one_batch_is_one_run(store: Store) -> None:
    saved = await store.save([run(seen=1), finished_run("9001", 10, created=0)])
    assert len(saved.entries) == 1
    assert saved.opens == ()
    assert await store.opens() == []


async def test_an_open_run_opens_moves_and_ends(store: Store) -> None:
    waiting = await store.save([run(seen=1, state=RunState.PENDING)])
    running = await store.save([run(seen=2, state=RunState.RUNNING)])
    key = waiting.opens[0].key
    stream = waiting.streams[0].id
    assert waiting.opens == (OpenChange(Kind.RUN, key, OpenEntry(stream, key, RunState.PENDING, ms(0), ms(1))),)
    assert running == Saved(opens=(OpenChange(Kind.RUN, key, OpenEntry(stream, key, RunState.RUNNING, ms(0), ms(1))),))
    assert await store.opens() == [(Kind.RUN, running.opens[0].new)]
    ended = await store.save([run(seen=9, outcomes=(outcome(9),))])
    assert ended.opens == (OpenChange(Kind.RUN, key, None),)
    assert await store.opens() == []


async def test_a_rerun_supersedes_the_first_attempt_when_it_finishes_and_not_before(store: Store) -> None:
    first = news(await store.save([finished_run("1", 10, Result.FAILURE)]))[0]
    again = await store.save([run("1", created=5, seen=20, state=RunState.RUNNING)])
    assert again.entries == ()
    assert len(again.opens) == 1
    saved = await store.save([run("1", created=5, seen=30, outcomes=(outcome(30, attempt=2),))])
    assert saved.entries[0] == EntryChange(Kind.RUN, first, first._replace(superseded=ms(30)))
    assert [(entry.finished, entry.superseded, entry.retry) for entry in await entries_of(store)] == [
        (ms(10), ms(30), False),
        (ms(30), None, True),
    ]


async def test_an_attempt_whose_successor_finished_before_it_never_counts(store: Store) -> None:
    late = (outcome(30, attempt=1), outcome(20, attempt=2), outcome(40, attempt=3))
    await store.save([run(seen=40, outcomes=late)])
    assert [(entry.finished, entry.superseded) for entry in await entries_of(store)] == [
        (ms(20), ms(40)),
        (ms(30), ms(30)),
        (ms(40), None),
    ]


async def test_an_older_look_changes_nothing_but_adds_what_was_unknown(store: Store) -> None:
    newest = run("1", created=5, seen=30, outcomes=(outcome(30, attempt=2),), title="new")
    await store.save([newest])
    stale = outcome(29, Result.FAILURE, attempt=2)
    old = run("1", created=5, seen=11, state=RunState.RUNNING, outcomes=(outcome(10, attempt=1), stale), title="old")
    saved = await store.save([old])
    assert [(entry.finished, entry.result) for entry in news(saved)] == [(ms(10), 0), (ms(30), 0)]
    assert saved.opens == ()
    (evidence,) = (await store.run_evidence([news(saved)[1].ref])).values()
    assert evidence.title == "new"


async def test_a_look_that_is_not_older_corrects_an_outcome(store: Store) -> None:
    before = news(await store.save([finished_run("1", 10)]))[0]
    saved = await store.save([finished_run("1", 10, Result.TIMEOUT)])
    assert saved.entries == (EntryChange(Kind.RUN, before, before._replace(result=3)),)


async def test_a_runs_labels_once_set_stay(store: Store) -> None:
    first = await store.save([run(seen=1, branch="main")])
    later = await store.save([run(seen=9, branch="renamed", outcomes=(outcome(9),), jobs=(job(finished=8),))])
    assert [stream.labels["branch"] for stream in later.streams] == ["main"]
    assert later.streams[0].kind is Kind.JOB
    assert news(later)[0].stream == first.streams[0].id


async def test_the_same_id_in_another_project_or_source_is_another_run(store: Store) -> None:
    await store.save([run(seen=1), run(seen=1, project="k2/other"), run(seen=1, source="github")])
    assert len(await store.opens()) == 3
    assert len(await store.streams()) == 3


# ------------------------------------------------------------------------------------------------ jobs


async def test_jobs_are_counted_under_their_runs_labels_and_its_creation(store: Store) -> None:
    jobs = (job("test 3/20", 8, Result.FAILURE), job("lint", 7, id="502", allowed=True))
    saved = await store.save([finished_run("1", 10, created=2, jobs=jobs)])
    labels = {stream.id: stream.labels for stream in saved.streams}
    found = {labels[entry.stream]["job"]: entry for entry in await entries_of(store, Kind.JOB)}
    assert found["test"].created == ms(2)
    assert found["test"].result == 1
    assert not found["test"].allowed
    assert found["lint"].allowed
    assert labels[found["lint"].stream] == Labels(
        {
            **{"source": "gitlab", "project": "k2/app", "ref_type": "default", "branch": "main", "event": "push"},
            **{"stage": "check", "job": "lint", "runner": "linux"},
        }
    )


async def test_a_retried_job_supersedes_the_execution_before_it(store: Store) -> None:
    failed = job("test", 8, Result.FAILURE, id="99")
    await store.save([run(seen=8, jobs=(failed, job("lint", 8, id="98")))])
    again = job("test", 12, id="101", runner="big")
    await store.save([run(seen=12, outcomes=(outcome(12),), jobs=(failed, again))])
    counted = [(entry.finished, entry.superseded, entry.retry) for entry in await entries_of(store, Kind.JOB)]
    assert counted == [(ms(8), ms(12), False), (ms(8), None, False), (ms(12), None, True)]


async def test_the_open_jobs_of_a_run_end_with_it_and_leave_nothing(store: Store) -> None:
    opened = await store.save([run(seen=1, jobs=(job(id="1"), job("deploy", id="2", state=RunState.BLOCKED)))])
    keys = [change.key for change in opened.opens if change.kind is Kind.JOB]
    assert len(keys) == 2
    saved = await store.save([run(seen=9, outcomes=(outcome(9),))])
    assert {(change.kind, change.key) for change in saved.opens if change.new is None} >= {
        (Kind.JOB, key) for key in keys
    }
    assert await store.opens() == []
    assert await entries_of(store, Kind.JOB) == []


async def test_an_open_job_of_a_finished_run_is_not_open(store: Store) -> None:
    saved = await store.save([finished_run("1", 10, jobs=(job("deploy", state=RunState.BLOCKED),))])
    assert saved.opens == ()
    assert await store.opens() == []


async def test_a_skipped_job_that_goes_again_is_open_and_still_counted(store: Store) -> None:
    skipped = job("test", 8, Result.SKIP)
    await store.save([finished_run("1", 10, jobs=(skipped,))])
    saved = await store.save([run("1", created=5, seen=12, jobs=(job("test", state=RunState.PENDING),))])
    assert {change.kind for change in saved.opens} == {Kind.RUN, Kind.JOB}
    assert saved.entries == ()
    done = await store.save([run("1", created=5, seen=15, jobs=(job("test", 14),))])
    assert [(change.old.result, change.new.result) for change in done.entries if change.old and change.new] == [(5, 0)]


async def test_an_older_look_brings_a_finished_job_but_no_open_one(store: Store) -> None:
    await store.save([run(seen=20, jobs=(job("slow", id="1"),))])
    older = run(seen=10, jobs=(job("slow", 9, id="1"), job("late", id="2"), job("new", 8, id="3")))
    saved = await store.save([older])
    assert [entry.finished for entry in news(saved)] == [ms(9), ms(8)]
    assert [change.new for change in saved.opens] == [None]


async def test_a_job_that_was_skipped_without_an_end_is_not_an_entry(store: Store) -> None:
    await store.save([run(seen=1, jobs=(job("deploy"),))])
    gone = replace(job("deploy"), state=RunState.FINISHED, result=Result.SKIP)
    saved = await store.save([run(seen=2, jobs=(gone,))])
    assert saved.entries == ()
    assert [change.new for change in saved.opens] == [None]


# --------------------------------------------------------------------------------------------- reading


async def test_entries_come_in_order_of_end_from_a_time_on(store: Store) -> None:
    ends = [50, 10, 40, 30, 20]
    await store.save([finished_run(str(number), end) for number, end in enumerate(ends)])
    await store.save([finished_run("again", 30)])
    everything = await entries_of(store)
    assert [entry.finished for entry in everything] == [ms(end) for end in (10, 20, 30, 30, 40, 50)]
    assert everything == sorted(everything, key=lambda entry: (entry.finished, entry.ref))
    assert await entries_of(store, since_ms=ms(40)) == everything[-2:]


async def test_rows_are_the_same_entries(store: Store) -> None:
    await store.save([finished_run(str(number), end) for number, end in enumerate((50, 10, 30))])
    for kind in (Kind.RUN, Kind.JOB):
        rows = [row async for batch in store.rows(kind) for row in batch]
        assert [tuple(row) for row in rows] == [packed(entry) for entry in await entries_of(store, kind)]


async def test_a_long_read_sees_one_moment_and_holds_up_no_write(store: Store) -> None:
    await store.save([finished_run(str(number), number / 100) for number in range(12_000)])
    seen = 0
    async for batch in store.entries(Kind.RUN):
        seen += len(batch)
        await store.save([finished_run(f"late-{seen}", 9000)])
    assert seen == 12_000
    assert len(await entries_of(store)) == 12_002


async def test_a_read_that_is_given_up_frees_its_view(store: Store) -> None:
    await store.save([finished_run(str(number), number) for number in range(3)])
    reading = store.entries(Kind.RUN)
    assert len(await anext(reading)) == 3
    await reading.aclose()  # type: ignore[attr-defined]


async def test_known_runs_are_those_seen_since_or_still_open(store: Store) -> None:
    await store.save(
        [
            finished_run("1", 10),
            run("2", seen=12, state=RunState.BLOCKED),
            finished_run("3", 500),
            run("4", seen=600, created=5, state=RunState.RUNNING, outcomes=(outcome(20), outcome(40, attempt=3))),
            finished_run("5", 700, project="k2/other"),
        ]
    )
    assert await store.known_runs("gitlab", "k2/app", at(400)) == {
        "2": KnownRun(at(12), 0, RunState.BLOCKED),
        "3": KnownRun(at(500), 1, RunState.FINISHED),
        "4": KnownRun(at(600), 3, RunState.RUNNING),
    }
    assert await store.known_runs("gitlab", "k2/unheard-of", at(0)) == {}


async def test_evidence_names_the_run_and_the_failed_jobs_that_counted(store: Store) -> None:
    jobs = (
        job("test", 8, Result.FAILURE, id="1"),
        job("test", 9.99, Result.FAILURE, id="2", reason="script_failure"),
        job("lint", 8, Result.FAILURE, id="3", allowed=True),
        job("build", 8, id="4"),
    )
    await store.save([run("1", seen=10, outcomes=(outcome(10, Result.FAILURE),), jobs=jobs)])
    fixed = (*jobs, job("test", 20, id="5"))
    saved = await store.save([run("1", seen=20, outcomes=(outcome(20, attempt=2),), jobs=fixed)])
    entries = await entries_of(store)
    evidence = await store.run_evidence([entry.ref for entry in entries] + [12345])
    assert len(evidence) == 2
    first, second = (evidence[entry.ref] for entry in entries)
    assert (first.project, first.id, first.number, first.branch, first.sha) == ("k2/app", "1", "17", "main", "4f" * 20)
    assert first.web_url == "https://gitlab.example.com/k2/app/-/pipelines/1"
    assert (first.result, first.finished_at, first.duration) == (Result.FAILURE, at(10), timedelta(minutes=5))
    assert [(one.name, one.reason, one.web_url) for one in first.jobs] == [
        ("test", "script_failure", "https://gitlab.example.com/k2/app/-/jobs/2")
    ]
    assert second.jobs == ()
    assert saved.entries


async def test_evidence_of_a_job_is_its_run_with_that_job_alone(store: Store) -> None:
    jobs = (job("test 1/2", 8, Result.TIMEOUT, id="1", reason="stuck"), job("lint", 7, Result.FAILURE, id="2"))
    await store.save([run("77", seen=10, jobs=jobs)])
    _, timed_out = await entries_of(store, Kind.JOB)
    (evidence,) = (await store.job_evidence([timed_out.ref, 999])).values()
    assert (evidence.id, evidence.result, evidence.finished_at) == ("77", Result.TIMEOUT, at(8))
    (only,) = evidence.jobs
    assert (only.name, only.stage, only.result, only.reason) == ("test 1/2", "check", Result.TIMEOUT, "stuck")


async def test_totals_count_each_attempt_once_and_never_go_down(store: Store) -> None:
    await store.save([finished_run("1", 10, Result.FAILURE), finished_run("2", 11)])
    await store.save([run("1", created=5, seen=30, outcomes=(outcome(30, attempt=2, took=7),))])
    await store.save([finished_run("1", 10, Result.ERROR), finished_run("2", 11)])
    await store.save([run("3", seen=5, outcomes=(replace(outcome(5, Result.SKIP), duration=None),))])
    expected = [
        RunTotal("gitlab", "k2/app", RefType.DEFAULT, Result.SUCCESS, 2, 12 * 60_000, 2),
        RunTotal("gitlab", "k2/app", RefType.DEFAULT, Result.FAILURE, 1, 5 * 60_000, 1),
        RunTotal("gitlab", "k2/app", RefType.DEFAULT, Result.SKIP, 1, 0, 0),
    ]
    assert await store.totals() == expected
    await prune(store, at(100_000))
    await store.save([finished_run("2", 11)])
    assert await store.totals() == expected


# ----------------------------------------------------------------------------------------- hostile text


async def test_what_a_forge_writes_comes_back_or_is_made_storable(store: Store) -> None:
    title = "'; DROP TABLE runs; -- \ud800 \0 \u202e <b>" + "x" * 500
    hostile = finished_run("007", 10, branch="a\0b\udfff", title=title, sha="not-a-sha", number="#1")
    saved = await store.save([hostile])
    assert await store.save([hostile]) == Saved()
    assert saved.streams[0].labels["branch"] == "a\ufffdb?"
    (evidence,) = (await store.run_evidence([saved.entries[0].new.ref])).values()  # type: ignore[union-attr]
    assert (evidence.id, evidence.number, evidence.sha) == ("007", "#1", "not-a-sha")
    assert evidence.title.startswith("'; DROP TABLE runs; -- ? \ufffd \u202e <b>")
    assert len(evidence.title) == 120


# ------------------------------------------------------------------------------------------- retention

DAY = 24 * 60


async def test_retention_forgets_what_ended_before_but_the_last_and_the_last_green_of_a_default_branch(
    store: Store,
) -> None:
    story = "+-+--"
    results = {"+": Result.SUCCESS, "-": Result.FAILURE}
    looks = [finished_run(str(day), day * DAY, results[word]) for day, word in enumerate(story)]
    await store.save(looks)
    saved = await prune(store, at(40 * DAY))
    assert {change.old.finished for change in saved.entries if change.old} == {ms(0), ms(1 * DAY), ms(3 * DAY)}
    assert all(change.new is None for change in saved.entries)
    assert [entry.finished for entry in await entries_of(store)] == [ms(2 * DAY), ms(4 * DAY)]
    assert await store.known_runs("gitlab", "k2/app", at(-99)) == {
        str(day): KnownRun(at(day * DAY), 1, RunState.FINISHED) for day in (2, 4)
    }
    assert not any(await prune(store, at(40 * DAY)))


async def test_retention_keeps_what_is_younger(store: Store) -> None:
    await store.save([finished_run("1", 10 * DAY), finished_run("2", 12 * DAY, Result.FAILURE)])
    assert not any(await prune(store, at(10 * DAY)))


async def test_dead_branches_leave_only_the_last_of_their_kind(store: Store) -> None:
    looks = [
        finished_run(str(number), number * DAY, branch=f"!{number}", ref_type=RefType.CHANGE_REQUEST)
        for number in range(5)
    ]
    await store.save(looks)
    await prune(store, at(40 * DAY))
    assert [entry.finished for entry in await entries_of(store)] == [ms(4 * DAY)]


async def test_a_living_branch_keeps_its_last_green_however_old(store: Store) -> None:
    on_branch: dict[str, Any] = {"branch": "develop", "ref_type": RefType.BRANCH}
    await store.save(
        [finished_run("1", 1 * DAY, **on_branch), finished_run("2", 50 * DAY, Result.FAILURE, **on_branch)]
    )
    await store.save([finished_run("3", 2 * DAY, branch="other", ref_type=RefType.BRANCH)])
    await prune(store, at(40 * DAY))
    assert [entry.finished for entry in await entries_of(store)] == [ms(1 * DAY), ms(2 * DAY), ms(50 * DAY)]


async def test_a_superseded_green_is_no_last_green(store: Store) -> None:
    await store.save([run("1", created=0, seen=20, outcomes=(outcome(10), outcome(20, Result.FAILURE, attempt=2)))])
    await store.save([finished_run("2", 5)])
    await prune(store, at(40 * DAY))
    assert [(entry.finished, entry.result) for entry in await entries_of(store)] == [(ms(5), 0), (ms(20), 1)]


async def test_retention_takes_old_jobs_and_runs_that_never_ended(store: Store) -> None:
    await store.save([finished_run("1", 10, jobs=(job(finished=9),))])
    await store.save([run("2", seen=20, state=RunState.BLOCKED, jobs=(job("deploy", id="9"),))])
    saved = await prune(store, at(40 * DAY))
    assert {(change.kind, change.new) for change in saved.opens} == {(Kind.RUN, None), (Kind.JOB, None)}
    assert [change.kind for change in saved.entries] == [Kind.JOB]
    assert await store.opens() == []
    assert await entries_of(store, Kind.JOB) == []
    assert set(await store.known_runs("gitlab", "k2/app", at(0))) == {"1"}


async def test_a_retry_stays_one_after_retention_took_what_it_repeats(store: Store) -> None:
    await store.save([run("1", seen=10, created=0, outcomes=(outcome(10, Result.FAILURE),))])
    await store.save([run("1", seen=60 * DAY, created=0, outcomes=(outcome(60 * DAY, attempt=2),))])
    await prune(store, at(40 * DAY))
    await store.save([run("1", seen=61 * DAY, created=0, outcomes=(outcome(60 * DAY, Result.ERROR, attempt=2),))])
    assert [(entry.result, entry.retry) for entry in await entries_of(store)] == [(2, True)]


async def test_retention_takes_more_than_one_chunk(store: Store) -> None:
    await store.save([finished_run(str(n), n / 10, jobs=(job(id=str(n), finished=n / 10),)) for n in range(1300)])
    saved = await prune(store, at(40 * DAY))
    assert len(saved.entries) == 1300 + 1299
    assert len(await entries_of(store)) == 1


async def labels_of(store: Store) -> set[tuple[str, str]]:
    return {(stream.kind.value, stream.labels["branch"]) for stream in await store.streams()}


async def test_streams_without_facts_are_forgotten_once_a_day(store: Store) -> None:
    def of(branch: str, minute: float) -> PipelineRun:
        jobs = (job(id=branch, finished=minute),)
        return finished_run(branch, minute, branch=branch, ref_type=RefType.CHANGE_REQUEST, jobs=jobs)

    gone = [stream for branch in ("!1", "!2") for stream in (await store.save([of(branch, 1)])).streams]
    await store.save([finished_run("main", 2 * DAY), of("!3", 50 * DAY)])
    await store.save([of("!4", 3)])
    await prune(store, at(40 * DAY))
    newest = ("run", "!4")  # so that no number is ever given twice
    kept = {("run", "main"), ("run", "!3"), ("job", "!3")}
    assert await labels_of(store) == {*kept, newest}

    again = await store.save([of("!1", 4)])
    assert {stream.id for stream in again.streams}.isdisjoint(stream.id for stream in gone)
    assert len(await entries_of(store)) == 3
    await prune(store, at(40.9 * DAY))
    assert await labels_of(store) == {*kept, newest, ("run", "!1"), ("job", "!1")}
    await prune(store, at(41.1 * DAY))
    assert await labels_of(store) == {*kept, ("run", "!1")}


async def test_streams_of_any_kind_of_facts_are_kept(store: Store) -> None:
    await store.save([finished_run("1", 50 * DAY, jobs=(job(finished=50 * DAY),))])
    facts = [report(execution("1", 50 * DAY), "ok"), deployment("1", 50 * DAY), schedules(schedule("1"))]
    await store.save_facts(facts)
    before = await store.streams()
    await store.save([finished_run("2", 1, branch="!1", ref_type=RefType.CHANGE_REQUEST)])
    await prune(store, at(40 * DAY))
    assert [stream for stream in await store.streams() if stream.labels["branch"] != "!1"] == before
    assert {stream.kind for stream in before} >= {Kind.RUN, Kind.JOB, Kind.TEST, Kind.DEPLOYMENT, Kind.SCHEDULE}
