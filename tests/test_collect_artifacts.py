"""Report files out of job artifacts of both forges: what is asked for, when, and what becomes of it."""

import io
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from k2alert.collect import SOURCES
from k2alert.collect.artifacts import scan_with_artifacts, with_artifacts
from k2alert.collect.collector import Collector
from k2alert.collect.flow import Answer, Ask, Batch, Failure, Flow, Look, Request, Response, Scan
from k2alert.collect.github_artifacts import list_archives as list_github
from k2alert.collect.gitlab_artifacts import list_archives as list_gitlab
from k2alert.collect.settings import ReportSettings, SourceSettings
from k2alert.model import (
    BenchmarkReport,
    CoverageReport,
    Fact,
    FactChange,
    Kind,
    KnownRun,
    Project,
    ReportEntry,
    RunState,
    Saved,
    TestReport,
)
from k2alert.record import Store, open_store
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support import github_standin as github
from tests.support.archives import archive, cobertura, junit, storage
from tests.support.drive import Drive, replay
from tests.support.fake_time import T0, FakeTime
from tests.support.faults import FaultyServer, html, text

MINUTE = timedelta(minutes=1)
PROJECT = Project(source="s", key="k2/app", path="k2/app", forge_id="42", default_branch="main", first_seen_at=T0)
ALL = frozenset({Kind.TEST, Kind.COVERAGE, Kind.BENCHMARK})
GLOBS = {"jobs": ["unit*"], "junit": ["**/junit*.xml"], "coverage": ["coverage.xml"], "benchmarks": ["b/*.json"]}
REPORTS = ReportSettings.model_validate(GLOBS)
FILES = {"a/junit.xml": junit("++-"), "coverage.xml": cobertura(3, 4), "b/x.json": '[{"name": "b", "value": 1.5}]'}
DONE = KnownRun(T0 - MINUTE, 1, RunState.FINISHED)
JOBS = "/v4/projects/42/pipelines/7/jobs"


def job(number: int, name: str = "unit", size: int = 1000, **other: Any) -> dict[str, Any]:
    """A job as GitLab lists it, with an archive of so many bytes."""
    at = "2026-01-05T11:50:00Z"
    told = {"id": number, "name": name, "status": "success", "stage": "test", "created_at": at, "finished_at": at}
    return told | ({"artifacts_file": {"filename": "artifacts.zip", "size": size}} if size else {}) | other


@dataclass
class Asked:
    """Looks at a project that has nothing new in itself, one after the other; what is answered is by path."""

    answers: dict[str, Any] = field(default_factory=dict)
    known: dict[str, KnownRun] = field(default_factory=lambda: {"7": DONE})
    bookmarks: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None

    def look(self, since: datetime = T0 - 5 * MINUTE, lists: Any = list_gitlab, **other: Any) -> Drive:
        def inner(ask: Ask) -> Flow:
            yield Batch((), 3, 9)
            return Look(ask.project, self.failure, bookmarks={"etag": "kept"})

        wanted = {"wants": ALL, "reports": REPORTS} | other
        ask = Ask(PROJECT, since, T0, self.known, bookmarks=self.bookmarks, **wanted)
        seen = replay(with_artifacts(inner, lists)(ask), self._answer)
        assert seen.look is not None
        assert seen.look.bookmarks["etag"] == "kept"
        self.bookmarks = seen.look.bookmarks
        return seen

    def _answer(self, request: Request) -> Response | Failure:
        given = self.answers.get(request.path)
        if given is None or isinstance(given, Failure):
            return given or Failure("not_found", "404", 404)
        if request.read is not None:
            return Response(200, {}, request.read(io.BytesIO(given)))
        return Response(200, {}, given)


def downloads(seen: Drive) -> list[str]:
    return [request.path for request in seen.requests if request.read is not None]


def facts(seen: Drive) -> list[Fact]:
    return [fact for batch in seen.batches for fact in batch.facts]


def refusals(seen: Drive) -> list[tuple[str, str, str]]:
    return [(each.job, each.file, each.reason) for batch in seen.batches for each in batch.refusals]


@pytest.fixture
def asked() -> Asked:
    return Asked({JOBS: [job(70)], "/v4/projects/42/jobs/70/artifacts": archive(FILES)})


def test_a_finished_run_gives_a_report_of_each_kind(asked: Asked) -> None:
    tests, coverage, benchmarks = facts(asked.look())
    assert isinstance(tests, TestReport)
    assert isinstance(coverage, CoverageReport)
    assert isinstance(benchmarks, BenchmarkReport)
    assert (tests.total, tests.failed, tests.named) == (3, 1, True)
    assert (coverage.percent, coverage.files) == (75, ("a.py",))
    assert [point.name for point in benchmarks.points] == ["b"]
    by = tests.by
    assert (by.run, by.id, by.name, by.job, by.stage) == ("7", "70", "unit", "unit", "test")
    assert by.finished_at == datetime.fromisoformat("2026-01-05T11:50:00+00:00")


@pytest.mark.parametrize(
    ("wants", "reports", "kinds"),
    [
        (frozenset({Kind.RUN}), REPORTS, set()),
        (ALL, ReportSettings(), set()),
        (ALL, ReportSettings(jobs=("*",)), set()),
        (frozenset({Kind.COVERAGE}), ReportSettings(junit=("**",)), set()),
        (frozenset({Kind.COVERAGE}), REPORTS, {CoverageReport}),
        (frozenset({Kind.TEST, Kind.RUN}), REPORTS, {TestReport}),
    ],
)
def test_only_what_rules_and_settings_want_is_asked_for(
    wants: frozenset[Kind], reports: ReportSettings, kinds: set[type], asked: Asked
) -> None:
    seen = asked.look(wants=wants, reports=reports) if kinds else None
    if seen is not None:
        assert {type(fact) for fact in facts(seen)} == kinds
        return
    flow = with_artifacts(lambda ask: _nothing(ask), list_gitlab)(
        Ask(PROJECT, T0, T0, asked.known, wants=wants, reports=reports)
    )
    assert replay(flow, lambda request: Failure("client", "asked")).requests == []


def _nothing(ask: Ask) -> Flow:
    yield from ()
    return Look(ask.project)


def test_a_run_is_read_once_and_again_only_what_is_new_in_it(asked: Asked) -> None:
    assert downloads(asked.look()) == ["/v4/projects/42/jobs/70/artifacts"]
    assert asked.look().requests == []
    asked.known["7"] = DONE._replace(seen=T0)  # the job was retried
    asked.answers[JOBS] = [job(70), job(71)]
    asked.answers["/v4/projects/42/jobs/71/artifacts"] = archive(FILES)
    assert downloads(asked.look()) == ["/v4/projects/42/jobs/71/artifacts"]


def test_runs_that_go_on_or_finished_long_ago_are_left_alone(asked: Asked) -> None:
    asked.known = {"7": DONE._replace(state=RunState.RUNNING), "8": DONE._replace(seen=T0 - 6 * MINUTE)}
    assert asked.look().requests == []


def test_only_chosen_jobs_with_an_archive_are_asked_for(asked: Asked) -> None:
    asked.answers[JOBS] = [job(1, size=0), job(2, "lint"), job(3, finished_at=None), job(70, "unit 1/2")]
    assert downloads(asked.look()) == ["/v4/projects/42/jobs/70/artifacts"]
    asked.bookmarks = {}
    exact = ReportSettings.model_validate(GLOBS | {"jobs": ["unit"]})
    assert downloads(asked.look(reports=exact)) == ["/v4/projects/42/jobs/70/artifacts"]
    asked.bookmarks = {}
    every = ReportSettings.model_validate(GLOBS | {"jobs": []})
    assert len(downloads(asked.look(reports=every))) == 2


def test_artifacts_that_are_gone_are_no_failure_and_not_asked_for_again(asked: Asked) -> None:
    del asked.answers["/v4/projects/42/jobs/70/artifacts"]
    seen = asked.look()
    assert (facts(seen), refusals(seen)) == ([], [])
    assert asked.look().requests == []
    gone = Asked({})
    assert gone.look().look == Look(PROJECT, bookmarks=gone.bookmarks)


@pytest.mark.parametrize("reason", ["auth", "rate_limited", "network"])
@pytest.mark.parametrize("path", [JOBS, "/v4/projects/42/jobs/70/artifacts"])
def test_a_forge_that_does_not_answer_ends_the_look_and_the_next_one_goes_on(
    reason: Any, path: str, asked: Asked
) -> None:
    fine, asked.answers[path] = asked.answers[path], Failure(reason, "no")
    seen = asked.look()
    assert seen.look is not None
    assert seen.look.failure is not None
    assert seen.look.failure.reason == reason
    asked.answers[path] = fine
    assert len(facts(asked.look())) == 3


@pytest.mark.parametrize("reason", ["server", "timeout"])
def test_a_storage_that_is_down_is_told_and_asked_again_by_the_next_look(reason: Any, asked: Asked) -> None:
    path = "/v4/projects/42/jobs/70/artifacts"
    fine, asked.answers[path] = asked.answers[path], Failure(reason, "no")
    seen = asked.look()
    assert seen.look is not None
    assert seen.look.failure is None, "runs are read; that their reports are not is no reason to distrust them"
    assert refusals(seen) == [("unit", "", "download")]
    asked.answers[path] = fine
    assert len(facts(asked.look())) == 3


@pytest.mark.parametrize(("reason", "told"), [("forbidden", "download"), ("body", "too_large")])
def test_what_will_not_change_is_told_and_not_asked_for_again(reason: Any, told: str, asked: Asked) -> None:
    asked.answers["/v4/projects/42/jobs/70/artifacts"] = Failure(reason, "no")
    assert refusals(asked.look()) == [("unit", "", told)]
    assert asked.look().requests == []


def test_after_three_vain_downloads_the_others_wait_for_the_next_look(asked: Asked) -> None:
    asked.answers[JOBS] = [job(number) for number in range(70, 80)]
    for number in range(70, 80):
        asked.answers[f"/v4/projects/42/jobs/{number}/artifacts"] = Failure("server", "down")
    assert len(downloads(asked.look())) == 3


def test_an_archive_that_says_it_is_too_large_is_not_downloaded(asked: Asked) -> None:
    asked.answers[JOBS] = [job(70, size=300 * 1024 * 1024)]
    seen = asked.look()
    assert downloads(seen) == []
    assert refusals(seen) == [("unit", "", "too_large")]


def test_a_broken_file_is_told_and_the_rest_recorded(asked: Asked) -> None:
    asked.answers["/v4/projects/42/jobs/70/artifacts"] = archive(FILES | {"junit-2.xml": "<html/>"})
    seen = asked.look()
    assert len(facts(seen)) == 3
    assert refusals(seen) == [("unit", "junit-2.xml", "malformed")]
    assert seen.batches[-1].done == 3, "how far the look came stays as it was said"


def test_a_look_that_failed_reads_no_artifacts_and_forgets_nothing(asked: Asked) -> None:
    asked.look()
    asked.failure = Failure("rate_limited", "wait")
    assert asked.look().requests == []
    asked.failure = None
    assert asked.look().requests == []


def test_at_most_a_hundred_runs_are_read_in_one_look_the_newest_first() -> None:
    known = {str(number): DONE._replace(seen=T0 - number * MINUTE / 100) for number in range(150)}
    asked = Asked({}, known)
    asked.answers = {f"/v4/projects/42/pipelines/{number}/jobs": [] for number in range(150)}
    first = [request.path for request in asked.look().requests]
    assert first == [f"/v4/projects/42/pipelines/{number}/jobs" for number in range(100)]
    assert len(asked.look().requests) == 50


def test_a_scan_leaves_a_project_to_its_own_look_while_its_artifacts_are_due() -> None:
    other = replace(PROJECT, key="k2/lib", path="k2/lib")
    broken = replace(PROJECT, key="k2/bad", path="k2/bad")

    def scan(asks: Sequence[Ask]) -> Generator[Request | Batch, Answer | None, Scan]:
        yield Batch(())
        looks = {ask.project.key: Look(ask.project, bookmarks={"etag": "kept"}) for ask in asks}
        return Scan(looks | {"k2/bad": Look(broken, Failure("forbidden", "no"))})

    def scanned(**other_asks: Any) -> Mapping[str, Look]:
        asks = [
            Ask(project, T0 - 5 * MINUTE, T0, known, wants=ALL, reports=REPORTS, **other_asks)
            for project, known in ((PROJECT, {"7": DONE}), (other, {}), (broken, {"9": DONE}))
        ]
        flow = scan_with_artifacts(scan)(asks)
        assert flow.send(None) == Batch(())
        with pytest.raises(StopIteration) as end:
            flow.send(None)
        looks: Mapping[str, Look] = end.value.value.looks
        return looks

    assert set(scanned()) == {"k2/lib", "k2/bad"}
    asked = Asked({JOBS: []})
    asked.look()
    looks = scanned(bookmarks=asked.bookmarks)
    assert set(looks) == {"k2/app", "k2/lib", "k2/bad"}
    assert looks["k2/app"].bookmarks == asked.bookmarks


def test_an_artifact_of_github_belongs_to_the_attempt_that_wrote_it() -> None:
    def artifact(number: int, name: str, **other: Any) -> dict[str, Any]:
        made = {"id": number, "name": name, "size_in_bytes": 5, "expired": False, "created_at": "2026-01-05T11:50:00Z"}
        return made | other

    listed = {"total_count": 5, "artifacts": [artifact(1, "unit"), artifact(2, "lint"), artifact(3, "unit-2")]}
    listed["artifacts"] += [artifact(4, "unit", expired=True), {"id": "x"}, None]
    root = "/repos/k2/app/actions"
    asked = Asked({f"{root}/runs/7/artifacts": listed, f"{root}/artifacts/1/zip": archive(FILES)})
    asked.known["7"] = DONE._replace(attempt=3)
    seen = asked.look(lists=list_github)
    assert downloads(seen) == [f"{root}/artifacts/1/zip", f"{root}/artifacts/3/zip"]
    tests = facts(seen)[0]
    assert isinstance(tests, TestReport)
    assert (tests.by.name, tests.by.job, tests.by.id, tests.by.attempt) == ("unit", "unit", "", 3)


# ------------------------------------------------------------------------------------ over HTTP, into a store


@dataclass
class Desk:
    """A collector with one source and a store, both real; `changes` is what was recorded of reports."""

    collector: Collector
    store: Store
    changes: list[FactChange]

    async def look(self) -> Look:
        return await self.collector.look("s", "k2/app")

    @property
    def kinds(self) -> list[Kind]:
        return [change.kind for change in self.changes]


@asynccontextmanager
async def collecting(kind: str, url: str, fake: FakeTime, folder: Path) -> AsyncIterator[Desk]:
    source = {"type": kind, "name": "s", "url": url, "token": "t0ken", "projects": ["k2/app"], "reports": GLOBS}
    changes: list[FactChange] = []

    def heard(saved: Saved) -> None:
        changes.extend(change for change in saved.facts if isinstance(change, FactChange))

    store = open_store(f"sqlite:///{folder}/k2alert.db")
    collector = Collector(
        [SourceSettings.model_validate(source)],
        forges=SOURCES,
        store=store,
        time=fake.time,
        depth=lambda: timedelta(days=7),
        version="1",
        wants=lambda: ALL,
        on_saved=heard,
    )
    await collector.load()
    try:
        yield Desk(collector, store, changes)
    finally:
        await collector.close()
        await store.close()


def pipeline(number: int, *jobs: StandinJob, ends: datetime = T0 - MINUTE) -> StandinPipeline:
    return StandinPipeline(
        id=number, created_at=ends - 9 * MINUTE, started_at=ends - 8 * MINUTE, finished_at=ends, jobs=jobs
    )


def standin_job(number: int, artifacts: bytes, ends: datetime = T0 - 2 * MINUTE, **other: Any) -> StandinJob:
    begun = ends - 3 * MINUTE
    return StandinJob(
        id=number, name="unit", created_at=begun, started_at=begun, finished_at=ends, artifacts=artifacts, **other
    )


@pytest.mark.parametrize("graphql", [True, False])
async def test_gitlabs_archives_come_from_its_storage_without_the_token(graphql: bool, tmp_path: Path) -> None:
    fake = FakeTime()
    gitlab = StandinGitLab(clock=lambda: fake.now, token="t0ken", graphql=graphql)
    gitlab.add_project("k2/app")
    first, retry = (
        standin_job(70, archive(FILES), status="failed"),
        standin_job(71, archive({"a/junit.xml": junit("+++")})),
    )
    gitlab.put("k2/app", pipeline(7, first, retry), pipeline(8, ends=T0 + MINUTE))
    async with (
        FaultyServer(storage({"70": first.artifacts, "71": retry.artifacts})) as stored,
        TestServer(gitlab.app()) as server,
        collecting("gitlab", str(server.make_url("")), fake, tmp_path) as desk,
    ):
        gitlab.storage = stored.url
        assert (await desk.look()).failure is None
        assert sorted(desk.kinds) == [Kind.BENCHMARK, Kind.COVERAGE, Kind.TEST, Kind.TEST]
        assert gitlab.requests["artifacts"] == 2
        assert all("authorization" not in seen.headers for seen in stored.seen)
        fake.advance(MINUTE)
        assert (await desk.look()).failure is None
        assert gitlab.requests["artifacts"] == 2, "what was read is not asked for again"
        assert len(desk.changes) == 4


async def test_githubs_artifacts_of_each_attempt_are_read(tmp_path: Path) -> None:
    fake = FakeTime()
    times = [T0 - 30 * MINUTE, T0 - 20 * MINUTE, T0 - 10 * MINUTE, T0 - MINUTE]
    attempts = [
        github.StandinAttempt(1, times[0], times[1], "failure", []),
        github.StandinAttempt(2, times[2], times[3], "success", []),
    ]
    zips = [archive({"junit.xml": junit("+-")}), archive({"junit.xml": junit("++")})]
    artifacts = [
        github.StandinArtifact(1, "unit", times[1] - MINUTE, zips[0]),
        github.StandinArtifact(2, "unit", times[3] - MINUTE, zips[1]),
        github.StandinArtifact(3, "unit-old", times[1] - MINUTE, zips[1], expired=True),
    ]
    run = github.StandinRun(id=7, created_at=times[0], attempts=attempts, artifacts=artifacts)
    hub = github.StandinGitHub(lambda: fake.now, [github.StandinRepository("k2/app", [run])], token="t0ken")
    async with (
        FaultyServer(storage({"1": zips[0], "2": zips[1]})) as stored,
        TestServer(hub.make_app()) as server,
        collecting("github", str(server.make_url("")), fake, tmp_path) as desk,
    ):
        hub.storage = stored.url
        assert (await desk.look()).failure is None
        assert desk.kinds == [Kind.TEST, Kind.TEST]
        told = [change.new for change in desk.changes if isinstance(change.new, ReportEntry)]
        assert sorted((entry.executed, entry.failed) for entry in told) == [(2, 0), (2, 1)]
        assert all("authorization" not in seen.headers for seen in stored.seen)
        assert stored.seen[0].raw_path.endswith("sig=a%2Bb%3D")
        fake.advance(MINUTE)
        before = len(hub.asked)
        assert (await desk.look()).failure is None
        assert not [path for path in hub.asked[before:] if "artifacts" in path]


async def test_a_refusal_is_counted_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeTime()
    gitlab = StandinGitLab(clock=lambda: fake.now, token="t0ken")
    gitlab.add_project("k2/app")
    bomb = archive({"junit.xml": b" " * (32 * 1024 * 1024), "a/junit.xml": junit("+")})
    laughs = '<!DOCTYPE a [<!ENTITY b "c">]><testsuites/>'
    gitlab.put(
        "k2/app", pipeline(7, standin_job(70, bomb)), pipeline(8, standin_job(80, archive({"junit.xml": laughs})))
    )
    gitlab.put("k2/app", pipeline(9, standin_job(90, bomb)))
    async with (
        TestServer(gitlab.app()) as server,
        collecting("gitlab", str(server.make_url("")), fake, tmp_path) as desk,
    ):
        assert (await desk.look()).failure is None
        assert desk.kinds == [Kind.TEST, Kind.TEST]
        assert desk.collector.stats()["s"].refused == {"too_large": 2, "entities": 1}
    told = [record.message for record in caplog.records if "cannot be read" in record.message]
    assert len(told) == 2
    assert any("junit.xml of unit in run" in line and "200 times its size" in line for line in told)


@pytest.mark.parametrize("fault", [html(502), text("slow down", status=503), text("<Error/>", status=403)])
async def test_after_a_storage_failed_the_reports_are_there(fault: Any, tmp_path: Path) -> None:
    fake = FakeTime()
    gitlab = StandinGitLab(clock=lambda: fake.now, token="t0ken")
    gitlab.add_project("k2/app")
    packed = archive(FILES)
    gitlab.put("k2/app", pipeline(7, standin_job(70, packed)))
    async with (
        FaultyServer(storage({"70": packed})) as stored,
        TestServer(gitlab.app()) as server,
        collecting("gitlab", str(server.make_url("")), fake, tmp_path) as desk,
    ):
        gitlab.storage = stored.url
        stored.faults.extend([fault] * 3)
        look = await desk.look()
        assert look.failure is None
        assert desk.changes == []
        assert desk.collector.stats()["s"].refused == {"download": 1}
        fake.advance(MINUTE)
        assert (await desk.look()).failure is None
        assert sorted(desk.kinds) == [Kind.BENCHMARK, Kind.COVERAGE, Kind.TEST]
