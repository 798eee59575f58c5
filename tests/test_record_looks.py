"""Whatever order looks come in, the store holds what a plain reading of the rules gives."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.model import RESULTS, Entry, Kind, OpenEntry, Outcome, PipelineRun, Result, RunState, Saved
from k2alert.record import Store, open_store
from k2alert.times import to_ms
from tests.support.looks import at, job, ms, run
from tests.support.postgres import PostgresServer

# ------------------------------------------------------------------------------- the rules, read plainly


@dataclass
class RunModel:
    """What is known of one run: the newest look's time and state, attempts, and executions of jobs by name."""

    seen: int
    state: RunState
    attempts: dict[int, Outcome] = field(default_factory=dict)
    executions: dict[str, tuple[str, int, int, Result]] = field(default_factory=dict)  # name, attempt, end, result
    open_jobs: set[str] = field(default_factory=set)


def look_at(model: dict[str, RunModel], look: PipelineRun) -> None:
    known = model.setdefault(look.id, RunModel(to_ms(look.seen), look.state))
    fresh = to_ms(look.seen) >= known.seen
    if fresh:
        known.seen, known.state = to_ms(look.seen), look.state
    for outcome in look.outcomes:
        if fresh or outcome.attempt not in known.attempts:
            known.attempts[outcome.attempt] = outcome
    for one in look.jobs:
        if one.finished_at is not None and one.result is not None and (fresh or one.id not in known.executions):
            known.executions[one.id] = (one.name, one.attempt, to_ms(one.finished_at), one.result)
            known.open_jobs.discard(one.id)
        elif fresh and one.state is not RunState.FINISHED:
            known.open_jobs.add(one.id)
    if known.state is RunState.FINISHED:
        known.open_jobs.clear()


def counted_runs(model: dict[str, RunModel], t: int) -> list[tuple[int, int]]:
    """(end, result) of the latest attempt finished by t, of every run."""
    found = []
    for known in model.values():
        done = [(number, o) for number, o in known.attempts.items() if to_ms(o.finished_at) <= t]
        if done:
            latest = max(done)[1]
            found.append((to_ms(latest.finished_at), RESULTS.index(latest.result)))
    return sorted(found)


def counted_jobs(model: dict[str, RunModel], t: int) -> list[tuple[int, int]]:
    """(end, result) of the latest execution of every job name of every run that had finished by t."""
    found = []
    for known in model.values():
        for name in {execution[0] for execution in known.executions.values()}:
            done = [
                (attempt, int(id), end, result)
                for id, (one, attempt, end, result) in known.executions.items()
                if one == name and end <= t
            ]
            if done:
                found.append((max(done)[2], RESULTS.index(max(done)[3])))
    return sorted(found)


def counted(entries: Sequence[Entry], t: int) -> list[tuple[int, int]]:
    return sorted(
        (entry.finished, entry.result)
        for entry in entries
        if entry.finished <= t and (entry.superseded is None or t < entry.superseded)
    )


# ----------------------------------------------------------------------------------------------- looks

minutes = st.integers(0, 12)
results = st.sampled_from([Result.SUCCESS, Result.FAILURE, Result.CANCELLATION])


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    finished = draw(minutes)
    return Outcome(
        attempt=draw(st.integers(1, 3)),
        result=draw(results),
        started_at=None,
        finished_at=at(finished),
        duration=draw(st.none() | st.builds(timedelta, minutes=minutes)),
        queued=None,
    )


@st.composite
def looks(draw: st.DrawFn) -> PipelineRun:
    jobs = []
    for id in draw(st.lists(st.sampled_from(["8", "9", "10"]), unique=True, max_size=3)):
        end = draw(st.none() | minutes)
        name = "lint" if id == "8" else "test"
        jobs.append(job(name, end, draw(results) if end is not None else None, id=id))
    return run(
        draw(st.sampled_from(["1", "2"])),
        seen=draw(minutes),
        state=draw(st.sampled_from(RunState)),
        outcomes=tuple(draw(st.lists(outcomes(), max_size=3, unique_by=lambda one: one.attempt))),
        jobs=tuple(jobs),
    )


# ---------------------------------------------------------------------------------------------- checks


class Follower:
    """Keeps up with the store by what `save` says alone, as `measure` does."""

    def __init__(self) -> None:
        self.entries: dict[tuple[Kind, int], Entry] = {}
        self.opens: dict[tuple[Kind, str], OpenEntry] = {}
        self.streams: set[int] = set()

    def follow(self, saved: Saved) -> None:
        self.streams |= {stream.id for stream in saved.streams}
        for change in saved.entries:
            if change.old is not None:
                assert self.entries.pop((change.kind, change.old.ref)) == change.old
            if change.new is not None:
                assert change.new.stream in self.streams
                assert change.old != change.new
                assert change.new.superseded is None or change.new.superseded >= change.new.finished
                self.entries[change.kind, change.new.ref] = change.new
        for opened in saved.opens:
            assert self.opens.get((opened.kind, opened.key)) != opened.new
            if opened.new is None:
                del self.opens[opened.kind, opened.key]
            else:
                self.opens[opened.kind, opened.key] = opened.new


async def entries_of(store: Store, kind: Kind) -> list[Entry]:
    return [entry async for batch in store.entries(kind) for entry in batch]


async def compare(store: Store, follower: Follower, model: dict[str, RunModel]) -> None:
    runs, jobs = await entries_of(store, Kind.RUN), await entries_of(store, Kind.JOB)
    assert {(Kind.RUN, entry.ref): entry for entry in runs} | {
        (Kind.JOB, entry.ref): entry for entry in jobs
    } == follower.entries
    assert {(kind, entry.key): entry for kind, entry in await store.opens()} == follower.opens
    for minute in range(-1, 14):
        assert counted(runs, ms(minute)) == counted_runs(model, ms(minute))
        assert counted(jobs, ms(minute)) == counted_jobs(model, ms(minute))
    assert sum(kind is Kind.RUN for kind, _ in follower.opens) == sum(
        known.state is not RunState.FINISHED for known in model.values()
    )
    assert sum(kind is Kind.JOB for kind, _ in follower.opens) == sum(len(known.open_jobs) for known in model.values())


some_batches = st.lists(st.lists(looks(), min_size=1, max_size=3), min_size=1, max_size=8)


async def check_sequence(url: str, batches: list[list[PipelineRun]]) -> None:
    store = open_store(url)
    follower = Follower()
    model: dict[str, RunModel] = {}
    for batch in batches:
        follower.follow(await store.save(batch))
        for look in batch:
            look_at(model, look)
        last = {look.id: look for look in batch}
        assert await store.save([last[look.id] for look in batch[-1:]]) == Saved()
    await compare(store, follower, model)
    assert sum(total.runs for total in await store.totals()) == sum(len(known.attempts) for known in model.values())
    await store.close()


@settings(max_examples=60, deadline=None)
@given(some_batches)
async def test_any_sequence_of_looks_ends_where_the_rules_say(batches: list[list[PipelineRun]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await check_sequence(f"sqlite:///{folder}/k2alert.db", batches)


@settings(max_examples=15, deadline=None)
@given(some_batches)
async def test_any_sequence_of_looks_ends_there_in_postgresql_too(
    postgres: PostgresServer, batches: list[list[PipelineRun]]
) -> None:
    await check_sequence(postgres.make_database(), batches)


@settings(max_examples=25, deadline=None)
@given(st.data())
async def test_complete_looks_end_the_same_in_any_order(data: st.DataObject) -> None:
    """Each look carries what the forge knew by then, so the order in which they arrive can't matter."""
    ends = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True))
    attempts = [
        Outcome(
            attempt=number,
            result=data.draw(results),
            started_at=None,
            finished_at=at(end),
            duration=None,
            queued=None,
        )
        for number, end in enumerate(sorted(ends), 1)
    ]
    story = [
        run(seen=(one.finished_at - at(0)) / timedelta(minutes=1), outcomes=tuple(attempts[:count]))
        for count, one in enumerate(attempts, 1)
    ]
    arrived = data.draw(st.permutations(story))  # before the store is open: a draw may end the example
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/k2alert.db")
        for look in arrived:
            await store.save([look])
        entries = await entries_of(store, Kind.RUN)
        assert [entry.finished for entry in entries] == [to_ms(one.finished_at) for one in attempts]
        assert [entry.superseded for entry in entries] == [*(entry.finished for entry in entries[1:]), None]
        assert [entry.retry for entry in entries] == [False, *(True for _ in entries[1:])]
        await store.close()


async def test_a_job_that_takes_the_number_of_one_that_went_in_the_same_batch_is_itself(tmp_path: Path) -> None:
    """The run ends, and its open job with it, and goes again with another: three looks of one instant."""
    store = open_store(f"sqlite:///{tmp_path}/k2alert.db")
    again = run("1", seen=0, state=RunState.PENDING, jobs=(job("test", id="9"),))
    await store.save([run("1", seen=0, state=RunState.PENDING, jobs=(job("lint", id="8"),))])

    await store.save([run("1", seen=0, state=RunState.FINISHED), again])

    assert await store.save([again]) == Saved()
    labels = {stream.id: stream.labels for stream in await store.streams()}
    assert [labels[entry.stream].get("job") for kind, entry in await store.opens() if kind is Kind.JOB] == ["test"]
    await store.close()
