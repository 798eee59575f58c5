"""The collector with nothing of its own making around it: GitLab's flow, a GitLab over HTTP, SQLite on disk."""

from datetime import timedelta
from pathlib import Path

from aiohttp.test_utils import TestServer

from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.settings import SourceSettings
from k2alert.model import Kind, Saved
from k2alert.record import Store, open_store
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from tests.support.fake_time import T0, FakeTime

HOUR = timedelta(hours=1)


def pipelines(first: int, count: int) -> list[StandinPipeline]:
    """So many pipelines, one an hour up to T0 for number 100, of five minutes each."""
    created = {number: T0 + (number - 100) * HOUR for number in range(first, first + count)}
    return [
        StandinPipeline(
            id=number, created_at=at, started_at=at, finished_at=at + HOUR / 12, status="success", ref="main"
        )
        for number, at in created.items()
    ]


def make_collector(store: Store, url: str, fake: FakeTime, saved: list[Saved]) -> Collector:
    source = {"type": "gitlab", "name": "s", "url": url, "token": "t", "projects": ["k2/app", 7]}
    return Collector(
        [SourceSettings.model_validate(source)],
        forges=SOURCES,
        store=store,
        time=fake.time,
        depth=lambda: timedelta(days=7),
        version="1",
        on_saved=saved.append,
    )


async def test_a_restart_over_sqlite_misses_and_repeats_nothing(tmp_path: Path) -> None:
    fake = FakeTime()
    saved: list[Saved] = []
    gitlab = StandinGitLab(clock=lambda: fake.now, token="t")
    gitlab.add_project("k2/app")
    gitlab.add_project("k2/lib", id=7)
    gitlab.put("k2/app", *pipelines(40, 70))  # ten of them still to come
    gitlab.put("k2/lib", *pipelines(240 - 180, 30))
    async with TestServer(gitlab.app()) as server:
        for _ in range(3):
            store = open_store(f"sqlite:///{tmp_path}/k2alert.db")
            collector = make_collector(store, str(server.make_url("")), fake, saved)
            await collector.load()
            looks = [await collector.look("s", key) for key in ("k2/app", "7")]
            assert [look.failure for look in looks] == [None, None]
            assert [project.path for project in await store.projects()] == ["k2/lib", "k2/app"]
            await collector.close()
            await store.close()
            fake.advance(5 * HOUR + HOUR / 2)
    runs = [change for told in saved for change in told.entries if change.kind is Kind.RUN]
    assert all(change.old is None for change in runs)
    assert len(runs) == len({change.new.ref for change in runs if change.new}) == 70 + 30
