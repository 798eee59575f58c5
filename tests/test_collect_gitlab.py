"""A look at a GitLab project: against the stand-in over HTTP, and step by step with answers no stand-in gives."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2alert.collect.flow import Ask, Failure, Look, Request, Response
from k2alert.collect.gitlab import FORGE, look
from k2alert.model import JobRun, KnownRun, PipelineRun, Project, RefType, Result, RunState
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support.drive import Drive, drive, replay
from tests.support.openapi import OpenApi, validating

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SINCE = T0 - timedelta(days=7)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def ask(key: str = "k2/app", *, known: Mapping[str, KnownRun] | None = None, **given: Any) -> Ask:
    project = Project(source="gl", key=key, path=given.pop("path", key), first_seen_at=T0)
    return Ask(project, given.pop("since", SINCE), T0, known=known or {}, **given)


def pipeline(number: int, **given: Any) -> StandinPipeline:
    """A pipeline of one job, created number minutes before T0 and done five minutes later."""
    created = given.pop("created_at", T0 - (number + 10) * MINUTE)
    times = {"created_at": created, "started_at": created + 30 * SECOND, "finished_at": created + 5 * MINUTE}
    times |= {name: given.pop(name) for name in ("started_at", "finished_at") if name in given}
    status = given.get("status", "success")
    jobs = (StandinJob(id=number * 100, name="test", status=status, tags=("b", "a"), **times),)
    return StandinPipeline(**{"id": number, "jobs": jobs, **times, **given})


def job(number: int, name: str = "test", **given: Any) -> StandinJob:
    times = {"created_at": T0 - 20 * MINUTE, "started_at": T0 - 19 * MINUTE, "finished_at": T0 - 15 * MINUTE}
    return StandinJob(**{"id": number, "name": name, **times, **given})


@pytest.fixture
def gitlab() -> StandinGitLab:
    standin = StandinGitLab(lambda: T0, token="t")
    standin.add_project("k2/app", id=42)
    return standin


@pytest.fixture(params=["graphql", "rest"])
def way(request, gitlab) -> str:
    """Each way of reading in turn."""
    gitlab.graphql = request.param == "graphql"
    return request.param


@pytest.fixture
async def watch(gitlab: StandinGitLab, shared_data: Path):
    """Looks at the stand-in over HTTP; every exchange must keep to the OpenAPI document."""
    problems: list[str] = []
    api = OpenApi(shared_data / "api/gitlab-ci-openapi.json", prefix="/api/v4", beyond=["/projects/[^/]+"])
    async with TestServer(gitlab.app(middlewares=[validating(api, problems)])) as server:

        async def watch(wish: Ask | None = None, **given: Any) -> Drive:
            return await drive(look(wish or ask(**given)), FORGE, str(server.make_url("")))

        yield watch
    assert problems == []


def known_of(seen: Drive) -> dict[str, KnownRun]:
    """What a store that recorded this look would know."""
    return {
        run.id: KnownRun(run.seen, max((each.attempt for each in run.outcomes), default=0), run.state)
        for run in seen.runs.values()
    }


# ------------------------------------------------------------------------------- both ways, over HTTP


async def test_a_look_tells_the_project_and_its_runs(gitlab, watch, way):
    gitlab.put("k2/app", pipeline(1, name="Nightly", source="schedule", iid=77))
    seen = await watch()
    assert seen.look is not None
    assert seen.look.failure is None
    project = seen.look.project
    assert (project.path, project.forge_id, project.default_branch) == ("k2/app", "42", "main")
    (run,) = seen.runs.values()
    assert (run.id, run.number, run.workflow, run.ref_type, run.branch) == (
        "1",
        "77",
        "Nightly",
        RefType.DEFAULT,
        "main",
    )
    assert run.web_url == f"{project.web_url}/-/pipelines/1"
    assert run.outcomes[0].duration == timedelta(minutes=4, seconds=30)
    assert run.outcomes[0].queued == 30 * SECOND
    (execution,) = run.jobs
    assert (execution.id, execution.stage, execution.runner) == ("100", "test", "a,b")
    assert execution.web_url == f"{project.web_url}/-/jobs/100"


async def test_both_ways_tell_the_same_facts(gitlab, watch):
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 25)))
    gitlab.put(
        "k2/app",
        pipeline(30, status="failed", jobs=(job(1, status="failed", failure_reason="runner_system_failure"),)),
        pipeline(31, status="canceled", ref="v1", tag=True),
        pipeline(32, status="skipped", started_at=None, finished_at=None),
        pipeline(33, status="manual", finished_at=None, ref="feature"),
        pipeline(34, finished_at=T0 + MINUTE, ref="refs/merge-requests/5/head", source="merge_request_event"),
        pipeline(35, status="failed", jobs=()),
        pipeline(36, jobs=(job(2, status="failed"), job(3), job(4, "deploy", bridge=True))),
    )
    by_graphql = await watch()
    gitlab.graphql = False
    by_rest = await watch()
    assert {run.id: untitled(run) for run in by_graphql.runs.values()} == {
        run.id: untitled(run) for run in by_rest.runs.values()
    }
    assert len(by_rest.runs) == 31
    assert by_graphql.look is not None
    assert by_rest.look is not None
    assert by_graphql.look.project == by_rest.look.project
    assert len(by_graphql.requests) == 4  # two pages, and the jobs of the two that failed
    assert (by_graphql.runs["30"].outcomes[0].result, by_graphql.runs["36"].jobs[0].attempt) == (Result.ERROR, 1)


def untitled(run: PipelineRun) -> Any:
    """What both ways can tell: GraphQL gives no commit titles and no reasons in a pipeline that did not fail."""
    return (
        [getattr(run, name) for name in PipelineRun.__slots__ if name not in ("title", "jobs")],
        [[getattr(each, name) for name in JobRun.__slots__ if name != "reason"] for each in run.jobs],
    )


async def test_a_long_history_is_read_to_its_end_in_batches(gitlab, watch, way):
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 131)))
    seen = await watch(first=True)
    assert len(seen.runs) == 130
    assert [(batch.done, batch.total) for batch in seen.batches] == [
        *((done, 130) for done in (20, 40, 60, 80, 100, 120)),
        (130, 130),
    ]


def failing(number: int, **given: Any) -> StandinPipeline:
    """A pipeline that failed by a job, with another that failed and may."""
    lint = job(number * 100 + 1, "lint", status="failed", allow_failure=True)
    return pipeline(number, status="failed", jobs=(job(number * 100, status="failed", **given), lint))


async def test_a_backfill_asks_why_jobs_failed_for_many_pipelines_at_once(gitlab, watch):
    gitlab.put("k2/app", *(failing(number, failure_reason="api_failure") for number in range(1, 121)))
    seen = await watch(first=True)
    assert [request.kind for request in seen.requests].count("graphql") == 6
    assert [request.path for request in seen.requests if request.kind == "jobs"] == ["/v4/projects/42/jobs"] * 3
    assert [run.outcomes[0].result for run in seen.runs.values()] == [Result.ERROR] * 120
    assert {run.title for run in seen.runs.values()} == {"Change something"}
    gitlab.graphql = False
    by_rest = await watch()
    assert seen.runs == by_rest.runs


async def test_a_list_of_failed_jobs_that_would_cost_more_than_it_saves_is_left_alone(gitlab, watch):
    for number in range(2, 12):
        allowed = (job(number * 1000 + n, f"lint {n}", status="failed", allow_failure=True) for n in range(90))
        gitlab.put("k2/app", pipeline(number, jobs=(*allowed, job(number * 1000 + 99))))
    gitlab.put("k2/app", failing(1, failure_reason="api_failure"))
    seen = await watch(first=True)
    assert seen.runs["1"].outcomes[0].result is Result.ERROR
    assert [request.kind for request in seen.requests] == ["graphql", *(["jobs"] * 4)]


def told_by_graphql(*statuses: str) -> dict[str, Any]:
    """GraphQL's answer of pipelines from number 7 on that came to these, each with a job that did too."""
    nodes = []
    for number, status in enumerate(statuses, 7):
        jobs = [{"id": f"gid://gitlab/Ci::Build/{number + 2}", "name": "t", "status": status}]
        node = {"id": f"gid://gitlab/Ci::Pipeline/{number}", "status": status, "createdAt": "2026-01-05T11:00:00Z"}
        nodes.append(node | {"jobs": {"nodes": jobs, "pageInfo": {}}})
    listing = {"nodes": nodes, "pageInfo": {"hasNextPage": False}}
    return {"data": {"project": {"id": "gid://gitlab/Project/42", "fullPath": "k2/app", "pipelines": listing}}}


@pytest.mark.parametrize("answer", [Failure("forbidden", "403", 403), [], {"no": "list"}, [{"id": 1}]])
def test_where_the_list_of_failed_jobs_says_nothing_each_pipeline_is_asked(answer):
    rest = [{"id": 9, "name": "t", "status": "failed", "failure_reason": "api_failure"}]

    def tell(request: Request) -> Any:
        data = told_by_graphql("FAILED") if request.body else answer if request.path == "/v4/projects/42/jobs" else rest
        return data if isinstance(data, Failure) else Response(200, {}, data)

    seen = replay(look(ask(first=True)), tell)
    assert seen.runs["7"].outcomes[0].result is Result.ERROR
    assert len(seen.requests) == 3


def test_a_limit_met_in_the_list_of_failed_jobs_ends_the_look():
    limited = answering(graphql=told_by_graphql("FAILED", "SUCCESS"), jobs=Failure("rate_limited", "429", 429))
    seen = replay(look(ask(first=True)), limited)
    assert (seen.look.failure.reason, list(seen.runs), len(seen.requests)) == ("rate_limited", ["8"], 2)


async def test_what_finished_and_is_known_is_not_read_again(gitlab, watch, way):
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 4)), pipeline(4, finished_at=T0 + MINUTE))
    first = await watch()
    gitlab.requests.clear()
    again = await watch(known=known_of(first))
    assert list(again.runs) == ["4"]  # still running: its jobs move on without a change of its own
    assert gitlab.requests["jobs"] == (1 if way == "rest" else 0)


async def test_a_retry_is_seen_running_and_then_as_another_outcome(gitlab, watch, way):
    gitlab.put("k2/app", pipeline(1, status="failed"))
    first = await watch()
    times = {"created_at": T0 - 11 * MINUTE, "started_at": T0 - 10 * MINUTE}
    retried = pipeline(1, **times, finished_at=T0 + MINUTE, changed_at=T0)
    gitlab.put("k2/app", retried)
    running = await watch(known=known_of(first))
    assert (running.runs["1"].state, running.runs["1"].outcomes) == (RunState.RUNNING, ())
    gitlab.clock = lambda: T0 + 2 * MINUTE
    ended = await watch(known=known_of(running))
    assert ended.runs["1"].outcomes[0].result is Result.SUCCESS
    assert ended.runs["1"].outcomes[0].attempt > first.runs["1"].outcomes[0].attempt


async def test_a_running_pipeline_that_has_not_changed_is_still_looked_at_for_its_jobs(gitlab, watch, way):
    started = T0 - 60 * MINUTE
    jobs = (job(1, finished_at=T0 - MINUTE), job(2, "slow", finished_at=T0 + MINUTE))
    gitlab.put("k2/app", pipeline(1, created_at=started, finished_at=T0 + MINUTE, jobs=jobs))
    known = {"1": KnownRun(started, 0, RunState.RUNNING)}
    seen = await watch(since=T0 - 10 * MINUTE, known=known)
    assert [(each.name, each.state) for each in seen.runs["1"].jobs] == [
        ("test", RunState.FINISHED),
        ("slow", RunState.RUNNING),
    ]
    nothing = await watch(since=T0 - 10 * MINUTE)
    assert nothing.runs == {}


async def test_more_jobs_than_a_page_holds_are_all_read(gitlab, watch, way):
    jobs = tuple(job(number, f"test {number}/230") for number in range(1, 231))
    gitlab.put("k2/app", pipeline(1, jobs=jobs))
    seen = await watch()
    assert len(seen.runs["1"].jobs) == 230
    assert {each.job for each in seen.runs["1"].jobs} == {"test"}


async def test_a_project_configured_by_number_is_asked_for_its_path(gitlab, watch, way):
    gitlab.put("k2/app", pipeline(1))
    seen = await watch(key="42")
    assert seen.look is not None
    assert (seen.look.project.path, seen.runs["1"].project) == ("k2/app", "k2/app")
    assert seen.requests[0].path == "/v4/projects/42"


async def test_a_project_that_is_not_there_is_a_failure_and_no_zero(watch, way):
    seen = await watch(key="k2/none")
    assert seen.look is not None
    assert (seen.look.failure.reason, seen.runs, seen.look.memory) == ("not_found", {}, {})


async def test_a_wrong_token_is_said_at_once(gitlab, watch, way):
    gitlab.token = "another"
    seen = await watch()
    assert seen.look is not None
    assert seen.look.failure.reason == "auth"
    assert len(seen.requests) == 1


async def test_what_a_look_learns_of_graphql_is_kept_for_the_next(gitlab, watch):
    gitlab.graphql = False
    gitlab.put("k2/app", pipeline(1))
    seen = await watch()
    assert seen.look is not None
    assert gitlab.requests["graphql"] == 1
    await watch(memory=seen.look.memory)
    assert gitlab.requests["graphql"] == 1


async def test_newer_fields_that_an_old_instance_lacks_are_done_without(gitlab, watch):
    gitlab.unknown_fields = frozenset({"Pipeline.name", "PipelineConnection.count"})
    gitlab.put("k2/app", pipeline(1, name="Nightly"))
    seen = await watch(first=True)
    assert seen.look is not None
    assert (seen.runs["1"].workflow, seen.runs["1"].jobs[0].runner, seen.batches[0].total) == ("", "a,b", None)
    assert gitlab.requests == {"graphql": 2}
    await watch(memory=seen.look.memory)
    assert gitlab.requests == {"graphql": 3}  # it was not tried again


@pytest.mark.parametrize("field", ["Pipeline.refPath", "CiJob.tags"])
async def test_an_instance_whose_graphql_lacks_what_labels_are_made_of_is_read_over_rest(gitlab, watch, field):
    gitlab.unknown_fields = frozenset({field})
    gitlab.put("k2/app", pipeline(1, ref="v1", tag=True))
    seen = await watch()
    assert seen.look is not None
    assert (seen.runs["1"].ref_type, seen.look.memory) == (
        RefType.TAG,
        {"graphql_refused": f"this instance does not know {field}"},
    )


async def test_a_query_too_complex_is_asked_in_smaller_pages(gitlab, watch):
    gitlab.complexity_limit = 66
    gitlab.put("k2/app", *(pipeline(number) for number in range(1, 25)))
    seen = await watch()
    assert len(seen.runs) == 24
    sizes = [request.body["variables"]["first"] for request in seen.requests]
    assert (sizes[0], sizes[-1] < 20) == (20, True)
    gitlab.complexity_limit = 1
    assert list((await watch()).look.memory) == ["graphql_rests_until"]  # read over REST, for a while


async def test_the_full_query_costs_what_gitlab_allows(gitlab, watch):
    await watch(first=True)
    assert gitlab.requests == {"graphql": 1}


# ---------------------------------------------------------------------------- step by step, by hand


def answering(**answers: Any) -> Callable[[Request], Any]:
    """Answers by the request's kind: data, or a Failure, or a list of such in turn (the last one stays)."""
    calls: dict[str, int] = {}

    def answer(request: Request) -> Any:
        given = answers.get(request.kind, Failure("not_found", "404", 404))
        if isinstance(given, tuple):
            turn = calls[request.kind] = calls.get(request.kind, -1) + 1
            given = given[min(turn, len(given) - 1)]
        return given if isinstance(given, Failure | Response) else Response(200, {"x-next-page": ""}, given)

    return answer


def listed(number: int = 1, **given: Any) -> dict[str, Any]:
    return {"id": number, "status": "success", "created_at": "2026-01-05T11:00:00Z", "ref": "main", **given}


DETAILS = {"id": 42, "path_with_namespace": "k2/app", "default_branch": "main", "web_url": "https://h/k2/app"}
REST = {"graphql_refused": "said by the test"}


def test_pipelines_are_read_though_the_project_itself_is_refused():
    seen = replay(look(ask(memory=REST)), answering(pipelines=[listed()], pipeline=listed(), jobs=[]))
    assert seen.look is not None
    assert (seen.look.failure, list(seen.runs)) == (None, ["1"])
    assert seen.runs["1"].ref_type is RefType.BRANCH  # the default branch is not known
    assert seen.requests[1].path == "/v4/projects/k2%2Fapp/pipelines"


def test_the_listing_is_asked_for_in_whole_utc_seconds_and_by_page_number():
    since = datetime(2026, 1, 1, 1, 0, 0, 999_999, tzinfo=UTC)
    pages = (Response(200, {"x-next-page": "2", "x-total": "101"}, []), [])
    seen = replay(look(ask(memory=REST, since=since)), answering(project=DETAILS, pipelines=pages))
    assert [dict(request.params) for request in seen.requests[1:]] == [
        {"updated_after": "2026-01-01T01:00:00Z", "order_by": "id", "sort": "desc", "per_page": "100", "page": page}
        for page in ("1", "2")
    ]


@pytest.mark.parametrize(
    ("headers", "rows", "pages", "reason"),
    [
        ({}, 100, 2, None),  # a proxy dropped the headers: a full page may have another behind it
        ({}, 99, 1, None),
        ({"x-next-page": "1"}, 1, 1, "body"),
        ({"x-next-page": "two"}, 1, 1, "body"),
    ],
)
def test_odd_headers_of_paging_neither_loop_nor_cut_short(headers, rows, pages, reason):
    page = [listed(number, source="parent_pipeline") for number in range(rows)]
    answers = answering(project=DETAILS, pipelines=(Response(200, headers, page), []))
    seen = replay(look(ask(memory=REST)), answers)
    assert sum(request.kind == "pipelines" for request in seen.requests) == pages
    assert (seen.look.failure.reason if seen.look.failure else None) == reason


@pytest.mark.parametrize("kind", ["pipelines", "jobs"])
def test_a_server_that_does_not_page_is_not_asked_for_ever(kind):
    full = Response(200, {}, [listed(number, name="test") for number in range(1, 101)])
    parts = {"pipelines": [listed()], "jobs": [], kind: full}
    seen = replay(look(ask(memory=REST)), answering(project=DETAILS, pipeline=listed(), **parts))
    assert sum(request.kind == kind for request in seen.requests) == 2
    assert seen.look.failure == Failure("body", "page 2 of a listing is the page before it again")


def test_no_more_jobs_are_read_than_the_store_keeps():
    def answer(request: Request) -> Any:
        if request.kind != "jobs":
            return answering(project=DETAILS, pipelines=[listed()], pipeline=listed())(request)
        page = int(dict(request.params)["page"])
        items = [listed(page * 20_000 + number, name="test") for number in range(20_000)]
        return Response(200, {"x-next-page": str(page + 1)}, items)

    seen = replay(look(ask(memory=REST)), answer)
    assert sum(request.kind == "jobs" for request in seen.requests) == 4


def test_what_was_read_before_a_failure_is_handed_over():
    page = [listed(number) for number in range(1, 51)]
    jobs = ([],) * 30 + (Failure("server", "503", 503),)
    seen = replay(look(ask(memory=REST)), answering(project=DETAILS, pipelines=page, pipeline=listed(), jobs=jobs))
    assert seen.look is not None
    assert seen.look.failure == Failure("server", "503", 503)
    assert [len(batch.runs) for batch in seen.batches] == [20, 10]


def test_an_unreadable_item_fails_the_look_after_the_readable_ones():
    page = [listed(1), {"id": 2, "status": "success"}, listed(3), "what?", listed(4)]
    answers = answering(project=DETAILS, pipelines=page, pipeline=listed(), jobs=([], [{"id": 5}], []))
    seen = replay(look(ask(memory=REST)), answers)
    assert seen.look is not None
    assert seen.look.failure == Failure("body", "pipeline 2 has no usable created_at (and 2 more such items)")
    assert list(seen.runs) == ["1", "4"]


def test_a_pipeline_deleted_since_it_was_listed_is_passed_over():
    gone = Failure("not_found", "404", 404)
    answers = answering(project=DETAILS, pipelines=[listed(1), listed(2)], pipeline=(gone, listed(2)), jobs=[])
    seen = replay(look(ask(memory=REST)), answers)
    assert (seen.look.failure, list(seen.runs)) == (None, ["2"])


def test_a_project_shut_to_us_mid_look_is_not_taken_for_one_whose_pipelines_are_gone():
    gone = Failure("not_found", "404", 404)
    seen = replay(look(ask(memory=REST)), answering(project=DETAILS, pipelines=([listed()], gone), pipeline=gone))
    assert seen.look.failure == gone


@pytest.mark.parametrize(
    "graphql",
    [
        Failure("forbidden", "403", 403),
        Failure("body", "HTML"),
        {"errors": [{"message": "The resource that you are attempting to access does not exist"}]},
        {"errors": "no"},
        {"data": None},
        [],
        "<html>",
    ],
)
def test_graphql_refused_in_any_way_leads_to_rest(graphql):
    answers = answering(graphql=graphql, project=DETAILS, pipelines=[listed()], pipeline=listed(), jobs=[])
    seen = replay(look(ask()), answers)
    assert (seen.look.failure, list(seen.runs), list(seen.look.memory)) == (None, ["1"], ["graphql_refused"])


@pytest.mark.parametrize(
    "slow",
    [Failure("timeout", "30 s"), Failure("server", "504", 504), {"errors": [{"message": "Timeout on Q.project"}]}],
)
def test_a_slow_graphql_is_asked_for_less_and_then_left_alone_for_an_hour(slow):
    answers = answering(graphql=slow, project=DETAILS, pipelines=[])
    first = ask()
    seen = replay(look(first), answers)
    sizes = [request.body["variables"]["first"] for request in seen.requests if request.body]
    assert (sizes, seen.look.failure) == ([20, 10, 5, 2, 1], None)

    for minutes, asked in ((59, False), (60, True)):
        later = replace(first, now=first.now + timedelta(minutes=minutes), memory=seen.look.memory)
        assert any(request.kind == "graphql" for request in replay(look(later), answers).requests) is asked


@pytest.mark.parametrize("reason", ["auth", "rate_limited", "network", "server"])
def test_a_forge_in_trouble_is_not_asked_another_way(reason):
    seen = replay(look(ask()), answering(graphql=Failure(reason, "trouble")))
    assert (seen.look.failure.reason, len(seen.requests)) == (reason, 1)


@pytest.mark.parametrize(("cursors", "pages"), [("x", 2), ("xyxy", 3)], ids=["the same again", "in a ring"])
def test_a_page_without_an_end_is_not_followed_for_ever(cursors, pages):
    def page(cursor: str) -> dict[str, Any]:
        connection = {"pageInfo": {"hasNextPage": True, "endCursor": cursor}, "nodes": []}
        return {"data": {"project": {"id": "gid://gitlab/Project/42", "fullPath": "k2/app", "pipelines": connection}}}

    answers = answering(graphql=tuple(map(page, cursors)), project=DETAILS, pipelines=[])
    seen = replay(look(ask()), answers)
    assert sum(request.kind == "graphql" for request in seen.requests) == pages
    assert seen.look.failure is None


def test_a_moved_project_takes_its_new_path_from_rest():
    moved = {**DETAILS, "path_with_namespace": "k2/renamed"}
    answers = answering(graphql={"data": {"project": None}}, project=moved, pipelines=[])
    seen = replay(look(ask()), answers)
    assert (seen.look.project.path, dict(seen.look.memory)) == ("k2/renamed", {})


# ------------------------------------------------------------------------------------------- anything

FIELDS = st.sampled_from(
    (
        *(
            "id",
            "iid",
            "status",
            "name",
            "ref",
            "tag",
            "source",
            "created_at",
            "createdAt",
            "updated_at",
            "finished_at",
        ),
        *("duration", "data", "project", "errors", "message", "pipelines", "nodes", "pageInfo", "hasNextPage"),
        *("endCursor", "jobs", "stage", "kind", "tags", "repository", "rootRef", "webUrl", "commit", "title"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2026-01-05T11:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=15,
)


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Answers that get past the first checks more often."""
    item = st.builds(lambda spoil: {**listed(), **spoil}, st.dictionaries(FIELDS, inner, max_size=3))
    node = st.builds(lambda spoil: {**listed(), "createdAt": "2026-01-05T11:00:00Z", "jobs": spoil}, inner)
    connection = st.builds(
        lambda nodes: {"nodes": nodes, "pageInfo": {"hasNextPage": False}}, st.lists(node, max_size=2)
    )
    graphql = st.builds(lambda found: {"data": {"project": {"pipelines": found}}}, connection | inner)
    return inner | item | st.lists(item | inner, max_size=3) | graphql


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(around(JSON), min_size=1, max_size=12), st.sampled_from(["k2/app", "42"]), st.booleans())
def test_no_answer_whatever_makes_a_look_raise(answers, key, graphql):
    turns = iter(answers * 3)

    def answer(request: Request) -> Any:
        return next((Response(200, {}, data) for data in turns), Failure("network", "enough"))

    seen = replay(look(ask(key, memory={} if graphql else REST)), answer)
    assert isinstance(seen.look, Look)
