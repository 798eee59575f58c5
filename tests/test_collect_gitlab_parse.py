"""What GitLab's words mean: statuses, reasons, refs, times, and what is made of a field that is not there."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k2alert.collect.gitlab_parse import Malformed, parse_jobs, parse_run
from k2alert.model import Event, PipelineRun, Project, RefType, Result, RunState

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PROJECT = Project(source="gl", key="k2/app", path="k2/app", default_branch="main", first_seen_at=T0)


def pipeline(**given: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "iid": 3,
        "status": "success",
        "ref": "main",
        "tag": False,
        "sha": "abc",
        "source": "push",
        "created_at": "2026-01-05T12:00:00.500Z",
        "updated_at": "2026-01-05T12:10:00.900Z",
        "started_at": "2026-01-05T12:01:00.000Z",
        "finished_at": "2026-01-05T12:09:00.250Z",
        "duration": 400,
        "queued_duration": 60,
        "web_url": "https://gitlab.example.com/k2/app/-/pipelines/7",
        "name": "Nightly",
        **given,
    }


def job(number: int = 1, name: str = "test", status: str = "success", **given: Any) -> dict[str, Any]:
    return {"id": number, "name": name, "status": status, **given}


def run_of(item: dict[str, Any], *jobs: dict[str, Any]) -> PipelineRun:
    parsed_jobs = parse_jobs(jobs)
    assert not isinstance(parsed_jobs, Malformed)
    run = parse_run(item, parsed_jobs, PROJECT)
    assert isinstance(run, PipelineRun)
    return run


def test_a_finished_pipeline_is_a_run_with_one_outcome():
    run = run_of(pipeline())
    assert (run.source, run.project, run.id, run.number, run.workflow) == ("gl", "k2/app", "7", "3", "Nightly")
    assert (run.event, run.ref_type, run.branch, run.sha) == (Event.PUSH, RefType.DEFAULT, "main", "abc")
    assert run.seen == T0 + timedelta(minutes=10)  # whole seconds: GraphQL has no more
    (outcome,) = run.outcomes
    assert outcome.result is Result.SUCCESS
    assert outcome.finished_at == T0 + timedelta(minutes=9, milliseconds=250)
    assert outcome.attempt == int(outcome.finished_at.timestamp())
    assert (outcome.duration, outcome.queued) == (timedelta(seconds=400), timedelta(seconds=60))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", RunState.PENDING),
        ("preparing", RunState.PENDING),
        ("waiting_for_callback", RunState.PENDING),
        ("pending", RunState.PENDING),
        ("running", RunState.RUNNING),
        ("canceling", RunState.RUNNING),
        ("manual", RunState.BLOCKED),
        ("scheduled", RunState.BLOCKED),
        ("waiting_for_resource", RunState.BLOCKED),
        ("a_status_of_next_year", RunState.BLOCKED),
    ],
)
def test_a_pipeline_that_has_not_finished_has_no_outcome_though_an_earlier_finish_is_shown(status, state):
    run = run_of(pipeline(status=status))
    assert (run.state, run.outcomes) == (state, ())


@pytest.mark.parametrize(
    ("status", "result"),
    [("canceled", Result.CANCELLATION), ("skipped", Result.SKIP), ("success", Result.SUCCESS)],
)
def test_a_final_status_is_a_result_and_what_has_no_finish_finished_when_it_last_changed(status, result):
    run = run_of(pipeline(status=status, finished_at=None, started_at=None, duration=None, queued_duration=None))
    (outcome,) = run.outcomes
    assert (run.state, outcome.result) == (RunState.FINISHED, result)
    assert outcome.finished_at == T0 + timedelta(minutes=10, milliseconds=900)
    assert (outcome.started_at, outcome.duration, outcome.queued) == (None, None, None)


RESULTS_OF_REASONS = {
    "no job known": ([], Result.FAILURE),
    "a script": (["script_failure"], Result.FAILURE),
    "a reason of next year": (["quantum_failure"], Result.FAILURE),
    "the runner": (["runner_system_failure"], Result.ERROR),
    "the runner, twice over": (["runner_system_failure", "ci_quota_exceeded"], Result.ERROR),
    "the runner and a script": (["runner_system_failure", "script_failure"], Result.FAILURE),
    "a timeout": (["job_execution_timeout"], Result.TIMEOUT),
    "stuck and the runner": (["stuck_or_timeout_failure", "api_failure"], Result.TIMEOUT),
    "a timeout and a script": (["job_execution_timeout", "script_failure"], Result.FAILURE),
    "unknown": ([""], Result.FAILURE),
}


@pytest.mark.parametrize(("reasons", "result"), RESULTS_OF_REASONS.values(), ids=RESULTS_OF_REASONS.keys())
def test_a_failed_pipeline_is_whose_fault_its_jobs_reasons_say(reasons, result):
    jobs = [job(number, f"job {number}", "failed", failure_reason=reason) for number, reason in enumerate(reasons)]
    run = run_of(pipeline(status="failed"), job(99, "green"), *jobs)
    assert run.outcomes[0].result is result


def test_only_the_latest_executions_count_and_allowed_failures_do_not():
    run = run_of(
        pipeline(status="failed"),
        job(5, "build", "success"),  # listed newest first, as GitLab does
        job(4, "lint", "failed", failure_reason="script_failure", allow_failure=True),
        job(3, "test", "failed", failure_reason="runner_system_failure"),
        job(2, "test", "failed", failure_reason="script_failure"),
        job(1, "build", "failed", failure_reason="script_failure"),
    )
    assert run.outcomes[0].result is Result.ERROR
    assert [(each.name, each.attempt) for each in run.jobs] == [
        ("build", 1),
        ("test", 1),
        ("test", 2),
        ("lint", 1),
        ("build", 2),
    ]


@pytest.mark.parametrize(
    ("given", "ref_type", "branch", "event"),
    [
        ({}, RefType.DEFAULT, "main", Event.PUSH),
        ({"ref": "feature/x"}, RefType.BRANCH, "feature/x", Event.PUSH),
        ({"ref": "refs/heads/main"}, RefType.DEFAULT, "main", Event.PUSH),
        ({"ref": "v1", "tag": True}, RefType.TAG, "v1", Event.TAG),
        ({"ref": "main", "tag": True}, RefType.TAG, "main", Event.TAG),
        ({"ref": "refs/tags/v1"}, RefType.TAG, "v1", Event.TAG),
        ({"ref": "v1", "tag": True, "source": "web"}, RefType.TAG, "v1", Event.MANUAL),
        (
            {"ref": "refs/merge-requests/12/head", "source": "merge_request_event"},
            RefType.CHANGE_REQUEST,
            "!12",
            Event.CHANGE_REQUEST,
        ),
        ({"ref": "refs/merge-requests/12/merge", "source": "api"}, RefType.CHANGE_REQUEST, "!12", Event.API),
        ({"ref": "main", "source": "merge_request_event"}, RefType.CHANGE_REQUEST, "main", Event.CHANGE_REQUEST),
        (
            {"ref": "fork", "source": "external_pull_request_event"},
            RefType.CHANGE_REQUEST,
            "fork",
            Event.CHANGE_REQUEST,
        ),
        ({"source": "schedule"}, RefType.DEFAULT, "main", Event.SCHEDULE),
        ({"source": "trigger"}, RefType.DEFAULT, "main", Event.API),
        ({"source": "pipeline"}, RefType.DEFAULT, "main", Event.API),
        ({"source": "chat"}, RefType.DEFAULT, "main", Event.OTHER),
        ({"source": None, "ref": None}, RefType.BRANCH, "", Event.OTHER),
    ],
)
def test_the_ref_and_the_source_say_what_it_ran_for(given, ref_type, branch, event):
    run = run_of(pipeline(**given))
    assert (run.ref_type, run.branch, run.event) == (ref_type, branch, event)


@pytest.mark.parametrize(
    ("given", "queued"),
    [
        ({"queued_duration": 7}, timedelta(seconds=7)),
        ({"queued_duration": None}, timedelta(seconds=59.5)),  # GitLab writes null for zero whole seconds
        ({"queued_duration": None, "started_at": "2026-01-05T11:00:00Z"}, timedelta(0)),
        ({"queued_duration": None, "started_at": None}, None),
        ({"queued_duration": None, "started_at": "9999-12-31T23:59:59Z"}, None),
    ],
)
def test_the_queue_time_is_what_gitlab_says_or_the_way_from_creation_to_start(given, queued):
    assert run_of(pipeline(**given)).outcomes[0].queued == queued


def test_a_job_execution_is_read_whole():
    run = run_of(
        pipeline(),
        job(
            11,
            "test 3/20",
            "failed",
            stage="check",
            tag_list=["linux", "arm"],
            allow_failure=True,
            failure_reason="job_execution_timeout",
            created_at="2026-01-05T12:00:00Z",
            started_at="2026-01-05T12:00:10Z",
            finished_at="2026-01-05T12:00:30Z",
            duration=20.25,
            queued_duration=9.5,
            web_url="https://gitlab.example.com/k2/app/-/jobs/11",
        ),
    )
    (read,) = run.jobs
    assert (read.id, read.name, read.job, read.stage, read.runner) == ("11", "test 3/20", "test", "check", "arm,linux")
    assert (read.result, read.reason, read.allowed) == (Result.TIMEOUT, "job_execution_timeout", True)
    assert (read.duration, read.queued) == (timedelta(seconds=20.25), timedelta(seconds=9.5))
    assert read.finished_at == T0 + timedelta(seconds=30)
    assert read.web_url.endswith("/jobs/11")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("test 3/20", "test"),
        ("test: [linux, 3.11]", "test: [linux, 3.11]"),
        ("build 1/2 image", "build 1/2 image"),
        ("lint", "lint"),
        ("3/20", "3/20"),
        (" 3/20", " 3/20"),
    ],
)
def test_the_label_of_a_job_is_its_name_without_its_part_of_a_parallel(name, label):
    assert run_of(pipeline(), job(name=name)).jobs[0].job == label


def test_a_job_that_waits_has_no_result_and_a_skipped_one_no_times():
    run = run_of(pipeline(), job(1, "a", "manual"), job(2, "b", "pending"), job(3, "c", "skipped"))
    assert [(each.state, each.result, each.finished_at) for each in run.jobs] == [
        (RunState.BLOCKED, None, None),
        (RunState.PENDING, None, None),
        (RunState.FINISHED, Result.SKIP, None),
    ]


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ({"id": None}, "pipeline ? has no usable id"),
        ({"id": True}, "pipeline ? has no usable id"),
        ({"id": -7}, "pipeline ? has no usable id"),
        ({"status": 5}, "pipeline 7 has no usable status"),
        ({"created_at": "yesterday"}, "pipeline 7 has no usable created_at"),
        ({"created_at": "0001-01-01T00:00:00Z"}, "pipeline 7 has no usable created_at"),
        ({"id": 10**19}, "pipeline ? has no usable id"),
        ({"created_at": "0001-01-01T00:00:00+14:00", "status": ""}, "pipeline 7 has no usable status, created_at"),
    ],
)
def test_a_pipeline_that_lacks_what_makes_it_one_is_named(item, what):
    assert parse_run(pipeline(**item), (), PROJECT) == Malformed(what)


@pytest.mark.parametrize("item", [None, [], 7, "pipeline", {"id": 5}])
def test_what_is_no_job_is_named(item):
    found = parse_jobs([job(), item])
    assert isinstance(found, Malformed)
    assert "no usable" in found.what


def test_fields_that_are_missing_or_of_another_type_say_nothing():
    bare = run_of({"id": 7, "status": "success", "created_at": "2026-01-05T12:00:00Z"})
    assert (bare.number, bare.workflow, bare.branch, bare.sha, bare.web_url) == ("", "", "", "", "")
    assert bare.seen == T0
    odd = run_of(pipeline(iid=[], ref=5, duration="long", queued_duration=True, started_at={}, web_url="javascript:1"))
    assert (odd.number, odd.branch, odd.web_url, odd.outcomes[0].duration, odd.outcomes[0].queued) == (
        *("", "", ""),
        *(None, None),
    )
    assert run_of(pipeline(duration=1e300)).outcomes[0].duration is None
    assert run_of(pipeline(duration=float("nan"))).outcomes[0].duration is None


def test_text_that_no_database_stores_is_replaced():
    run = run_of(pipeline(ref="a\x00b\ud800", name="n" * 5000), job(name="\udc00"))
    assert (run.branch, len(run.workflow), run.jobs[0].name) == ("a�b�", 1024, "�")


@pytest.mark.parametrize("name", ["pipelines_list", "pipelines_single"])
def test_every_recorded_pipeline_parses(shared_data, name):
    items = json.loads((shared_data / f"fixtures/gitlab/{name}.json").read_text())
    runs = [run_of(item) for item in items]
    assert [run.id for run in runs] == [str(item["id"]) for item in items]
    for run, item in zip(runs, items, strict=True):
        assert bool(run.outcomes) == (item["status"] in ("success", "failed", "canceled", "skipped"))
        assert run.web_url == item["web_url"]
        if item.get("duration") is not None and run.outcomes:
            assert run.outcomes[0].duration == timedelta(seconds=item["duration"])


def test_every_recorded_job_parses(shared_data):
    items = json.loads((shared_data / "fixtures/gitlab/jobs_list.json").read_text())
    jobs = parse_jobs(items)
    assert not isinstance(jobs, Malformed)
    assert sorted(each.id for each in jobs) == sorted(str(item["id"]) for item in items)
    assert all(each.result is not None and each.queued is None and each.runner == "" for each in jobs)
