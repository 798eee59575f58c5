"""Forges that fail in the middle, read by the daemon's own flows over HTTP: afterwards the store holds the truth.

Every fault meets a backfill and the looks after it at several of their requests. What is recorded then must be what is
recorded where nothing fails, each row once.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.http import Limits
from k2alert.collect.settings import SourceSettings
from k2alert.model import Kind, Saved
from k2alert.record import open_store
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support import github_standin as github
from tests.support.fake_time import T0, FakeTime
from tests.support.faults import (
    CLOSING,
    Fault,
    FaultyServer,
    answer,
    broken_off,
    endless,
    hang,
    html,
    redirect,
    reset,
    text,
    truncated,
)

MINUTE = timedelta(minutes=1)
RUNS = 45  # three pages of GraphQL
Rows = Counter[tuple[Any, ...]]


def gitlab_app(clock: Callable[[], Any], *, graphql: bool, middleware: Any) -> web.Application:
    """A GitLab with a project of some history, of which a little is still to come."""
    forge = StandinGitLab(clock, token="t", graphql=graphql)
    forge.add_project("k2/app")
    for number in range(1, RUNS + 1):
        start = T0 + (number - RUNS + 3) * 15 * MINUTE
        times: dict[str, Any] = {"created_at": start, "started_at": start, "finished_at": start + 5 * MINUTE}
        status = "failed" if number % 7 == 0 else "success"
        jobs = [StandinJob(id=10 * number + at, name=f"job {at}", status=status, **times) for at in range(2)]
        forge.put("k2/app", StandinPipeline(id=number, status=status, jobs=tuple(jobs), **times))
    return forge.app(middlewares=[middleware])


def github_app(clock: Callable[[], Any], *, middleware: Any) -> web.Application:
    """The same at GitHub, with re-runs."""
    runs = []
    for number in range(1, RUNS // 3 + 1):
        start = T0 + (number - RUNS // 3 + 3) * 15 * MINUTE
        conclusion = "failure" if number % 7 == 0 else "success"
        job = github.StandinJob(number, "test", start, start + 5 * MINUTE, conclusion, created_at=start)
        attempts = [github.StandinAttempt(1, start, start + 5 * MINUTE, conclusion, [job])]
        if number % 5 == 0:
            again = start + 20 * MINUTE
            job = github.StandinJob(1000 + number, "test", again, again + MINUTE, "success", created_at=again)
            attempts.append(github.StandinAttempt(2, again, again + MINUTE, "success", [job]))
        runs.append(github.StandinRun(number, start, attempts))
    return github.StandinGitHub(clock, [github.StandinRepository("k2/app", runs)]).make_app([middleware])


APPS: dict[str, tuple[str, Callable[..., web.Application]]] = {
    "gitlab over GraphQL": ("gitlab", lambda clock, middleware: gitlab_app(clock, graphql=True, middleware=middleware)),
    "gitlab over REST": ("gitlab", lambda clock, middleware: gitlab_app(clock, graphql=False, middleware=middleware)),
    "github": ("github", lambda clock, middleware: github_app(clock, middleware=middleware)),
}


class Trouble:
    """Answers the request of a number with a fault, all others as the forge does."""

    def __init__(self, fault: Fault | None, at: int) -> None:
        self.fault = fault
        self.at = at
        self.seen = 0

    @web.middleware
    async def meet(self, request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> web.StreamResponse:
        """Sees every request."""
        self.seen += 1
        meets = self.fault is not None and self.seen - 1 == self.at
        response: web.StreamResponse = await (self.fault if meets and self.fault else handler)(request)
        return response


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """The app's address, as long as it is there."""
    closing = app[CLOSING] = asyncio.Event()
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        closing.set()
        await server.close()


async def recorded(forge: str, folder: Path, trouble: Trouble) -> Rows:
    """What is in the store after a backfill, and looks over three hours more; each look is of a new process."""
    fake, saved = FakeTime(), list[Saved]()
    kind, make_app = APPS[forge]
    hasty = Limits(time=timedelta(seconds=0.3 if trouble.fault is hang else 20), size=1_000_000)
    folder.mkdir(exist_ok=True)
    async with served(make_app(lambda: fake.now, middleware=trouble.meet)) as url:
        for _ in range(5):
            store = open_store(f"sqlite:///{folder}/k2alert.db")
            source = {"type": kind, "name": "s", "url": url, "token": "t", "projects": ["k2/app"]}
            collector = Collector(
                [SourceSettings.model_validate(source)],
                forges=SOURCES,
                store=store,
                time=fake.time,
                depth=lambda: timedelta(days=7),
                version="1",
                on_saved=saved.append,
                limits=hasty,
            )
            await collector.load()
            await collector.look("s", "k2/app")
            rows = [
                (of, entry.created, entry.finished, entry.superseded, entry.result, entry.duration, entry.retry)
                for of in (Kind.RUN, Kind.JOB)
                async for batch in store.entries(of)
                for entry in batch
            ]
            (project,) = await store.projects()
            await collector.close()
            await store.close()
            fake.now = T0 + timedelta(minutes=40) * (round((fake.now - T0) / timedelta(minutes=40)) + 1)
    assert (project.failure, project.failures) == ("", 0)
    told = [
        (change.kind, change.new.ref)
        for one in saved
        for change in one.entries
        if change.new is not None and change.old is None
    ]
    assert len(told) == len(set(told))
    return Counter(rows)


FAULTS = {
    "500": answer({}, status=500),
    "502 in HTML": html(502),
    "401": answer({"message": "401 Unauthorized"}, status=401),
    "403": answer({"message": "403 Forbidden"}, status=403),
    "429 without headers": text("Retry later", status=429),
    "429 for ten minutes": text("", status=429, headers={"Retry-After": "600"}),
    "a limit of GitHub": answer(
        {"message": "API rate limit exceeded"}, status=403, headers={"x-ratelimit-remaining": "0"}
    ),
    "a secondary limit": answer({"message": "You have exceeded a secondary rate limit"}, status=403),
    "a clock of another year": answer(
        {}, status=429, headers={"Date": "Tue, 05 Jan 2027 12:00:00 GMT", "Retry-After": "30"}
    ),
    "HTML with 200": html(),
    "cut JSON": truncated(),
    "a list where a mapping should be": answer([1, 2]),
    "null": answer(None),
    "broken off": broken_off,
    "endless": endless,
    "silence": hang,
    "reset": reset,
}


@pytest.fixture(scope="module")
def truths() -> dict[str, tuple[Rows, int]]:
    """What is recorded where nothing fails, and how many requests that takes; filled as it is needed."""
    return {}


@pytest.mark.parametrize("forge", APPS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_after_any_fault_the_store_holds_the_truth(
    fault: str, forge: str, tmp_path: Path, truths: dict[str, tuple[Rows, int]]
) -> None:
    if forge not in truths:
        calm = Trouble(None, 0)
        truths[forge] = await recorded(forge, tmp_path / "calm", calm), calm.seen
    truth, requests = truths[forge]
    assert sum(truth.values()) > RUNS // 3
    for at in {0, requests // 3, 2 * requests // 3}:
        assert await recorded(forge, tmp_path / str(at), Trouble(FAULTS[fault], at)) == truth, f"at request {at}"


@pytest.mark.parametrize("forge", APPS)
async def test_a_redirect_to_another_host_takes_no_token_there_and_loses_nothing(
    forge: str, tmp_path: Path, truths: dict[str, tuple[Rows, int]]
) -> None:
    calm = Trouble(None, 0)
    truth = await recorded(forge, tmp_path / "calm", calm)
    async with FaultyServer(answer({"id": 1})) as elsewhere:
        for at in (0, calm.seen // 2):
            trouble = Trouble(redirect(f"{elsewhere.url}/stolen", status=307), at)
            assert await recorded(forge, tmp_path / str(at), trouble) == truth
        assert not [seen for seen in elsewhere.seen if "authorization" in seen.headers]
