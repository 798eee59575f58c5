"""A scan of several GitLab projects: against the stand-in over HTTP, and against a model that fails as it is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2alert.collect.flow import Answer, Ask, Failure, Request, Response, Scan
from k2alert.collect.gitlab import FORGE, look, scan
from k2alert.collect.gitlab_parse import RESULTS, STATES
from k2alert.model import CoverageReport, Kind, KnownRun, PipelineRun, Project, Result, RunState, TestReport
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline, StandinProject, StandinSuite
from k2alert.rehearse.gitlab_standin_facts import as_report, as_summary
from k2alert.rehearse.gitlab_standin_graphql import answer_query
from k2alert.rehearse.gitlab_standin_json import as_basic, as_detail, as_job, as_project, changed_at
from k2alert.times import parse_instant
from tests.support.drive import Drive, drive, replay

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def ask(number: int, **given: Any) -> Ask:
    """What a scan is asked of a project that was read before, five minutes ago."""
    project = Project(source="gl", key=f"k2/p{number}", path=f"k2/p{number}", forge_id=str(number), first_seen_at=T0)
    project = replace(project, default_branch="main", **given.pop("project", {}))
    return Ask(project, given.pop("since", T0 - 5 * MINUTE), T0, **given)


def pipeline(number: int, *, start: float = -4, end: float | None = -1, **given: Any) -> StandinPipeline:
    """A pipeline of one job, from `start` to `end` (minutes after T0)."""
    times = {"created_at": T0 + start * MINUTE, "started_at": T0 + start * MINUTE}
    times |= {"finished_at": None if end is None else T0 + end * MINUTE}
    status = given.get("status", "success")
    jobs = (StandinJob(id=number * 100, name="test", status=status, **times),)
    return StandinPipeline(**{"id": number, "jobs": jobs, **times, **given})


def of(runs: Mapping[str, PipelineRun]) -> dict[str, set[str]]:
    """The ids of the runs by project."""
    return {
        path: {run.id for run in runs.values() if run.project == path} for path in {r.project for r in runs.values()}
    }


@pytest.fixture
def gitlab() -> StandinGitLab:
    standin = StandinGitLab(lambda: T0, token="t")
    for number in range(1, 51):
        standin.add_project(f"k2/p{number}", id=number)
    return standin


@pytest.fixture
async def watch(gitlab: StandinGitLab):
    """Scans the stand-in over HTTP."""
    async with TestServer(gitlab.app()) as server:

        async def watch(asks: Sequence[Ask]) -> tuple[Scan, Drive]:
            seen = await drive(scan(asks), FORGE, str(server.make_url("")))
            assert isinstance(seen.scan, Scan)
            return seen.scan, seen

        yield watch


ALL = [ask(number) for number in range(1, 51)]


async def test_fifty_idle_projects_cost_one_request(watch):
    ended, seen = await watch(ALL)
    assert len(seen.requests) == 1
    assert (seen.runs, len(ended.looks)) == ({}, 50)
    assert all(look.failure is None for look in ended.looks.values())


async def test_what_changed_comes_with_the_same_request(gitlab, watch):
    gitlab.put("k2/p3", pipeline(1), pipeline(2, end=None, status="running"))
    gitlab.put("k2/p7", pipeline(3))
    gitlab.put("k2/p9", pipeline(4, start=-100, end=-90))
    ended, seen = await watch(ALL)
    assert len(seen.requests) == 1
    assert of(seen.runs) == {"k2/p3": {"1", "2"}, "k2/p7": {"3"}}
    assert seen.runs["1"].jobs[0].web_url.endswith("/k2/p3/-/jobs/100")
    assert ended.looks["k2/p3"].project.web_url.endswith("/k2/p3")


async def test_the_jobs_of_failed_pipelines_are_asked_for_by_rest(gitlab, watch):
    job = StandinJob(id=1, name="t", created_at=T0, status="failed", failure_reason="runner_system_failure")
    gitlab.put("k2/p3", pipeline(1, status="failed", jobs=(job,)))
    _, seen = await watch(ALL)
    assert [request.kind for request in seen.requests] == ["scan", "jobs"]
    assert seen.runs["1"].outcomes[0].result is Result.ERROR


async def test_what_runs_is_followed_though_it_did_not_change(gitlab, watch):
    gitlab.put("k2/p3", pipeline(1, start=-60, end=None, status="running"))
    known = {"1": KnownRun(T0 - 60 * MINUTE, 0, RunState.RUNNING)}
    _, seen = await watch([ask(3, known=known), ask(4)])
    assert (len(seen.requests), list(seen.runs)) == (1, ["1"])
    _, seen = await watch([ask(3), ask(4)])
    assert seen.runs == {}


async def test_more_than_a_page_of_pipelines_is_read_on(gitlab, watch):
    gitlab.put("k2/p3", *(pipeline(number) for number in range(1, 46)))
    gitlab.put("k2/p4", *(pipeline(100 + number, start=-60, end=None, status="running") for number in range(25)))
    known = {str(100 + number): KnownRun(T0 - 60 * MINUTE, 0, RunState.RUNNING) for number in range(25)}
    ended, seen = await watch([ask(3), ask(4, known=known)])
    assert [request.kind for request in seen.requests] == ["scan", "graphql", "graphql", "graphql"]
    assert {path: len(ids) for path, ids in of(seen.runs).items()} == {"k2/p3": 45, "k2/p4": 25}
    assert len(ended.looks) == 2


async def test_tests_and_coverage_come_along_and_cost_what_a_query_may(gitlab, watch):
    green = StandinSuite("test", (100,), (("a", "fine", "success"),))
    red = StandinSuite("test", (200,), (("a", "fine", "success"), ("a", "bad", "failed")))
    gitlab.put("k2/p3", pipeline(1, coverage=81.5, suites=(green,)), pipeline(2, coverage=80.0, suites=(red,)))
    gitlab.put("k2/p4", pipeline(3, start=-60, end=None, status="running"))
    wants = frozenset({Kind.TEST, Kind.COVERAGE})
    known = {"3": KnownRun(T0 - 60 * MINUTE, 0, RunState.RUNNING)}
    asks = [replace(each, wants=wants, known=known if each.project.key == "k2/p4" else {}) for each in ALL]
    ended, seen = await watch(asks)
    assert [request.kind for request in seen.requests] == ["scan", "test_report"]
    found = [fact for batch in seen.batches for fact in batch.facts]
    assert sorted(fact.percent for fact in found if isinstance(fact, CoverageReport)) == [80.0, 81.5]
    assert [(fact.total, fact.failed, fact.named) for fact in found if isinstance(fact, TestReport)] == [
        (2, 1, True),
        (1, 0, False),
    ]
    # What is known and told is not told again; what GitLab counts after the end is.
    gitlab.put("k2/p3", pipeline(1, coverage=82.5, suites=(green,)))
    known = {run.id: KnownRun(run.seen, 1, run.state) for run in seen.runs.values()}
    again = [replace(each, known=known, bookmarks=ended.looks[each.project.key].bookmarks) for each in asks]
    _, seen = await watch(again)
    assert len(seen.requests) == 1
    assert [fact.percent for batch in seen.batches for fact in batch.facts if isinstance(fact, CoverageReport)] == [
        82.5
    ]


@pytest.mark.parametrize("lacks", ["Pipeline.testReportSummary", "TestSuiteSummary.buildIds"])
async def test_an_instance_without_summaries_of_tests_in_graphql_is_asked_for_them_by_rest(gitlab, watch, lacks):
    gitlab.unknown_fields = frozenset({lacks, "Pipeline.coverage"})
    green = StandinSuite("test", (100,), (("a", "fine", "success"),))
    gitlab.put("k2/p3", pipeline(1, suites=(green,)))
    _, seen = await watch([replace(each, wants=frozenset({Kind.TEST})) for each in ALL])
    assert [request.kind for request in seen.requests] == ["scan", "scan", "test_report_summary"]
    assert [fact.total for batch in seen.batches for fact in batch.facts] == [1]


async def test_a_renamed_project_is_found_by_its_number(gitlab, watch):
    gitlab.rename_project("k2/p3", "k2/renamed")
    gitlab.put("k2/renamed", pipeline(1))
    ended, seen = await watch(ALL)
    assert ended.looks["k2/p3"].project.path == "k2/renamed"
    assert of(seen.runs) == {"k2/renamed": {"1"}}


async def test_a_project_that_is_gone_or_shut_is_left_to_a_look_of_its_own(gitlab, watch):
    gitlab.rename_project("k2/p3", "")
    gitlab.shut.add("k2/p4")
    gitlab.put("k2/p5", pipeline(1))
    ended, seen = await watch(ALL)
    assert {each.project.key for each in ALL} - set(ended.looks) == {"k2/p3", "k2/p4"}
    assert (len(seen.requests), list(seen.runs)) == (1, ["1"])


async def test_a_project_of_unknown_number_or_far_behind_is_left_to_a_look_of_its_own(watch):
    asks = [ask(1), ask(2, project={"forge_id": ""}), ask(3, since=T0 - 60 * MINUTE), ask(4, since=T0 - 15 * MINUTE)]
    ended, seen = await watch(asks)
    assert set(ended.looks) == {"k2/p1", "k2/p4"}
    assert seen.requests[0].body["variables"]["since"] == "2026-01-05T11:45:00Z"


async def test_a_scan_that_costs_too_much_asks_for_less_and_learns_what_it_may_cost(gitlab, watch):
    gitlab.complexity_limit = 100
    ended, seen = await watch(ALL)
    asked = [request.body["variables"] for request in seen.requests]
    assert [(each["projects"], each["first"]) for each in asked][:2] == [(50, 20), (25, 10)]
    assert len(ended.looks) == 50
    gitlab.requests.clear()
    later = [replace(each, now=T0 + 240 * MINUTE, memory=ended.memory) for each in ALL]
    ended, seen = await watch(later)
    first = seen.requests[0].body["variables"]
    assert (first["projects"] > 25, first["first"]) == (True, 20)  # more again, and no more than fits
    assert (len(ended.looks), len(seen.requests)) == (50, 2)


async def test_an_instance_too_old_to_say_what_a_query_costs_is_scanned_all_the_same(gitlab, watch):
    gitlab.unknown_fields = frozenset({"Query.queryComplexity", "Pipeline.name"})
    ended, seen = await watch(ALL)
    assert (len(ended.looks), len(seen.requests)) == (50, 2)
    ended, seen = await watch([replace(each, memory=ended.memory) for each in ALL])
    assert (len(ended.looks), len(seen.requests)) == (50, 1)


@pytest.mark.parametrize("trouble", ["off", "old", "limit"])
async def test_where_projects_cannot_be_scanned_each_is_looked_at_for_an_hour(gitlab, watch, trouble):
    gitlab.graphql = trouble != "off"
    gitlab.unknown_fields = frozenset({"Query.projects"}) if trouble == "old" else frozenset()
    gitlab.complexity_limit = 1 if trouble == "limit" else 250
    ended, seen = await watch(ALL)
    assert (ended.looks, len(seen.requests) <= 6) == ({}, True)
    for minutes, asked in ((59, False), (60, True)):
        asks = [replace(each, now=T0 + minutes * MINUTE, memory=ended.memory) for each in ALL]
        assert bool((await watch(asks))[1].requests) is asked


@pytest.mark.parametrize("reason", ["auth", "rate_limited", "network", "server"])
def test_a_forge_in_trouble_fails_all_of_them_at_once(reason):
    failure = Failure(reason, "trouble", retry_after=MINUTE)
    seen = replay(scan(ALL), lambda _: failure)
    assert isinstance(seen.scan, Scan)
    assert {look.failure for look in seen.scan.looks.values()} == {failure}
    assert (len(seen.scan.looks), len(seen.requests)) == (50, 1)


def test_a_limit_in_the_middle_of_a_scan_keeps_what_the_answer_brought():
    model = Model()
    for number in (1, 2, 3):
        model.happen(number, "new")
        model.happen(number, "failed" if number == 1 else "success")
    model.now += MINUTE
    seen = replay(scan([model.ask(number) for number in (1, 2, 3)]), lambda request: model.answer_limited(request))
    assert [request.kind for request in seen.requests] == ["scan", "jobs"]
    assert {run.project for run in seen.runs.values()} == {"k2/p2", "k2/p3"}
    failures = {key: found.failure and found.failure.reason for key, found in seen.scan.looks.items()}
    assert failures == {"k2/p1": "rate_limited", "k2/p2": None, "k2/p3": None}


def nodes(*numbers: int, **more: Any) -> dict[str, Any]:
    empty = {"nodes": [], "pageInfo": {"hasNextPage": False}}
    each = [{"id": f"gid://gitlab/Project/{n}", "fullPath": f"k2/p{n}", "pipelines": empty, **more} for n in numbers]
    return {"data": {"projects": {"nodes": each}}}


def answering(*answers: Any) -> Callable[[Request], Answer]:
    left = iter(answers)
    return lambda _: found if isinstance(found := next(left), Failure) else Response(200, {}, found)


def test_an_error_of_one_project_costs_the_others_nothing():
    answer = nodes(1, 2)
    answer["data"]["projects"]["nodes"][1]["pipelines"] = None
    answer["errors"] = [{"message": "Internal server error", "path": ["projects", "nodes", 1, "pipelines"]}]
    seen = replay(scan(ALL[:2]), answering(answer))
    assert set(seen.scan.looks) == {"k2/p1"}


@pytest.mark.parametrize(
    "much",
    [
        {"errors": [{"message": "Timeout on Query.projects"}], "data": {"projects": None}},
        {**nodes(1, 2), "errors": [{"message": "Timeout on Pipeline.jobs", "path": ["projects", "nodes", 0]}]},
        Failure("timeout", "no whole answer within 60 s"),
        Failure("server", "scan: 504 Gateway Timeout", 504),
        Failure("body", "scan: the answer is too large"),
    ],
)
def test_what_takes_too_long_or_is_too_large_is_asked_in_halves(much):
    seen = replay(scan(ALL[:4]), answering(much, nodes(1, 2, 3, 4)))
    sizes = [(request.body["variables"]["projects"], request.body["variables"]["first"]) for request in seen.requests]
    assert (sizes, len(seen.scan.looks)) == ([(4, 20), (4, 10)], 4)
    assert seen.scan.memory["graphql_projects"] == (25, T0)


def test_a_field_that_only_one_project_may_be_asked_for_ends_scans():
    error = {"message": '"pipelines" field can be requested only for 1 Project(s) at a time.', "path": ["projects"]}
    seen = replay(scan(ALL), answering({**nodes(1), "errors": [error]}))
    assert (seen.scan.looks, "scans_rest_until" in seen.scan.memory) == ({}, True)


# --------------------------------------------------------------------------------- any history, any failures

PROJECTS = 4
FAILURES = (
    Failure("rate_limited", "429", 429, MINUTE),
    Failure("server", "502", 502),
    Failure("timeout", "60 s"),
    Failure("network", "reset"),
    Failure("body", "200 with HTML"),
)
WANTS = frozenset({Kind.TEST})
EVENTS = st.tuples(st.integers(1, PROJECTS), st.sampled_from(["new", "start", "success", "failed", "rename"]))
ROUNDS = st.lists(
    st.tuples(
        st.lists(EVENTS, max_size=6),
        st.lists(st.none() | st.sampled_from(FAILURES), max_size=5),  # what becomes of the round's first requests
        st.sampled_from([250, 250, 100, 10]),  # what a query may cost
        st.sampled_from([1, 1, 7, 20]),  # minutes to the next
    ),
    max_size=6,
)


class Model:
    """A GitLab in memory that answers at once, and what a collector records of it."""

    def __init__(self) -> None:
        self.now = T0
        self.limit = 250
        self.failures: list[Failure | None] = []
        self.paths = {number: f"k2/p{number}" for number in range(1, PROJECTS + 1)}
        self.runs: dict[int, dict[int, StandinPipeline]] = {number: {} for number in self.paths}
        self.projects = {number: ask(number).project for number in self.paths}
        self.cursors = dict.fromkeys(self.paths, T0)
        self.bookmarks: dict[int, Mapping[str, Any]] = {}
        self.tests: dict[tuple[str, str], tuple[int, bool]] = {}
        self.stored: dict[str, PipelineRun] = {}
        self.memory: Mapping[str, Any] = {}

    def happen(self, number: int, what: str) -> None:
        """One event in one project, at a moment of its own."""
        self.now += timedelta(seconds=7)
        runs = self.runs[number]
        if what == "rename":
            self.paths[number] += "x"
        elif what == "new" or not runs:
            at = max((max(each) for each in self.runs.values() if each), default=0) + 1
            jobs = (StandinJob(id=at * 100, name="test", created_at=self.now, status="pending"),)
            runs[at] = StandinPipeline(id=at, created_at=self.now, status="pending", jobs=jobs)
        else:
            at = max(runs) if self.now.second % 2 else min(runs)
            runs[at] = self._moved(runs[at], {"start": "running"}.get(what, what))

    def _moved(self, run: StandinPipeline, status: str) -> StandinPipeline:
        ended = self.now if status != "running" else None
        started = run.started_at or self.now
        job = replace(run.jobs[-1], status=status, started_at=started, finished_at=ended)
        if run.status in ("success", "failed"):  # a retry is another execution
            job = replace(job, id=job.id + 1, created_at=self.now, started_at=self.now)
        jobs = (*(each for each in run.jobs if each.id != job.id), job)
        cases = tuple(("suite", f"case {each}", status) for each in range(job.id % 3 + 1))
        suites = (StandinSuite("test", (job.id,), cases),)
        times = {"started_at": started, "finished_at": ended, "changed_at": self.now}
        return replace(run, status=status, jobs=jobs, suites=suites, **times)

    def answer_limited(self, request: Request) -> Answer:
        """What it says while REST is limited and GraphQL not yet."""
        return self.answer(request) if request.body is not None else FAILURES[0]

    def answer(self, request: Request) -> Answer:
        """What the forge says, unless this request is to fail."""
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            return failure
        if request.body is not None:
            body = answer_query(dict(request.body), self._find, self.now, "http://h", frozenset(), self.limit)
            return Response(200, {}, body)
        parts = request.path.removeprefix("/v4/projects/").split("/")
        project, runs = self._find(parts[0]) or (None, [])
        if project is None:
            return Failure("not_found", "404", 404)
        one = next((run for run in runs if len(parts) > 2 and str(run.id) == parts[2]), None)
        return Response(200, {"x-next-page": ""}, self._show(request, project, runs, one))

    def _show(self, request: Request, project: Any, runs: Sequence[Any], one: Any) -> Any:
        at = (self.now, "http://h")
        if request.kind == "project":
            return as_project(project, "http://h")
        if request.kind == "pipeline":
            return as_detail(project, one, *at)
        if request.kind == "test_report_summary":
            return as_summary(one.suites_at(self.now))
        if request.kind == "test_report":
            return as_report(one.suites_at(self.now))
        if request.kind == "jobs" and "/pipelines/" not in request.path:
            failed = [(each, run) for run in runs for each in run.jobs if each.status == "failed"]
            return [as_job(project, run, each, *at) for each, run in sorted(failed, key=lambda pair: -pair[0].id)]
        if request.kind == "jobs":
            return [as_job(project, one, each, *at) for each in one.jobs]
        params = dict(request.params)
        since = parse_instant(params.get("updated_after", "2000-01-01T00:00:00Z"))
        rows = [run for run in runs if changed_at(run, self.now) >= since]
        return [as_basic(project, run, *at) for run in rows if params.get("status", run.status) == run.status]

    def _find(self, wanted: str) -> Any:
        for number, path in self.paths.items():
            if unquote(wanted) in (path, str(number)):
                runs = [self.runs[number][each] for each in sorted(self.runs[number], reverse=True)]
                return StandinProject(id=number, path=path), runs
        return None

    def collect(self) -> bool:
        """One turn of every project, as the collector has it; whether all of them ended well."""
        self.now += MINUTE
        asks = [self.ask(number) for number in self.paths]
        seen = replay(scan(asks), self.answer)
        self._record(seen)
        assert seen.scan is not None
        self.memory = seen.scan.memory
        ended = dict(seen.scan.looks)
        for each in asks:
            if each.project.key not in ended:
                alone = replay(look(replace(each, memory=self.memory, known=self._known())), self.answer)
                self._record(alone)
                assert alone.look is not None
                self.memory, ended[each.project.key] = alone.look.memory, alone.look
        for number, each in zip(self.paths, asks, strict=True):
            found = ended[each.project.key]
            self.projects[number], self.bookmarks[number] = found.project, found.bookmarks
            self.cursors[number] = each.now if found.failure is None else self.cursors[number]
        return all(found.failure is None for found in ended.values())

    def ask(self, number: int) -> Ask:
        """What the next turn of a project is for."""
        since = self.cursors[number] - 5 * MINUTE
        marks = self.bookmarks.get(number, {})
        return Ask(
            self.projects[number], since, self.now, self._known(), wants=WANTS, memory=self.memory, bookmarks=marks
        )

    def _known(self) -> dict[str, KnownRun]:
        return {
            run.id: KnownRun(run.seen, max((each.attempt for each in run.outcomes), default=0), run.state)
            for run in self.stored.values()
        }

    def _record(self, seen: Drive) -> None:
        for run in (run for batch in seen.batches for run in batch.runs):
            if run.id not in self.stored or run.seen >= self.stored[run.id].seen:
                self.stored[run.id] = run
        for fact in (fact for batch in seen.batches for fact in batch.facts):
            if isinstance(fact, TestReport) and fact.by.run in self.stored:
                key = fact.by.run, fact.by.id
                if fact.named or not self.tests.get(key, (0, False))[1]:  # as the store has it
                    self.tests[key] = (fact.total, fact.named)

    def truth(self) -> dict[str, Any]:
        """What the store must say of every pipeline."""
        return {
            str(run.id): (STATES[run.status], RESULTS.get(run.status), len(run.jobs))
            for runs in self.runs.values()
            for run in runs.values()
        }

    def recorded(self) -> dict[str, Any]:
        """The same, as it was recorded."""
        return {
            run.id: (run.state, run.outcomes[-1].result if run.outcomes else None, len(run.jobs))
            for run in self.stored.values()
        }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
def test_after_any_history_and_any_failures_the_store_equals_the_truth(rounds):
    model = Model()
    for events, failures, limit, minutes in rounds:
        for number, what in events:
            model.happen(number, what)
        model.failures, model.limit = list(failures), limit
        model.collect()
        model.now += minutes * MINUTE
    model.failures, model.limit = [], 250
    assert model.collect()
    assert model.recorded() == model.truth()
    ended = [run for runs in model.runs.values() for run in runs.values() if run.finished_at is not None]
    for run in ended:  # the tests of the last execution; those before it may have come and gone between two looks
        named = run.status == "failed" or len(run.jobs) > 1
        assert model.tests[str(run.id), str(run.jobs[-1].id)] == (len(run.suites[0].cases), named)
