"""Every recorded answer in the shared data, by file: read by what collects now, or named as something later.

The lists of pipelines, runs and jobs and the raw samples have their own tests beside the parsers
(`test_collect_gitlab_parse`, `test_collect_github_parse`). Here are the others, and that no file is forgotten.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from k2alert.collect.answers import rate_limit_remaining
from k2alert.collect.flow import Response
from k2alert.collect.github_parse import read_page
from k2alert.collect.gitlab_parse import Malformed, parse_jobs, parse_run
from k2alert.model import PipelineRun, Project
from tests.support.fake_time import T0

PROJECT = Project(source="gitlab", key="k2/app", path="k2/app", default_branch="master", first_seen_at=T0)

READ = {
    "gitlab/pipelines_list.json",
    "gitlab/pipelines_single.json",
    "gitlab/jobs_list.json",
    "gitlab/deployments_list.json",  # this and the test reports in test_collect_gitlab_facts too
    "gitlab/get_pipeline_testreport.json",
    "gitlab/narkoz_pipeline_test_report.json",
    "gitlab/narkoz_pipeline_bridges.json",  # their pipelines and jobs; k2alert asks for no bridges
    "github/workflow_runs_list.json",
    "github/workflow_jobs_list.json",
    "github/headers_pr_not_found.json",
    "github/headers_pr_page_1.json",
    "github/headers_pr_page_last.json",
    "gitlab/webhook_pipeline.json",  # these in test_collect_hooks_facts, as all webhooks
    "gitlab/webhook_build.json",
    "gitlab/webhook_job.json",
    "github/webhook_check_run__completed.json",
    "github/webhook_workflow_run__completed.json",
    "github/webhook_workflow_run__completed.with-pull-requests.json",
    "github/webhook_workflow_run__requested.json",
    "github/webhook_workflow_job__completed.failure.with-organization.json",
    "github/webhook_workflow_job__completed.success.with-organization.json",
    "github/webhook_workflow_job__in_progress.json",
    "github/webhook_workflow_job__queued.json",
    "github/webhook_workflow_job__waiting.json",
}
NOT_YET = {
    "gitlab/merge_requests_list.json": "deployments and lead time",
    "gitlab/narkoz_environments.json": "deployments and lead time",
    "gitlab/webhook_deployment.json": "deployments and lead time",
    "github/webhook_deployment_status__payload.json": "deployments and lead time",
}


def recorded(shared_data: Path, name: str) -> Any:
    return json.loads((shared_data / "fixtures" / name).read_text())


def parsed_run(item: Any) -> PipelineRun:
    run = parse_run(item, (), PROJECT)
    assert not isinstance(run, Malformed), run
    return run


def test_every_file_is_read_or_named_as_something_later(shared_data: Path) -> None:
    folders = [shared_data / "fixtures" / forge for forge in ("gitlab", "github")]
    there = {f"{folder.name}/{file.name}" for folder in folders for file in folder.iterdir()}
    assert there == READ | set(NOT_YET)


def test_the_job_and_the_pipeline_of_every_recorded_deployment_parse(shared_data: Path) -> None:
    jobs = [each["deployable"] for each in recorded(shared_data, "gitlab/deployments_list.json") if each["deployable"]]
    parsed = parse_jobs(jobs)
    assert not isinstance(parsed, Malformed)
    assert [each.id for each in parsed] == sorted((str(job["id"]) for job in jobs), key=int)
    assert all(parsed_run(job["pipeline"]).id == str(job["pipeline"]["id"]) for job in jobs if job.get("pipeline"))


def test_every_recorded_bridge_parses_as_the_job_that_it_is_and_with_its_pipelines(shared_data: Path) -> None:
    bridges = recorded(shared_data, "gitlab/narkoz_pipeline_bridges.json")
    parsed = parse_jobs(bridges)
    assert not isinstance(parsed, Malformed)
    assert len(parsed) == len(bridges)
    for bridge in bridges:
        for key in ("pipeline", "downstream_pipeline"):
            downstream = {"created_at": bridge["created_at"], **bridge[key]}  # recorded before GitLab said when
            assert parsed_run(downstream).id == str(bridge[key]["id"])


@pytest.mark.parametrize(("name", "page", "following"), [("page_1", 1, 2), ("page_last", 4, None)])
def test_githubs_recorded_headers_say_what_page_follows(
    shared_data: Path, name: str, page: int, following: int | None
) -> None:
    headers = recorded(shared_data, f"github/headers_pr_{name}.json")
    read = read_page(Response(200, headers, {"total_count": 0, "items": []}), "items", page)
    assert read is not None
    assert read.next == following


@pytest.mark.parametrize("name", ["page_1", "page_last", "not_found"])
def test_githubs_recorded_headers_say_what_is_left_to_ask(shared_data: Path, name: str) -> None:
    headers = recorded(shared_data, f"github/headers_pr_{name}.json")
    assert rate_limit_remaining(headers) == int(headers["x-ratelimit-remaining"])
