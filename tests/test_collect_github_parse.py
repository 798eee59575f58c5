"""GitHub's JSON read into facts: tables of what each field means, every recorded answer, and any JSON at all."""

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.collect.flow import Response
from k2alert.collect.github_parse import (
    SeenRun,
    assemble_run,
    read_job,
    read_page,
    read_project,
    read_run,
    run_state,
)
from k2alert.model import Event, JobRun, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.times import parse_instant
from tests.support.github_json import T0, at, job_json, run_json

PROJECT = Project(source="github", key="k2/app", path="k2/app", default_branch="main", first_seen_at=T0)


def seen(**fields: Any) -> SeenRun:
    run = read_run(run_json(**fields))
    assert run is not None
    return run


def facts(
    run: SeenRun, *jobs: dict[str, Any], earlier: tuple[SeenRun, ...] = (), ref_type: RefType = RefType.DEFAULT
) -> PipelineRun:
    read = [read_job(job, run) for job in jobs]
    known = [job for job in read if job is not None]
    assert len(known) == len(read)
    return assemble_run(run, earlier, known, project=PROJECT, ref_type=ref_type, now=T0 + timedelta(days=1))


def only_outcome(run: SeenRun, *jobs: dict[str, Any]) -> Outcome:
    (outcome,) = facts(run, *jobs).outcomes
    return outcome


def one_job(**fields: Any) -> JobRun:
    job = read_job(job_json(**fields), seen())
    assert job is not None
    return job


# --------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("conclusion", "result"),
    [
        ("success", Result.SUCCESS),
        ("failure", Result.FAILURE),
        ("timed_out", Result.TIMEOUT),
        ("startup_failure", Result.ERROR),
        ("cancelled", Result.CANCELLATION),
        ("skipped", Result.SKIP),
        ("neutral", Result.SKIP),
        ("stale", Result.SKIP),
        ("action_required", Result.SKIP),
        ("something_new", Result.SKIP),
    ],
)
def test_a_conclusion_becomes_the_contracts_result_for_runs_and_jobs(conclusion: str, result: Result) -> None:
    assert only_outcome(seen(conclusion=conclusion)).result is result
    assert one_job(conclusion=conclusion).result is result


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("completed", RunState.FINISHED),
        ("in_progress", RunState.RUNNING),
        ("queued", RunState.PENDING),
        ("requested", RunState.PENDING),
        ("something_new", RunState.PENDING),
        ("waiting", RunState.BLOCKED),
        ("pending", RunState.BLOCKED),
    ],
)
def test_a_status_becomes_a_state_for_runs_and_jobs(status: str, state: RunState) -> None:
    assert run_state(seen(status=status), now=T0) is state
    assert one_job(status=status).state is state


def test_a_completed_run_without_a_conclusion_runs_for_an_hour_and_then_is_finished_without_an_outcome() -> None:
    run = seen(conclusion=None)
    assert run_state(run, now=T0 + timedelta(minutes=69)) is RunState.RUNNING
    assert run_state(run, now=T0 + timedelta(minutes=70)) is RunState.FINISHED
    assert facts(run).outcomes == ()


# ------------------------------------------------------------------------------------------------------ times


def test_a_run_ends_with_its_last_job_even_a_skipped_one_and_not_when_it_was_last_touched() -> None:
    outcome = only_outcome(
        seen(updated_at=at(500)),
        job_json("build", 2, 5),
        job_json("deploy", 8, 8, conclusion="skipped"),
    )
    assert outcome.finished_at == T0 + timedelta(minutes=8)
    assert outcome.duration == timedelta(minutes=8)
    assert outcome.queued == timedelta(minutes=2)


def test_a_run_whose_jobs_are_not_known_ends_when_it_was_last_touched() -> None:
    outcome = only_outcome(seen(updated_at=at(12)))
    assert (outcome.finished_at, outcome.duration) == (T0 + timedelta(minutes=12), timedelta(minutes=12))
    assert outcome.queued is None


def test_a_skipped_job_has_not_waited() -> None:
    assert only_outcome(
        seen(), job_json("lint", 0, 0, conclusion="skipped"), job_json("test", 3, 9)
    ).queued == timedelta(minutes=3)


def test_times_that_run_backwards_give_zero_and_nothing_negative() -> None:
    job = one_job(start=-1, end=-2)
    assert (job.duration, job.queued) == (timedelta(0), timedelta(0))
    outcome = only_outcome(seen(), job_json("test", -1, -0.5))
    assert (outcome.duration, outcome.queued) == (timedelta(0), timedelta(0))


def test_a_length_of_more_than_ten_years_is_not_known() -> None:
    job = read_job({**job_json("test", 0, 1), "completed_at": "9999-12-31T23:59:59Z"}, seen())
    assert job is not None
    assert (job.duration, job.queued) == (None, one_job(start=0, end=1).queued)


def test_a_rerun_leaves_out_the_jobs_it_carried_over_from_the_attempt_before() -> None:
    first = seen(conclusion="failure")
    second = seen(run_attempt=2, run_started_at=at(100), updated_at=at(120))
    run = facts(
        second,
        job_json("build", 1, 4, id=11),
        job_json("test", 1, 9, id=12, conclusion="failure"),
        job_json("build", 1, 4, id=21, run_attempt=2),
        job_json("test", 103, 110, id=22, run_attempt=2),
        earlier=(first,),
    )
    assert [(each.attempt, each.result) for each in run.outcomes] == [(1, Result.FAILURE), (2, Result.SUCCESS)]
    assert [each.finished_at for each in run.outcomes] == [T0 + timedelta(minutes=9), T0 + timedelta(minutes=110)]
    assert run.outcomes[1].duration == timedelta(minutes=10)
    assert run.outcomes[1].queued == timedelta(minutes=3)
    assert [job.id for job in run.jobs] == ["11", "12", "22"]


def test_a_job_carried_over_into_an_attempt_that_was_not_read_is_known_by_its_name_and_start() -> None:
    third = seen(run_attempt=3, run_started_at=at(200), updated_at=at(220))
    run = facts(
        third,
        job_json("build", 1, 4, id=11),
        job_json("build", 1, 4, id=21, run_attempt=2),
        job_json("test", 103, 110, id=22, run_attempt=2),
        job_json("test", 203, 210, id=32, run_attempt=3),
        job_json("test", 203, 211, id=33, run_attempt=3),
    )
    assert [job.id for job in run.jobs] == ["11", "22", "32", "33"]


def test_a_rerun_whose_jobs_still_carry_an_earlier_number_ends_with_them_all_the_same() -> None:
    outcome = only_outcome(seen(run_attempt=3, run_started_at=at(0), updated_at=at(900)), job_json("test", 1, 18))
    assert outcome.finished_at == T0 + timedelta(minutes=18)


def test_a_job_that_waits_has_no_start_though_github_shows_one() -> None:
    job = one_job(status="queued", conclusion=None, started_at=at(0), completed_at=None)
    assert (job.state, job.started_at, job.queued, job.duration) == (RunState.PENDING, None, None, None)


def test_an_old_recording_without_creation_attempt_and_title_is_read() -> None:
    job = json.loads(json.dumps(job_json()))
    del job["created_at"], job["run_attempt"]
    run = {
        key: value for key, value in run_json().items() if key not in ("display_title", "run_attempt", "run_started_at")
    }
    old = read_run(run)
    assert old is not None
    assert (old.attempt, old.title, old.started_at) == (1, "", old.created_at)
    read = read_job(job, old)
    assert read is not None
    assert (read.attempt, read.queued) == (1, None)


def test_times_that_go_servers_write_for_never_are_no_times() -> None:
    assert one_job(completed_at="0001-01-01T00:00:00Z").finished_at is None
    assert read_run(run_json(created_at="0001-01-01T00:00:00+14:00")) is None


# ----------------------------------------------------------------------------------------------------- labels


def pull_request(number: int, into: int = 100) -> dict[str, Any]:
    return {"number": number, "base": {"repo": {"id": into}}}


@pytest.mark.parametrize(
    ("fields", "branch"),
    [
        ({"pull_requests": [pull_request(12)]}, "#12"),
        ({"pull_requests": [pull_request(3, into=999), pull_request(12)]}, "#12"),
        ({"pull_requests": [], "head_repository": {"owner": {"login": "ada"}}, "head_branch": "main"}, "ada:main"),
        ({"pull_requests": None, "head_repository": None, "head_branch": "fix"}, "ghost:fix"),
    ],
    ids=["of this repository", "of a fork as well", "of a fork only", "of a deleted fork"],
)
def test_a_change_request_is_called_by_its_number_or_by_owner_and_branch(fields: dict[str, Any], branch: str) -> None:
    run = facts(seen(event="pull_request", **fields), ref_type=RefType.CHANGE_REQUEST)
    assert (run.branch, run.event) == (branch, Event.CHANGE_REQUEST)


@pytest.mark.parametrize(
    ("event", "ref_type", "expected"),
    [
        ("push", RefType.DEFAULT, Event.PUSH),
        ("push", RefType.TAG, Event.TAG),
        ("create", RefType.TAG, Event.TAG),
        ("create", RefType.BRANCH, Event.OTHER),
        ("release", RefType.TAG, Event.TAG),
        ("schedule", RefType.DEFAULT, Event.SCHEDULE),
        ("pull_request_target", RefType.CHANGE_REQUEST, Event.CHANGE_REQUEST),
        ("workflow_dispatch", RefType.TAG, Event.MANUAL),
        ("repository_dispatch", RefType.DEFAULT, Event.API),
        ("merge_group", RefType.BRANCH, Event.OTHER),
        ("something_new", RefType.BRANCH, Event.OTHER),
    ],
)
def test_an_event_becomes_one_of_ours(event: str, ref_type: RefType, expected: Event) -> None:
    assert facts(seen(event=event), ref_type=ref_type).event is expected


def test_a_job_keeps_its_full_name_and_sorts_the_labels_asked_for() -> None:
    job = one_job(name="test (3.11, ubuntu) 3/20", labels=["self-hosted", "linux", "linux", 5, ""])
    assert (job.name, job.job, job.stage, job.runner) == ("test (3.11, ubuntu) 3/20",) * 2 + ("", "linux,self-hosted")


def test_a_workflow_without_a_name_is_called_by_its_file() -> None:
    assert seen(name=None, path=".github/workflows/ci.yml").workflow == ".github/workflows/ci.yml"


def test_half_a_surrogate_pair_is_replaced_since_no_database_takes_it() -> None:
    assert seen(display_title="broken \ud83d title").title == "broken ? title"


# ------------------------------------------------------------------------------------------------------ pages


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ("", None),
        ('<https://api.github.com/repositories/1/actions/runs?per_page=100&page=3>; rel="next"', 3),
        ('<https://a.b/x?page=1>; rel="prev", <https://evil.example/?page=3&created=%3E>; rel="next"', 3),
        ('<https://a.b/x?page=4>; rel="last", <https://a.b/x?page=1>; rel="first"', None),
        ('<https://a.b/x?page=2>; rel="next"', None),
        ('<https://a.b/x?per_page=9>; rel="next"', None),
        ('<https://a.b/x?page=nine>; rel="next"', None),
        ("<<<>;,,;rel=next", None),
    ],
    ids=["none", "next", "foreign host", "last page", "not onwards", "other parameter", "no number", "rubbish"],
)
def test_the_next_page_is_a_number_beyond_this_one_wherever_the_link_points(link: str, following: int | None) -> None:
    page = read_page(Response(200, {"link": link}, {"total_count": 250, "jobs": []}), "jobs", 2)
    assert page is not None
    assert (page.total, page.next) == (250, following)


@pytest.mark.parametrize(
    "data",
    [
        {"id": 5, "full_name": "k2/..", "default_branch": "main"},
        {"id": 5, "full_name": "k2/app?x=1", "default_branch": "main"},
        {"id": 5, "full_name": "k2/app"},
        {"full_name": "k2/app", "default_branch": "main"},
        [],
    ],
)
def test_a_repository_that_is_not_what_it_should_be_is_refused(data: Any) -> None:
    assert read_project(data, PROJECT) is None


# ------------------------------------------------------------------------------------------------- real answers


def test_every_recorded_run_and_job_is_read(shared_data: Path) -> None:
    runs = json.loads((shared_data / "fixtures/github/workflow_runs_list.json").read_text())["workflow_runs"]
    jobs = json.loads((shared_data / "fixtures/github/workflow_jobs_list.json").read_text())["jobs"]
    read = [read_run(run) for run in runs]
    assert len(read) == 18
    assert all(run is not None and run.result is not None for run in read)
    assert all(read_job(job, seen()) is not None for job in jobs)


def test_the_run_and_the_jobs_of_every_webhook_are_read(shared_data: Path) -> None:
    for file in (shared_data / "fixtures/github").glob("webhook_workflow_*.json"):
        payload = json.loads(file.read_text())
        if "workflow_run" in payload:
            assert read_run(payload["workflow_run"]) is not None
        else:
            assert read_job(payload["workflow_job"], seen()) is not None


def test_every_raw_sample_ends_when_its_last_job_ended(shared_data: Path) -> None:
    files = sorted((shared_data / "pipelines/raw_samples").glob("github_*.json.gz"))
    assert len(files) == 27
    for file in files:
        sample = json.loads(gzip.decompress(file.read_bytes()))
        run = read_run(sample["run"])
        jobs = sample["jobs"]["jobs"] if isinstance(sample["jobs"], dict) else sample["jobs"]
        assert run is not None
        outcome = only_outcome(run, *jobs)
        assert outcome.finished_at == max(parse_instant(job["completed_at"]) for job in jobs)
        assert outcome.duration == outcome.finished_at - run.started_at


# ------------------------------------------------------------------------------------------------ any JSON at all

ODD = [at(0), at(1), "9999-12-31", "0001-01-01T00:00:00Z", "2026-01-05", "a\0b", "x" * 5000, 2**63, 2**64, -1, 10**30]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(ODD)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
RUNS = st.dictionaries(st.sampled_from(sorted(run_json())), ANY_JSON).map(lambda odd: {**run_json(), **odd})
JOBS = st.dictionaries(st.sampled_from(sorted(job_json())), ANY_JSON).map(lambda odd: {**job_json(), **odd})


@settings(max_examples=60, deadline=None)
@given(data=ANY_JSON)
def test_whatever_json_comes_nothing_raises(data: Any) -> None:
    assert read_run(data) is None or isinstance(data, dict)
    assert read_job(data, seen()) is None or isinstance(data, dict)
    assert read_project(data, PROJECT) is None or isinstance(data, dict)
    assert read_page(Response(200, {"link": str(data)}, data), "jobs", 1) is None or isinstance(data, dict)


@settings(max_examples=60, deadline=None)
@given(run=RUNS, jobs=st.lists(JOBS, max_size=3))
def test_whatever_a_field_holds_the_facts_stay_within_what_can_be_kept(run: Any, jobs: list[Any]) -> None:
    read = read_run(run)
    if read is None:
        return
    executions = [job for job in (read_job(each, read) for each in jobs) if job is not None]
    made = assemble_run(read, (), executions, project=PROJECT, ref_type=RefType.BRANCH, now=T0)
    json.dumps([made.title, made.branch, made.sha, made.workflow]).encode()
    lengths = [length for each in (*made.outcomes, *made.jobs) for length in (each.duration, each.queued)]
    assert all(length is None or timedelta(0) <= length <= timedelta(days=3650) for length in lengths)
    assert all("\0" not in text and len(text) <= 1024 for text in (made.title, made.branch, made.sha, made.web_url))
    assert all(0 < each.attempt < 2**63 for each in (*made.outcomes, *made.jobs))
