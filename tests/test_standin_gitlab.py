"""The stand-in GitLab answers as GitLab does: over REST within the OpenAPI document, over GraphQL in its own words."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from yarl import URL

from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support.openapi import OpenApi, validating

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
API = "/api/v4/projects/"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


def pipeline(number: int, **given: Any) -> StandinPipeline:
    """A green pipeline of one job: created number minutes before T0, started a minute later, done in five."""
    created = given.pop("created_at", T0 - number * MINUTE)
    times = {"created_at": created, "started_at": created + MINUTE, "finished_at": created + 6 * MINUTE}
    job = StandinJob(id=number * 100, name="test", **times)
    return StandinPipeline(**{"id": number, "jobs": (job,), **times, **given})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gitlab(clock: Clock) -> StandinGitLab:
    standin = StandinGitLab(clock, token="secret")
    standin.add_project("k2/app", id=42)
    return standin


Get = Callable[..., Awaitable[tuple[int, Any, dict[str, str]]]]


@pytest.fixture
async def get(gitlab: StandinGitLab, shared_data: Path) -> AsyncIterator[Get]:
    """GETs a path with its query; every exchange must keep to the OpenAPI document."""
    problems: list[str] = []
    api = OpenApi(shared_data / "api/gitlab-ci-openapi.json", prefix="/api/v4", beyond=["/projects/[^/]+"])
    server = TestServer(gitlab.app(middlewares=[validating(api, problems)]))
    async with server, aiohttp.ClientSession() as session:

        async def fetch(path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
            url = URL(str(server.make_url("/")) + path.lstrip("/"), encoded=True)
            async with session.get(url, headers=headers or {"PRIVATE-TOKEN": "secret"}) as response:
                body = await (response.json() if response.content_type.endswith("json") else response.text())
                return response.status, body, dict(response.headers)

        yield fetch
    assert problems == []


async def test_a_pipeline_is_seen_created_pending_running_and_finished_as_its_times_come(get, gitlab, clock):
    gitlab.put("k2/app", pipeline(1, created_at=T0, status="failed"))
    seen = []
    for minute in (0, 0.5, 1, 5.5, 6):
        clock.now = T0 + minute * MINUTE
        _, body, _ = await get(API + "42/pipelines/1")
        seen.append((body["status"], body["updated_at"], body["finished_at"], body["duration"]))
    assert seen == [
        ("created", "2026-01-05T12:00:00Z", None, None),
        ("pending", "2026-01-05T12:00:00Z", None, None),
        ("running", "2026-01-05T12:01:00Z", None, None),
        ("running", "2026-01-05T12:01:00Z", None, None),
        ("failed", "2026-01-05T12:06:00Z", "2026-01-05T12:06:00Z", 300),
    ]


async def test_what_is_not_created_yet_is_not_there(get, gitlab, clock):
    gitlab.put("k2/app", pipeline(1, created_at=T0 + MINUTE))
    assert (await get(API + "42/pipelines"))[1] == []
    assert (await get(API + "42/pipelines/1"))[0] == 404


async def test_pages_end_with_an_empty_next_page(get, gitlab):
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 6)))
    status, body, headers = await get(API + "k2%2Fapp/pipelines?per_page=2&page=2")
    assert (status, [item["id"] for item in body]) == (200, [3, 2])
    assert (headers["X-Next-Page"], headers["X-Prev-Page"], headers["X-Total"]) == ("3", "1", "5")
    _, body, headers = await get(API + "42/pipelines?per_page=2&page=3")
    assert ([item["id"] for item in body], headers["X-Next-Page"]) == ([1], "")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [9, 8, 7]),
        ("sort=asc", [7, 8, 9]),
        ("order_by=updated_at", [7, 8, 9]),  # the lower the number, the later it ran
        ("status=failed", [8]),
        ("scope=finished", [9, 8, 7]),
        ("ref=v1", [7]),
        ("source=schedule", [9]),
        ("updated_after=2026-01-05T11:59:00Z", [7]),
        ("updated_before=2026-01-05T11:57:00Z", [9]),
    ],
)
async def test_the_listing_filters_and_sorts(get, gitlab, query, ids):
    gitlab.put("k2/app", pipeline(7, ref="v1", tag=True), pipeline(8, status="failed"), pipeline(9, source="schedule"))
    gitlab.put("k2/app", pipeline(10, source="parent_pipeline"))
    assert [item["id"] for item in (await get(API + "42/pipelines?" + query))[1]] == ids


async def test_retried_jobs_are_listed_when_asked_for_and_trigger_jobs_never(get, gitlab):
    jobs = tuple(
        StandinJob(id=number, name=name, created_at=T0, status=status, bridge=name == "deploy")
        for number, name, status in [(1, "test", "failed"), (2, "test", "success"), (3, "deploy", "success")]
    )
    gitlab.put("k2/app", pipeline(1, jobs=jobs))
    assert [job["id"] for job in (await get(API + "42/pipelines/1/jobs"))[1]] == [2]
    retried = (await get(API + "42/pipelines/1/jobs?include_retried=true"))[1]
    assert [(job["id"], job.get("failure_reason")) for job in retried] == [(2, None), (1, "script_failure")]
    scoped = (await get(API + "42/pipelines/1/jobs?include_retried=true&scope[]=failed"))[1]
    assert [job["id"] for job in scoped] == [1]


@pytest.mark.parametrize(
    ("path", "headers", "status", "body"),
    [
        (API + "9/pipelines", {"PRIVATE-TOKEN": "secret"}, 404, {"message": "404 Project Not Found"}),
        (API + "42/pipelines/5", {"Authorization": "Bearer secret"}, 404, {"message": "404 Not found"}),
        (API + "42/pipelines", {"Authorization": "Bearer wrong"}, 401, {"message": "401 Unauthorized"}),
    ],
)
async def test_errors_are_worded_as_gitlab_words_them(get, path, headers, status, body):
    assert (await get(path, **headers))[:2] == (status, body)


async def test_links_lead_to_a_page_without_a_token(get, gitlab):
    gitlab.put("k2/app", pipeline(1))
    _, body, _ = await get(API + "42/pipelines/1")
    status, page, _ = await get(URL(body["web_url"]).path, Accept="text/html")
    assert (status, "k2/app: pipeline 1" in page) == (200, True)
    assert (await get("/k2/other/-/pipelines/1", Accept="text/html"))[0] == 404


async def test_requests_are_counted_by_kind(get, gitlab):
    await get(API + "42")
    await get(API + "42/pipelines")
    await get(API + "42/pipelines")
    assert gitlab.requests == {"project": 1, "pipelines": 2}


@pytest.mark.parametrize("query", ["status=bogus", "per_page=0", "page=x", "updated_after=yesterday"])
async def test_a_senseless_filter_is_a_400(gitlab, query):
    async with TestServer(gitlab.app()) as server, aiohttp.ClientSession() as session:
        url = server.make_url(f"{API}42/pipelines?{query}")
        async with session.get(url, headers={"PRIVATE-TOKEN": "secret"}) as response:
            assert response.status == 400
            assert "error" in await response.json()


# ------------------------------------------------------------------------------------------- GraphQL


async def query(gitlab: StandinGitLab, text: str, token: str = "secret", **variables: Any) -> Any:
    async with TestServer(gitlab.app()) as server, aiohttp.ClientSession() as session:
        body = {"query": text, "variables": variables}
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(server.make_url("/api/graphql"), json=body, headers=headers) as response:
            return await response.json()


async def test_graphql_speaks_in_global_ids_upper_case_and_whole_seconds(gitlab):
    fraction = timedelta(milliseconds=250)
    gitlab.put("k2/app", pipeline(7, ref="v1", tag=True, finished_at=T0 - MINUTE + fraction))
    answer = await query(
        gitlab,
        'query { project(fullPath: "K2/App") { id fullPath repository { rootRef } pipelines(first: 5) {'
        " count nodes { id status refPath finishedAt jobs { nodes { id kind stage { name } } } } } } }",
    )
    assert answer["data"]["project"] == {
        "id": "gid://gitlab/Project/42",
        "fullPath": "k2/app",
        "repository": {"rootRef": "main"},
        "pipelines": {
            "count": 1,
            "nodes": [
                {
                    "id": "gid://gitlab/Ci::Pipeline/7",
                    "status": "SUCCESS",
                    "refPath": "refs/tags/v1",
                    "finishedAt": "2026-01-05T11:59:00Z",
                    "jobs": {
                        "nodes": [{"id": "gid://gitlab/Ci::Build/700", "kind": "BUILD", "stage": {"name": "test"}}]
                    },
                }
            ],
        },
    }


async def test_cursors_lead_through_all_pages(gitlab):
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 6)))
    text = (
        'query Q($after: String, $count: Boolean!) { project(fullPath: "k2/app") { pipelines(first: 2, after: $after) {'
        " count @include(if: $count) pageInfo { hasNextPage endCursor } nodes { iid } } } }"
    )
    seen, after = [], None
    while True:
        page = (await query(gitlab, text, after=after, count=after is None))["data"]["project"]["pipelines"]
        assert ("count" in page) == (after is None)
        seen += [node["iid"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == ["5", "4", "3", "2", "1"]


async def test_graphql_errors_come_with_a_200_in_gitlabs_words(gitlab):
    gitlab.unknown_fields = frozenset({"Project.webUrl"})
    answer = await query(gitlab, 'query { project(fullPath: "k2/app") { webUrl nonsense } }')
    assert [error["message"] for error in answer["errors"]] == [
        "Field 'webUrl' doesn't exist on type 'Project'",
        "Field 'nonsense' doesn't exist on type 'Project'",
    ]
    gitlab.complexity_limit = 5
    answer = await query(gitlab, 'query { project(fullPath: "k2/app") { pipelines(first: 100) { nodes { id iid } } } }')
    assert "exceeds max complexity of 5" in answer["errors"][0]["message"]
    assert "errors" in await query(gitlab, "query {")
    assert await query(gitlab, 'query { project(fullPath: "k2/none") { id } }') == {"data": {"project": None}}
    assert await query(gitlab, "query { x }", token="wrong") == {"errors": [{"message": "Invalid token"}]}


async def test_graphql_can_be_switched_off(gitlab):
    gitlab.graphql = False
    async with TestServer(gitlab.app()) as server, aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer secret"}
        async with session.post(server.make_url("/api/graphql"), json={}, headers=headers) as response:
            assert (response.status, response.content_type) == (404, "text/html")


async def test_a_large_history_is_served(gitlab):
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 1401)))
    answer = await query(gitlab, 'query { project(fullPath: "k2/app") { pipelines(first: 100) { count } } }')
    assert answer["data"]["project"]["pipelines"] == {"count": 1400}
