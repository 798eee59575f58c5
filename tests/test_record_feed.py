"""What replicas tell each other: whoever follows the changes has what is stored, and what whoever wrote it has."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.labels import Labels
from k2alert.model import (
    RESULTS,
    BenchmarkEntry,
    CoverageEntry,
    DeploymentEntry,
    Entry,
    EntryChange,
    FactChange,
    FactEntry,
    HookEvent,
    Kind,
    NamedTest,
    OpenChange,
    OpenEntry,
    PipelineRun,
    RefType,
    ReportEntry,
    RunState,
    Saved,
    ScheduleEntry,
    Stream,
)
from k2alert.record import Change, Store, Topic, open_store
from k2alert.record.feed import VERSION, decode_change, encode_change
from k2alert.record.postgres_feed import Ear
from k2alert.record.postgres_line import Server
from tests.support.looks import at, finished_run, job, run
from tests.support.postgres import PostgresServer
from tests.support.reported import deployment, execution, report, schedule, schedules
from tests.support.stores import entries_of, prune

PATIENCE = 30

# --------------------------------------------------------------------------------------------------- as text

numbers = st.integers(0, 2**62)
maybe = st.none() | numbers
texts = st.text(max_size=8)
bitsets = st.integers(0, 2**20_000)
floats = st.floats(allow_nan=False, allow_infinity=False)
entries = st.builds(
    Entry, numbers, numbers, numbers, numbers, maybe, st.integers(0, len(RESULTS) - 1), maybe, maybe, st.booleans(),
    st.booleans(),
)  # fmt: skip
facts: dict[Kind, st.SearchStrategy[FactEntry]] = {
    Kind.TEST: st.builds(
        ReportEntry, numbers, numbers, numbers, numbers, numbers, st.binary(max_size=32), st.booleans(), bitsets,
        bitsets, bitsets, st.lists(st.tuples(numbers, numbers, numbers), max_size=2).map(tuple), maybe,
    ),
    Kind.COVERAGE: st.builds(CoverageEntry, numbers, numbers, numbers, numbers, st.booleans(), floats, bitsets),
    Kind.BENCHMARK: st.builds(
        BenchmarkEntry, numbers, numbers, numbers, st.binary(max_size=32), texts, floats, texts, st.booleans(),
        st.none() | floats, texts,
    ),
    Kind.DEPLOYMENT: st.builds(DeploymentEntry, numbers, numbers, numbers, numbers, numbers, numbers),
    Kind.SCHEDULE: st.builds(ScheduleEntry, numbers, numbers, numbers, texts, texts, st.booleans(), numbers, maybe),
}  # fmt: skip


def of_kind(kind: Kind) -> st.SearchStrategy[FactChange]:
    return st.builds(FactChange, st.just(kind), st.none() | facts[kind], st.none() | facts[kind])


def some(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


saves = st.builds(
    Saved,
    some(st.builds(Stream, numbers, st.sampled_from(Kind), st.dictionaries(texts, texts, max_size=2).map(Labels))),
    some(st.builds(EntryChange, st.sampled_from([Kind.RUN, Kind.JOB]), st.none() | entries, st.none() | entries)),
    some(
        st.builds(
            OpenChange,
            st.sampled_from([Kind.RUN, Kind.JOB]),
            texts,
            st.none() | st.builds(OpenEntry, numbers, texts, st.sampled_from(RunState), numbers, maybe),
        )
    ),
    some(st.sampled_from(sorted(facts)).flatmap(of_kind)),
    some(st.builds(NamedTest, texts, texts, numbers, texts, texts)),
    some(numbers),
)


@given(saves, st.frozensets(st.sampled_from(Topic)))
def test_a_change_is_read_as_it_was_written(saved: Saved, topics: frozenset[Topic]) -> None:
    assert decode_change(VERSION, encode_change(saved, topics)) == (saved, topics)


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_a_version_that_is_not_known_is_not_read(version: int) -> None:
    assert decode_change(version, '{"form": "unknown"}') is None


# ------------------------------------------------------------------------------------------------ followed


@dataclass
class Follower:
    """What somebody remembers who takes every change."""

    streams: dict[int, Stream] = field(default_factory=dict)
    entries: dict[tuple[Kind, int], Entry] = field(default_factory=dict)
    opens: dict[tuple[Kind, str], OpenEntry] = field(default_factory=dict)
    facts: dict[tuple[Kind, int], FactEntry] = field(default_factory=dict)

    def take(self, saved: Saved) -> None:
        self.streams |= {stream.id: stream for stream in saved.streams}
        for number in saved.gone:
            del self.streams[number]
        for entry in saved.entries:
            self._replace(self.entries, entry.kind, entry.old, entry.new)
        for fact in saved.facts:
            self._replace(self.facts, fact.kind, fact.old, fact.new)
        for change in saved.opens:
            if change.new is None:
                self.opens.pop((change.kind, change.key))
            else:
                self.opens[change.kind, change.key] = change.new

    def _replace(self, known: dict, kind: Kind, old: object, new: object) -> None:  # type: ignore[type-arg]
        if old is not None:
            del known[kind, old.ref]  # type: ignore[attr-defined]
        if new is not None:
            known[kind, new.ref] = new  # type: ignore[attr-defined]


async def stored(store: Store) -> Follower:
    return Follower(
        {stream.id: stream for stream in await store.streams()},
        {(kind, entry.ref): entry for kind in (Kind.RUN, Kind.JOB) for entry in await entries_of(store, kind)},
        {(kind, entry.key): entry for kind, entry in await store.opens()},
        {
            (kind, entry.ref): entry
            for kind in Kind
            if not kind.of_runs
            async for batch in store.facts(kind)
            for entry in batch
        },
    )


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_database()


@pytest.fixture
async def leader(url: str) -> AsyncIterator[Store]:
    opened = open_store(url)
    async with asyncio.timeout(PATIENCE):
        await opened.campaign("one", lambda: 0.0).changed()
    yield opened
    await opened.close()


@pytest.fixture
async def standby(url: str) -> AsyncIterator[Store]:
    opened = open_store(url)
    yield opened
    await opened.close()


async def changes_of(store: Store, after: int = 0) -> list[Change]:
    found: list[Change] = []
    while some := await store.changes(found[-1].seq if found else after):
        found += some
    return found


async def live(store: Store, seed: int, steps: int) -> list[Saved]:
    """Some life: runs that begin, end, go again and are forgotten, with what belongs to them."""
    dice, told = random.Random(seed), []
    for minute in range(1, steps):
        name = str(dice.randrange(1, 12))
        end = None if dice.random() < 0.3 else minute
        jobs = (job(id=f"5{name}", finished=end), job("lint", id=f"6{name}", finished=minute))
        state = dice.choice([RunState.PENDING, RunState.RUNNING])
        look = run(name, seen=minute, state=state, jobs=jobs) if end is None else finished_run(name, minute, jobs=jobs)
        told.append(await store.save([look]))
        told.append(
            await store.save_facts(
                [
                    report(execution(name, minute), "ok fine", "bad" if dice.random() < 0.5 else ""),
                    deployment(name, minute),
                    schedules(*(schedule(str(number)) for number in range(dice.randrange(3)))),
                ]
            )
        )
    told.append(await prune(store, at(steps / 2)))
    return told


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_follows_has_what_is_stored(leader: Store, standby: Store, seed: int) -> None:
    follower, whole = Follower(), Follower()
    seen = 0
    for part in range(3):
        for saved in await live(leader, 10 * seed + part, 12):
            whole.take(saved)
        for change in await changes_of(standby, seen):
            follower.take(change.saved)
            seen = change.seq
        kept = await stored(standby)
        assert (follower.entries, follower.opens, follower.facts) == (kept.entries, kept.opens, kept.facts)
        assert follower == whole
        assert follower.streams == kept.streams
    assert len(follower.facts) > 3


async def test_whoever_fills_its_memory_in_between_follows_from_there(leader: Store, standby: Store) -> None:
    await live(leader, 1, 10)
    writing = asyncio.ensure_future(live(leader, 2, 30))
    await asyncio.sleep(0)
    async with standby.frozen() as moment:
        seen = await moment.last_change()
        await writing
        follower = await stored(moment)  # type: ignore[arg-type]
    for change in await changes_of(standby, seen):
        follower.take(change.saved)
    kept = await stored(standby)
    assert (follower.entries, follower.opens, follower.facts) == (kept.entries, kept.opens, kept.facts)


async def test_what_changed_beside_facts_is_told_by_its_topic(leader: Store, standby: Store) -> None:
    standby.campaign("two", lambda: 0.0)
    event = HookEvent(id=0, source="gitlab", delivery="1", project="k2/app", run="1", received_at=at(0), body={})
    await leader.save_alerts([])
    await leader.drop_log([("a", "b", "c")])
    await standby.save_silences([])
    await standby.accept_hooks([event])
    await leader.forget_projects([("gitlab", "1")])

    topics = [change.topics for change in await changes_of(leader)]

    assert topics == [{Topic.ALERTS}, {Topic.LOG}, {Topic.SILENCES}, {Topic.HOOKS}, {Topic.PROJECTS}]


async def test_what_changes_nothing_is_not_told(leader: Store) -> None:
    await leader.save([finished_run("1", 1)])
    await leader.save([finished_run("1", 1)])
    await leader.ping()
    assert [change.seq for change in await changes_of(leader)] == [1]


async def test_changes_of_many_writers_are_numbered_without_gaps(leader: Store, standby: Store) -> None:
    standby.campaign("two", lambda: 0.0)
    await asyncio.gather(*(store.save_silences([]) for store in 20 * [leader, standby]))
    assert [change.seq for change in await changes_of(standby)] == list(range(1, 41))


async def test_whoever_is_too_far_behind_is_told_to_read_everything(
    postgres: PostgresServer, url: str, leader: Store, standby: Store
) -> None:
    for _ in range(49):
        await leader.save_alerts([])
    postgres.say("UPDATE changes SET at = 0", url.rpartition("/")[2])
    await leader.save_alerts([])  # the fiftieth sweeps up

    assert await standby.changes(48) is None
    assert await standby.changes(49) == [Change(50, Saved(), frozenset({Topic.ALERTS}))]
    assert await standby.changes(50) == []
    assert await standby.changes(51) is None  # the database is an older copy


async def test_the_newest_change_is_kept_so_that_numbers_go_on(
    postgres: PostgresServer, url: str, leader: Store
) -> None:
    for _ in range(50):
        await leader.save_alerts([])
    postgres.say("UPDATE changes SET at = 0", url.rpartition("/")[2])
    for _ in range(50):
        await leader.save_alerts([])
    assert postgres.say("SELECT min(seq), max(seq) FROM changes", url.rpartition("/")[2]) == ["51|100"]


async def test_label_sets_that_are_forgotten_are_told(leader: Store, standby: Store) -> None:
    def of(branch: str, minute: float) -> PipelineRun:
        return finished_run(branch, minute, branch=branch, ref_type=RefType.CHANGE_REQUEST)

    follower, day = Follower(), 24 * 60
    await leader.save([of("!1", 1), of("!2", 2), of("!3", 50 * day)])
    await prune(leader, at(40 * day))
    await leader.save([of("!1", 51 * day), finished_run("1", 51 * day)])
    for change in await changes_of(standby):
        follower.take(change.saved)
    kept = await stored(standby)
    assert (follower.entries, follower.opens, follower.streams) == (kept.entries, kept.opens, kept.streams)
    assert len(kept.streams) == 3


async def test_whoever_waits_is_woken(leader: Store, standby: Store) -> None:
    await standby.wait_for_change(PATIENCE)  # the first time nobody knows what happened before
    waiting = asyncio.ensure_future(standby.wait_for_change(1000))
    await asyncio.sleep(0)
    await leader.save([finished_run("1", 1)])
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert len(await changes_of(standby)) == 1


async def test_whoever_waits_is_woken_when_the_connection_is_lost(
    postgres: PostgresServer, url: str, standby: Store
) -> None:
    await standby.wait_for_change(PATIENCE)
    waiting = asyncio.ensure_future(standby.wait_for_change(1000))
    await asyncio.sleep(0)
    sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    await asyncio.to_thread(postgres.say, sql)
    async with asyncio.timeout(PATIENCE):
        await waiting


async def test_whoever_stops_waiting_leaves_no_connection_behind(postgres: PostgresServer, url: str) -> None:
    for number in range(60):
        ear = Ear(Server(url))
        waiting = asyncio.create_task(ear.wait(1000))
        await asyncio.sleep(number * 0.0005)  # somewhere on the way until it listens
        waiting.cancel()
        await asyncio.wait([waiting])
        await ear.close()
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(postgres.say, sql) != ["0"]:
            await asyncio.sleep(0.05)
