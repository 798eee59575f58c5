"""Looks at the stand-in GitHub over real HTTP, each exchange held against GitHub's OpenAPI document; real histories."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from k2alert.collect.flow import Ask
from k2alert.collect.github import FORGE, look
from k2alert.model import Event, KnownRun, PipelineRun, Project, RefType, Result, RunState
from k2alert.times import iso, parse_instant
from tests.support.drive import Drive, drive
from tests.support.github_standin import (
    StandinAttempt,
    StandinGitHub,
    StandinJob,
    StandinRepository,
    StandinRun,
    standin_from_row,
)
from tests.support.openapi import OpenApi, validating

T0 = datetime(2026, 1, 5, 12, tzinfo=UTC)


def minutes(count: float) -> datetime:
    return T0 + timedelta(minutes=count)


def attempt(number: int, start: float, end: float, conclusion: str = "success", first_id: int = 1) -> StandinAttempt:
    """An attempt with one job that starts a minute after it and ends with it."""
    job = StandinJob(first_id, "test", minutes(start + 1), minutes(end), conclusion, created_at=minutes(start))
    return StandinAttempt(number, minutes(start), minutes(end), conclusion, [job])


def standin_run(number: int, *attempts: StandinAttempt, **fields: Any) -> StandinRun:
    return StandinRun(id=number, number=number, created_at=attempts[0].started_at, attempts=list(attempts), **fields)


@dataclass
class Watcher:
    """Someone who looks at a repository now and then, and remembers as the store does."""

    github: StandinGitHub
    url: str
    project: Project
    known: dict[str, KnownRun] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], Result] = field(default_factory=dict)
    runs: dict[str, PipelineRun] = field(default_factory=dict)
    now: datetime = T0

    async def look(self, now: datetime, since: datetime, **fields: Any) -> Drive:
        self.now = now
        ask = Ask(project=self.project, since=since, now=now, known=self.known, **fields)
        ended = await drive(look(ask), FORGE, self.url, token="s3cret")
        for run in ended.runs.values():
            self._remember(run)
        return ended

    def _remember(self, run: PipelineRun) -> None:
        self.runs[run.id] = run
        self.outcomes |= {(run.id, each.attempt): each.result for each in run.outcomes}
        latest = max((number for key, number in self.outcomes if key == run.id), default=0)
        self.known[run.id] = KnownRun(run.seen, latest, run.state)


@asynccontextmanager
async def watching(repository: StandinRepository, api: OpenApi | None = None) -> AsyncIterator[Watcher]:
    problems: list[str] = []
    github = StandinGitHub(lambda: watcher.now, [repository], token="s3cret")
    project = Project(source="github", key=repository.full_name, path="", first_seen_at=T0)
    app = github.make_app([validating(api, problems)] if api else [])
    async with TestServer(app) as server:
        watcher = Watcher(github, str(server.make_url("")), project)
        yield watcher
    assert problems == []


@pytest.fixture(scope="session")
def api(shared_data: Path) -> OpenApi:
    """GitHub's document, save that it calls `created` one instant where it means a range of them."""
    document = json.loads((shared_data / "api/github-actions-openapi.json").read_text())
    parameters = [*document["components"]["parameters"].values()]
    (created,) = [each for each in parameters if each["name"] == "created"]
    del created["schema"]["format"]
    return OpenApi(document, beyond=["/repos/[^/]+/[^/]+/tags"])  # it says nothing of the list of tags


# -------------------------------------------------------------------------------------------------------- stories


async def test_every_exchange_keeps_to_githubs_document(api: OpenApi) -> None:
    repository = StandinRepository(
        "k2/app",
        [
            standin_run(1, attempt(1, 0, 10, "failure"), attempt(2, 20, 30, first_id=2)),
            standin_run(2, attempt(1, 5, 15), event="pull_request", head_branch="fix", pull_requests=(12,)),
            standin_run(3, attempt(1, 6, 16), event="pull_request", head_branch="main", owner="ada"),
            standin_run(4, attempt(1, 7, 17), head_branch="v1.0"),
            standin_run(5, attempt(1, 8, 18), head_branch="both"),
            standin_run(6, attempt(1, 9, 19), head_branch="feature/x"),
            standin_run(7, attempt(1, 30, 90)),
            standin_run(8, attempt(1, 39, 90), event="schedule"),
        ],
        tags={"v1.0", "both"},
        branches={"both", "feature/x"},
    )
    async with watching(repository, api) as watcher:
        ended = await watcher.look(minutes(40), T0, first=True)
        assert ended.look is not None
        assert ended.look.failure is None
        await watcher.look(minutes(95), minutes(35))
    labels = {run.number: (run.ref_type, run.branch, run.event) for run in watcher.runs.values()}
    assert labels == {
        "1": (RefType.DEFAULT, "main", Event.PUSH),
        "2": (RefType.CHANGE_REQUEST, "#12", Event.CHANGE_REQUEST),
        "3": (RefType.CHANGE_REQUEST, "ada:main", Event.CHANGE_REQUEST),
        "4": (RefType.TAG, "v1.0", Event.TAG),
        "5": (RefType.BRANCH, "both", Event.PUSH),
        "6": (RefType.BRANCH, "feature/x", Event.PUSH),
        "7": (RefType.DEFAULT, "main", Event.PUSH),
        "8": (RefType.DEFAULT, "main", Event.SCHEDULE),
    }
    assert watcher.outcomes[("1", 1)] is Result.FAILURE
    assert {number for (run, number), _ in watcher.outcomes.items() if run == "1"} == {1, 2}
    assert all(run.state is RunState.FINISHED for run in watcher.runs.values())


async def test_a_day_of_looks_misses_no_attempt_and_repeats_none() -> None:
    old = standin_run(
        1, attempt(1, -3000, -2990), attempt(2, 100, 130, "failure", 2), attempt(3, 300, 302, "success", 3)
    )
    fresh = [
        standin_run(10 + n, attempt(1, n * 7, n * 7 + 25, "failure" if n % 3 else "success", 100 + n))
        for n in range(60)
    ]
    repository = StandinRepository("k2/app", [old, *fresh])
    async with watching(repository) as watcher:
        await watcher.look(T0, T0 - timedelta(days=7), first=True)
        for minute in range(5, 600, 10):
            await watcher.look(minutes(minute), minutes(minute - 15))
        await watcher.look(minutes(600), minutes(590), sweep=True)
    expected = {
        (str(run.id), each.number): Result(each.conclusion)
        for run in repository.runs
        for each in run.attempts
        if each.conclusion
    }
    assert watcher.outcomes == expected


async def test_a_short_rerun_between_two_looks_is_found_among_the_newest_hundred_runs() -> None:
    run = standin_run(1, attempt(1, -3000, -2990, "failure"), attempt(2, 11, 13, "success", 2))
    newer = [standin_run(100 + n, attempt(1, -2000 + n, -1900 + n, "success", 100 + n)) for n in range(99)]
    async with watching(StandinRepository("k2/app", [run, *newer])) as watcher:
        await watcher.look(T0, T0 - timedelta(days=7), first=True)
        await watcher.look(minutes(20), minutes(10))
    assert watcher.outcomes[("1", 2)] is Result.SUCCESS


async def test_a_short_rerun_of_an_older_run_is_found_by_the_sweep_and_not_before() -> None:
    run = standin_run(1, attempt(1, -3000, -2990, "failure"), attempt(2, 11, 13, "success", 2))
    newer = [standin_run(100 + n, attempt(1, -2000 + n, -1900 + n, "success", 100 + n)) for n in range(100)]
    async with watching(StandinRepository("k2/app", [run, *newer])) as watcher:
        await watcher.look(T0, T0 - timedelta(days=7), first=True)
        await watcher.look(minutes(20), minutes(10))
        assert ("1", 2) not in watcher.outcomes
        ended = await watcher.look(minutes(30), minutes(20), sweep=True)
    assert watcher.outcomes[("1", 2)] is Result.SUCCESS
    assert ended.look is not None
    assert ended.look.swept


async def test_more_than_a_thousand_runs_are_all_found() -> None:
    runs = [standin_run(n, attempt(1, n / 10, n / 10 + 1)) for n in range(1, 1301)]
    async with watching(StandinRepository("k2/app", runs)) as watcher:
        await watcher.look(minutes(1000), T0, first=True)
        assert len(watcher.outcomes) == 1300
        watcher.github.asked.clear()
        await watcher.look(minutes(1001), minutes(995))
        assert len(watcher.github.asked) == 4


async def test_a_wrong_token_a_limit_and_an_unknown_repository_are_told() -> None:
    async with watching(StandinRepository("k2/app", [standin_run(1, attempt(1, 0, 5))])) as watcher:
        ask = Ask(project=watcher.project, since=T0, now=minutes(10))
        wrong = await drive(look(ask), FORGE, watcher.url, token="wrong")
        watcher.project = Project(source="github", key="k2/other", path="", first_seen_at=T0)
        unknown = await watcher.look(minutes(10), T0)
        watcher.github.remaining = 0
        limited = await watcher.look(minutes(10), T0)
    failures = [ended.look.failure for ended in (wrong, unknown, limited) if ended.look]
    assert [failure and failure.status for failure in failures] == [401, 404, 403]


# ------------------------------------------------------------------------------------------------- real histories


def rows(file: Path) -> Iterator[dict[str, Any]]:
    for line in gzip.decompress(file.read_bytes()).splitlines():
        yield json.loads(line)


@pytest.mark.parametrize("name", ["github_apache_ratis", "github_bitcoin"])
async def test_a_real_history_comes_back_as_it_was(shared_data: Path, name: str) -> None:
    history = list(rows(shared_data / f"pipelines/{name}.jsonl.gz"))[-150:]
    repository = StandinRepository("k2/app", [standin_from_row(row) for row in history], default_branch="master")
    async with watching(repository) as watcher:
        first = min(parse_instant(row["created_at"]) for row in history)
        await watcher.look(
            max(parse_instant(row["updated_at"]) for row in history) + timedelta(hours=1), first, first=True
        )
    assert len(watcher.runs) == len(history)
    for row in history:
        run = watcher.runs[str(row["id"])]
        (outcome,) = run.outcomes
        assert iso(outcome.finished_at) == row["finished_at"]
        assert outcome.duration == timedelta(seconds=row["duration_s"])
        if row["queued_s"] is not None:
            assert outcome.queued == timedelta(seconds=row["queued_s"])
