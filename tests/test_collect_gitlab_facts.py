"""Test reports, deployments and schedules of a GitLab project: what is asked, and what is made of the answers."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from k2alert.collect.flow import Answer, Ask, Failure, Request, Response
from k2alert.collect.gitlab import look
from k2alert.collect.gitlab_facts_parse import parse_deployment, parse_schedules, parse_tests
from k2alert.collect.gitlab_parse import Malformed, parse_jobs, parse_run
from k2alert.model import (
    CoverageKind,
    CoverageReport,
    Deployment,
    Fact,
    Kind,
    KnownRun,
    NameOfTest,
    PipelineRun,
    Project,
    RefType,
    Result,
    RunState,
    Schedules,
    TestReport,
)
from k2alert.record import Store
from tests.support.drive import Drive, replay

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PROJECT = Project(source="gl", key="k2/app", path="k2/app", forge_id="42", default_branch="main", first_seen_at=T0)
ALL = frozenset({Kind.TEST, Kind.DEPLOYMENT, Kind.SCHEDULE})
API = "/v4/projects/42"
TIMES = {"created_at": "2026-01-05T11:00:00Z", "started_at": "2026-01-05T11:00:00Z"}
PIPELINE = {"id": 7, "status": "failed", "ref": "main", "source": "push", "sha": "a1", **TIMES} | {
    "updated_at": "2026-01-05T11:30:00Z",
    "finished_at": "2026-01-05T11:30:00Z",
}
FIRST_TRY = {"id": 70, "name": "unit", "status": "failed", "stage": "test", **TIMES}
RETRY = FIRST_TRY | {"id": 71, "status": "success", "finished_at": "2026-01-05T11:20:00Z"}
CASES = [
    {"status": "success", "classname": "a", "name": "fine", "execution_time": 1.5},
    {"status": "failed", "classname": "a", "name": "bad", "system_output": {"message": "no <b>"}},
    {"status": "error", "classname": "a", "name": "worse", "system_output": ["x"], "file": "a.py"},
    {"status": "skipped", "classname": "a", "name": "later"},
]
COUNTS = {"total_count": 4, "success_count": 1, "failed_count": 1, "skipped_count": 1, "error_count": 1}
SUMMARY = {"test_suites": [{"name": "unit", "total_time": 2.5, "build_ids": [71], **COUNTS}]}
FULL = {"test_suites": [{"name": "unit", **COUNTS, "test_cases": CASES}]}
DEPLOYMENT = {
    "id": 3,
    "ref": "main",
    "sha": "a1",
    "status": "failed",
    "created_at": "2026-01-05T11:10:00Z",
    "updated_at": "2026-01-05T11:16:00Z",
    "environment": {"name": "production", "tier": "production"},
    "deployable": {
        "id": 72,
        "tag": False,
        "finished_at": "2026-01-05T11:15:00Z",
        "commit": {"created_at": "2026-01-05T10:00:00Z"},
        "pipeline": {"id": 7},
        "web_url": "javascript:alert(1)",
    },
}
SCHEDULE = {"id": 5, "description": "nightly", "ref": "refs/heads/main", "cron": "0 2 * * *", "active": True}
SCHEDULE |= {"cron_timezone": "Europe/Berlin", "updated_at": "2026-01-01T00:00:00Z"}


def run(*jobs: Mapping[str, Any]) -> PipelineRun:
    parsed = parse_jobs(jobs or (FIRST_TRY, RETRY))
    assert not isinstance(parsed, Malformed)
    made = parse_run(PIPELINE, parsed, PROJECT)
    assert not isinstance(made, Malformed)
    return made


def looked(
    wants: frozenset[Kind] = ALL, bookmarks: Mapping[str, Any] | None = None, given: Any = None, **instead: Any
) -> Drive:
    """A look over REST; `instead` are other answers, by the last part of a path, `given` what else it is given."""
    said = {
        f"{API}": {"id": 42, "path_with_namespace": "k2/app", "default_branch": "main"},
        f"{API}/pipelines": [PIPELINE],
        f"{API}/pipelines/7": PIPELINE,
        f"{API}/pipelines/7/jobs": [FIRST_TRY, RETRY],
        f"{API}/pipelines/7/test_report_summary": SUMMARY,
        f"{API}/pipelines/7/test_report": FULL,
        f"{API}/deployments": [DEPLOYMENT],
        f"{API}/pipeline_schedules": [SCHEDULE],
    }

    def answer(request: Request) -> Answer:
        given = instead.get(request.path.rpartition("/")[2], said.get(request.path))
        if isinstance(given, Failure):
            return given
        if callable(given):
            given = given(dict(request.params))
        return Failure("not_found", "404", 404) if given is None else Response(200, {}, given)

    asked = Ask(PROJECT, T0 - timedelta(days=7), T0, wants=wants, memory={"graphql_refused": "no"})
    asked = replace(asked, bookmarks=bookmarks or {}, **(given or {}))
    return replay(look(asked), answer)


def facts(seen: Drive) -> list[Fact]:
    return [fact for batch in seen.batches for fact in batch.facts]


def kinds(seen: Drive) -> set[str]:
    """The kinds of requests that were made for facts."""
    return {request.kind for request in seen.requests} - {"project", "pipelines", "pipeline", "jobs"}


def test_a_look_reads_what_rules_want_after_the_runs_and_nothing_else() -> None:
    seen = looked()
    assert [type(fact) for fact in facts(seen)] == [TestReport, Deployment, Schedules]
    assert seen.batches[0].runs
    assert not seen.batches[0].facts
    assert kinds(looked(frozenset())) == set()
    assert kinds(looked(frozenset({Kind.RUN, Kind.SCHEDULE, Kind.COVERAGE}))) == {"schedules"}
    assert kinds(looked(frozenset({Kind.TEST}))) == {"test_report_summary", "test_report"}


async def test_what_a_look_reads_belongs_to_the_runs_that_it_recorded(store: Store) -> None:
    for batch in looked().batches:
        await store.save(batch.runs)
        saved = await store.save_facts(batch.facts)
        assert len(saved.facts) == len(batch.facts)  # a report of a run that is not recorded is dropped
        again = await store.save_facts(batch.facts)
        assert not again.facts


def test_the_full_report_is_asked_for_where_a_test_failed_or_a_job_was_retried() -> None:
    green = {"test_suites": [{"name": "unit", "total_count": 4, "success_count": 4, "build_ids": [71]}]}
    wants = frozenset({Kind.TEST})
    assert "test_report" in kinds(looked(wants, test_report_summary=green))  # the job was retried
    once = looked(wants, test_report_summary=green, jobs=[RETRY])
    assert kinds(once) == {"test_report_summary"}
    (totals,) = facts(once)
    assert isinstance(totals, TestReport)
    assert (totals.total, totals.failed, totals.named) == (4, 0, False)
    assert kinds(looked(wants, test_report_summary={"test_suites": []})) == {"test_report_summary"}


@pytest.mark.parametrize("reason", ["forbidden", "not_found", "server", "body", "timeout"])
def test_what_cannot_be_read_leaves_the_rest(reason: Any) -> None:
    for path, left in (("test_report_summary", 2), ("deployments", 2), ("pipeline_schedules", 2), ("test_report", 3)):
        seen = looked(**{path: Failure(reason, "no")})
        assert seen.look is not None
        assert seen.look.failure is None
        assert len(facts(seen)) == left


def test_a_limit_ends_the_look_and_keeps_what_was_read() -> None:
    seen = looked(deployments=Failure("rate_limited", "slow down", 429))
    assert seen.look is not None
    assert seen.look.failure is not None
    assert [type(fact) for fact in facts(seen)] == [TestReport]


# ------------------------------------------------------------------------------------------- what is due

KNOWN = {"7": KnownRun(datetime(2026, 1, 5, 11, 30, tzinfo=UTC), 1, RunState.FINISHED)}
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def then(seen: Drive, after: timedelta, **more: Any) -> dict[str, Any]:
    """The next look, so long after this one, at a project of which nothing is new."""
    assert seen.look is not None
    return {"bookmarks": seen.look.bookmarks, "given": {"now": T0 + after, "known": KNOWN, **more}}


def test_a_project_in_which_nothing_happened_is_not_asked_for_facts_again() -> None:
    first = looked()
    assert kinds(looked(**then(first, 59 * MINUTE))) == set()
    assert kinds(looked(**then(first, HOUR))) == {"deployments", "schedules"}


@pytest.mark.parametrize("reason", ["server", "timeout", "body"])
@pytest.mark.parametrize("path", ["test_report_summary", "test_report"])
def test_reports_that_could_not_be_read_are_asked_for_in_the_next_look(path: str, reason: Any) -> None:
    first = looked(**{path: Failure(reason, "no")})
    assert first.look is not None
    assert first.look.failure is None
    for listed in ([PIPELINE], []):  # within five minutes, and later
        again = looked(**then(first, MINUTE), pipelines=listed)
        assert [fact.named for fact in facts(again) if isinstance(fact, TestReport)] == [True]
        assert kinds(looked(**then(again, 2 * MINUTE), pipelines=listed)) == set()


def test_a_report_that_can_never_be_read_is_asked_for_five_times() -> None:
    seen, asked = looked(test_report=Failure("server", "500", 500)), 0
    for minute in range(1, 9):
        seen = looked(**then(seen, minute * MINUTE), pipelines=[], test_report=Failure("server", "500", 500))
        asked += "test_report" in kinds(seen)
    assert asked == 4
    gone = looked(test_report=Failure("server", "500", 500))
    seen = looked(**then(gone, MINUTE), pipelines=[], **{"7": Failure("not_found", "404", 404)})
    assert kinds(looked(**then(seen, 2 * MINUTE), pipelines=[])) == set()


def test_reports_whose_look_broke_off_are_asked_for_after_a_restart_too() -> None:
    broken = looked(test_report_summary=Failure("rate_limited", "slow down", 429))
    assert broken.look is not None
    assert broken.look.failure is not None
    assert broken.runs  # they are recorded, and known to the next look
    for bookmarks in (broken.look.bookmarks, {}):
        again = looked(bookmarks=bookmarks, given={"known": KNOWN})
        assert [type(fact) for fact in facts(again)] == [TestReport, Deployment, Schedules]


def test_what_the_token_may_not_read_is_asked_for_once_an_hour() -> None:
    no = Failure("forbidden", "403", 403)
    first = looked(deployments=no, pipeline_schedules=no, test_report_summary=no)
    assert kinds(looked(**then(first, 59 * MINUTE))) == set()
    assert kinds(looked(**then(first, HOUR))) == {"deployments", "schedules"}


def test_deployments_are_read_when_a_pipeline_came_to_its_end_and_since_they_were_last_read() -> None:
    since: list[str] = []

    def note(params: dict[str, str]) -> list[Any]:
        since.append(params["updated_after"])
        return []

    first = looked(deployments=note)
    ended = then(first, 30 * MINUTE, since=T0 + 20 * MINUTE)
    later = {**PIPELINE, "updated_at": "2026-01-05T12:29:00Z", "finished_at": "2026-01-05T12:29:00Z"}
    looked(**ended, deployments=note, pipelines=[later], **{"7": later})
    looked(given={"since": T0, "known": KNOWN}, deployments=note)  # a restart: nobody knows when they were read
    assert since == ["2025-12-29T11:00:00Z", "2026-01-05T11:55:00Z", "2026-01-05T11:00:00Z"]


def test_deployments_are_read_when_a_webhook_told_of_one() -> None:
    heard = then(looked(), MINUTE, heard=frozenset({Kind.DEPLOYMENT}))
    assert kinds(looked(**heard)) == {"deployments"}


def test_where_deployments_are_made_without_pipelines_they_are_read_every_five_minutes() -> None:
    first = looked(deployments=[DEPLOYMENT | {"deployable": None}])
    assert kinds(looked(**then(first, 4 * MINUTE))) == set()
    assert kinds(looked(**then(first, 5 * MINUTE))) == {"deployments"}


def test_a_schedule_is_read_anew_when_it_should_have_run() -> None:
    first = looked(pipeline_schedules=[SCHEDULE | {"next_run_at": "2026-01-05T12:20:00Z"}])
    assert kinds(looked(**then(first, 24 * MINUTE))) == set()
    again = looked(**then(first, 25 * MINUTE), pipeline_schedules=[SCHEDULE | {"next_run_at": "2026-01-05T12:20:00Z"}])
    assert kinds(again) == {"schedules"}
    assert kinds(looked(**then(again, 29 * MINUTE))) == set()  # though its worker is late
    assert kinds(looked(**then(again, 30 * MINUTE))) == {"schedules"}


def test_the_tier_of_an_environment_is_asked_for_once_and_guessed_by_its_name_where_it_is_not_told() -> None:
    names = {1: "eu", 2: "review/x", 3: "gone-live"}
    rows = [DEPLOYMENT | {"id": number, "environment": {"name": name}} for number, name in names.items()]

    def tell(params: dict[str, str]) -> list[Any]:
        return [{"name": "eu", "tier": "production"}] if params["name"] == "eu" else []

    first = looked(deployments=rows, environments=tell)
    found = [fact for fact in facts(first) if isinstance(fact, Deployment)]
    assert [fact.tier for fact in found] == ["production", "development", "production"]
    assert [request.kind for request in first.requests].count("environments") == 3
    again = looked(**then(first, HOUR), deployments=rows, environments=tell)
    assert "environments" not in kinds(again)
    assert [fact.tier for fact in facts(again) if isinstance(fact, Deployment)] == [fact.tier for fact in found]
    refused = looked(deployments=rows, environments=Failure("forbidden", "403", 403))
    assert [fact.tier for fact in facts(refused) if isinstance(fact, Deployment)] == [
        "other",
        "development",
        "production",
    ]


@pytest.mark.parametrize(
    ("said", "status", "percent"),
    [
        *(("68.49", "success", 68.49), (70, "success", 70), ("68.49", "failed", None)),
        *((junk, "success", None) for junk in ("x", None, True, "101", "nan")),
    ],
)
def test_gitlabs_coverage_is_that_of_a_pipeline_that_succeeded(said: Any, status: str, percent: float | None) -> None:
    ended = {**PIPELINE, "status": status, "coverage": said}
    (*found,) = facts(looked(frozenset({Kind.COVERAGE}), **{"7": ended}))
    assert [(fact.kind, fact.percent) for fact in found if isinstance(fact, CoverageReport)] == (
        [] if percent is None else [(CoverageKind.FORGE, percent)]
    )


def test_a_full_report_names_every_test_of_the_execution_that_the_summary_names() -> None:
    (report,) = parse_tests(SUMMARY, FULL, run())
    assert (report.by.id, report.by.name, report.by.stage) == ("71", "unit", "test")
    assert report.by.finished_at == datetime(2026, 1, 5, 11, 20, tzinfo=UTC)
    assert (report.total, report.failed, report.skipped, report.named) == (4, 2, 1, True)
    assert report.passed == (NameOfTest("a", "fine"),)
    assert [(case.test, case.message) for case in report.cases] == [
        ("bad", '{"message": "no <b>"}'),
        ("worse", '["x"]'),
    ]


def test_a_test_that_a_report_holds_twice_is_one_case_with_both_outcomes() -> None:
    rows = [{"status": status, "classname": "a", "name": "torn"} for status in ("failed", "success")]
    summary = {"test_suites": [{"name": "unit", "total_count": 2, "failed_count": 1, "build_ids": [71]}]}
    (report,) = parse_tests(summary, {"test_suites": [{"name": "unit", "test_cases": rows}]}, run())
    (case,) = report.cases
    assert (case.executions, case.failures, case.both, report.passed) == (2, 1, True, ())


@pytest.mark.parametrize("junk", [None, [], "x", {"test_suites": None}, {"test_suites": [None, {}, {"name": 3}]}])
def test_rubbish_for_a_report_is_no_report(junk: Any) -> None:
    assert parse_tests(junk, junk, run()) == []
    (report,) = parse_tests(SUMMARY, junk, run())
    assert not report.named
    odd = {"test_suites": [{"name": "unit", "build_ids": 3, "total_count": 1, "total_time": "x"}]}
    assert [each.by.id for each in parse_tests(odd, None, run())] == [""]


def test_a_deployment_is_what_its_job_and_environment_say() -> None:
    found = parse_deployment(DEPLOYMENT, PROJECT)
    assert found is not None
    assert (found.id, found.environment, found.tier, found.run) == ("3", "production", "production", "7")
    assert (found.state, found.result, found.ref_type) == (RunState.FINISHED, Result.FAILURE, RefType.DEFAULT)
    assert found.finished_at == datetime(2026, 1, 5, 11, 15, tzinfo=UTC)
    assert found.committed_at == datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
    assert found.web_url == ""
    by_hand = parse_deployment(DEPLOYMENT | {"deployable": None, "status": "success"}, PROJECT)
    assert by_hand is not None
    assert (by_hand.run, by_hand.finished_at) == ("", by_hand.seen)
    going = parse_deployment(DEPLOYMENT | {"status": "running"}, PROJECT)
    assert going is not None
    assert (going.state, going.result, going.finished_at) == (RunState.RUNNING, None, None)
    for key in ("id", "status", "created_at", "environment"):
        assert parse_deployment(DEPLOYMENT | {key: None}, PROJECT) is None


def test_schedules_name_the_branch_plainly_and_keep_what_is_off() -> None:
    rows = [SCHEDULE, SCHEDULE | {"id": 6, "ref": "old", "active": False}, {"id": 7}]
    nightly, off = parse_schedules(rows, PROJECT, seen=T0).schedules
    assert (nightly.name, nightly.branch, nightly.ref_type, nightly.timezone) == (
        "nightly",
        "main",
        RefType.DEFAULT,
        "Europe/Berlin",
    )
    assert (off.branch, off.ref_type, off.active) == ("old", RefType.BRANCH, False)


def test_recorded_answers_are_read(shared_data: Path) -> None:
    folder = shared_data / "fixtures/gitlab"
    for name in ("get_pipeline_testreport", "narkoz_pipeline_test_report"):
        full = json.loads((folder / f"{name}.json").read_text())
        reports = parse_tests(full, full, run())
        assert sum(report.total for report in reports) == full["total_count"]
        assert sum(report.failed for report in reports) == full["failed_count"] + full["error_count"]
    rows = json.loads((folder / "deployments_list.json").read_text())
    assert all(parse_deployment(row, PROJECT) is not None for row in rows)
