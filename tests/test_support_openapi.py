"""The judge of exchanges is judged itself: right ones pass, each kind of wrong one is named."""

import json
from pathlib import Path

import pytest

from tests.support.openapi import OpenApi

BEARER = {"Authorization": "Bearer x"}
JSON = {"Content-Type": "application/json; charset=utf-8"}


@pytest.fixture(scope="module")
def gitlab(shared_data: Path) -> OpenApi:
    return OpenApi(shared_data / "api/gitlab-ci-openapi.json", prefix="/api/v4", beyond=["/projects/[^/]+"])


@pytest.fixture(scope="module")
def github(shared_data: Path) -> OpenApi:
    return OpenApi(shared_data / "api/github-actions-openapi.json")


@pytest.mark.parametrize(
    ("query", "headers", "problem"),
    [
        ([("per_page", "100"), ("updated_after", "2026-01-01T00:00:00Z")], BEARER, None),
        ([("per_page", "100")], {"private-token": "x"}, None),
        ([("per_page", "101")], BEARER, "per_page"),
        ([("per_page", "ten")], BEARER, "per_page"),
        ([("updated_after", "2026-01-01T00:00:00")], BEARER, "date-time"),
        ([("status", "bogus")], BEARER, "status"),
        ([("page", "1"), ("page", "2")], BEARER, "2 times"),
        ([("since", "x")], BEARER, "since: not in the document"),
        ([], {}, "no authentication"),
        ([], {"JOB-TOKEN": "x"}, "no authentication"),
    ],
)
def test_a_request_is_held_against_its_parameters(gitlab, query, headers, problem):
    found = gitlab.check_request("GET", "/api/v4/projects/a%2Fb/pipelines", query, headers)
    assert found == [] if problem is None else len(found) == 1 and problem in found[0]


def test_an_unknown_path_is_a_problem_unless_it_is_said_to_lie_beyond(gitlab):
    assert gitlab.check_request("GET", "/api/v4/nothing", [], BEARER)
    assert not gitlab.covers("/api/v4/projects/1")
    assert not gitlab.covers("/api/graphql")
    assert gitlab.covers("/api/v4/projects/1/pipelines")


def test_recorded_answers_pass_and_spoiled_ones_do_not(gitlab, shared_data):
    items = json.loads((shared_data / "fixtures/gitlab/pipelines_list.json").read_text())
    path = "/api/v4/projects/1/pipelines"
    assert gitlab.check_response("GET", path, 200, JSON, json.dumps(items)) == []
    items[0]["status"] = "bogus"
    del items[1]["sha"]
    assert len(gitlab.check_response("GET", path, 200, JSON, json.dumps(items))) == 2
    assert gitlab.check_response("GET", path, 200, {"Content-Type": "text/html"}, "<html>")
    assert gitlab.check_response("GET", path, 418, JSON, "{}")


def test_references_and_literal_paths_of_a_large_document_resolve(github):
    path = "/repos/o/r/actions/runs"
    assert github.check_request("GET", path, [("per_page", "100"), ("status", "completed")], {}) == []
    assert github.check_request("GET", path, [("status", "nope")], {})
    assert github.check_response("GET", path, 200, JSON, '{"total_count": 0, "workflow_runs": []}') == []
    assert github.check_response("GET", path, 200, JSON, '{"total_count": 1, "workflow_runs": [{"id": 1}]}')
