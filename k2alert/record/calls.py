"""The store's calls, each as work that an engine does.

In: calls of `Store` on the event loop. Out: the same, whatever database is behind the engine.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from k2alert.model import (
    Alert,
    DeploymentEvidence,
    Entry,
    EntryRow,
    Fact,
    FactEntry,
    HookEvent,
    Kind,
    KnownRun,
    LogEntry,
    NamedTest,
    OpenEntry,
    PipelineRun,
    Project,
    RunEvidence,
    RunTotal,
    Saved,
    Silence,
    Stream,
    Telling,
    TellingQuery,
    TestEvidence,
    Transition,
)
from k2alert.record import fact_pruning, hooks, pruning
from k2alert.record.connection import Connection, Engine, ReadEngine
from k2alert.record.evidence import read_job_evidence, read_run_evidence
from k2alert.record.fact_reading import (
    read_deployment_evidence,
    read_facts,
    read_report_evidence,
    read_test_evidence,
    read_tests,
)
from k2alert.record.facts import save_facts
from k2alert.record.reading import read_entries, read_known_runs, read_opens, read_rows, read_streams
from k2alert.record.rows import clean
from k2alert.record.saving import save_runs
from k2alert.record.statements import QUERIES
from k2alert.record.states import (
    alert_of,
    alert_row,
    log_entry_of,
    log_row,
    project_of,
    project_row,
    silence_of,
    silence_row,
    total_of,
    transition_of,
    transition_row,
)
from k2alert.record.store import Change, Lease, Moment, Topic
from k2alert.record.tellings import query_row, telling_of, telling_row
from k2alert.times import to_ms

__all__ = ["EngineReader", "EngineStore"]

T = TypeVar("T")
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_MANY = 1_000  # rows that are made in a few milliseconds
Step = tuple[str, Sequence[Sequence[Any]]]  # a statement, and the rows to run it with


class EngineReader:
    """`Reader` by an engine."""

    def __init__(self, engine: ReadEngine) -> None:
        self._engine = engine

    async def streams(self) -> list[Stream]:
        """See `Store`."""
        return await self._engine.read(read_streams)

    def entries(self, kind: Kind, since_ms: int = 0) -> AsyncIterator[list[Entry]]:
        """See `Store`."""
        return self._engine.load(read_entries, kind, since_ms)

    def rows(self, kind: Kind) -> AsyncIterator[list[EntryRow]]:
        """See `Store`."""
        return self._engine.load(read_rows, kind)

    def facts(self, kind: Kind, since_ms: int = 0) -> AsyncIterator[list[FactEntry]]:
        """See `Store`."""
        return self._engine.load(read_facts, kind, since_ms)

    def tests(self) -> AsyncIterator[list[NamedTest]]:
        """See `Store`."""
        return self._engine.load(read_tests)

    async def opens(self) -> list[tuple[Kind, OpenEntry]]:
        """See `Store`."""
        return await self._engine.read(read_opens)

    async def known_runs(self, source: str, project: str, since: datetime) -> dict[str, KnownRun]:
        """See `Store`."""
        return await self._engine.read(read_known_runs, clean(source), clean(project), to_ms(since))

    async def run_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """See `Store`."""
        return await self._engine.read(read_run_evidence, refs)

    async def job_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """See `Store`."""
        return await self._engine.read(read_job_evidence, refs)

    async def test_evidence(self, cases: Sequence[tuple[int, int]]) -> dict[tuple[int, int], TestEvidence]:
        """See `Store`."""
        return await self._engine.read(read_test_evidence, cases)

    async def report_evidence(self, kind: Kind, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """See `Store`."""
        return await self._engine.read(read_report_evidence, kind, refs)

    async def deployment_evidence(self, refs: Sequence[int]) -> dict[int, DeploymentEvidence]:
        """See `Store`."""
        return await self._engine.read(read_deployment_evidence, refs)

    async def totals(self) -> list[RunTotal]:
        """See `Store`."""
        return await self._rows(total_of, "all_totals")

    async def projects(self) -> list[Project]:
        """See `Store`."""
        return await self._rows(project_of, "all_projects")

    async def alerts(self) -> list[Alert]:
        """See `Store`."""
        return await self._rows(alert_of, "all_alerts")

    async def transitions(self, rule: str, limit: int) -> list[Transition]:
        """See `Store`."""
        return await self._rows(transition_of, "last_transitions", rule, limit)

    async def log(self) -> list[LogEntry]:
        """See `Store`."""
        return await self._rows(log_entry_of, "live_notifications")

    async def log_history(self, limit: int = 1000) -> list[LogEntry]:
        """See `Store`."""
        return await self._rows(log_entry_of, "last_notifications", limit)

    async def silences(self) -> list[Silence]:
        """See `Store`."""
        return await self._rows(silence_of, "all_silences")

    async def tellings(self, query: TellingQuery) -> list[Telling]:
        """See `Store`."""
        return await self._rows(telling_of, "last_tellings", *query_row(query))

    async def close(self) -> None:
        """See `Store`."""
        await self._engine.close()

    async def _rows(self, make: Callable[[Sequence[Any]], T], query: str, *args: object) -> list[T]:
        return await _made(make, await self._engine.read(_fetch, query, args))


class EngineMoment(EngineReader):
    """`Moment` by an engine."""

    async def last_change(self) -> int:
        """See `Store`."""
        return await self._engine.read(_last_change)


class EngineStore(EngineReader):
    """`Store` by an engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._writes = engine

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Moment]:
        """See `Store`."""
        async with self._engine.frozen() as engine:
            yield EngineMoment(engine)

    def campaign(self, name: str, idle: Callable[[], float]) -> Lease:
        """See `Store`."""
        return self._writes.campaign(name, idle)

    async def changes(self, after: int) -> list[Change] | None:
        """See `Store`."""
        return await self._writes.changes(after)

    async def wait_for_change(self, seconds: float) -> None:
        """See `Store`."""
        await self._writes.wait_for_change(seconds)

    async def save(self, runs: Sequence[PipelineRun]) -> Saved:
        """See `Store`."""
        return await self._writes.write(save_runs, runs) if runs else Saved()

    async def save_facts(self, facts: Sequence[Fact]) -> Saved:
        """See `Store`."""
        return await self._writes.write(save_facts, facts) if facts else Saved()

    async def prune(self, before: datetime) -> AsyncGenerator[Saved, None]:
        """See `Store`."""
        limit = to_ms(before)
        while part := await self._writes.write(pruning.drop_jobs, limit):
            yield part
        old = [number async for chunk in self._engine.load(pruning.find_old_outcomes, limit) for number in chunk]
        for chunk in _chunks(old):
            yield await self._writes.write(pruning.drop_outcomes, limit, chunk)
        for chunk in _chunks(await self._engine.read(pruning.find_old_runs, limit)):
            yield await self._writes.write(pruning.drop_runs, limit, chunk)
        async for part in self._prune_facts(limit):
            yield part
        await self._writes.write(pruning.drop_history, limit)
        async for part in self._sweep_streams(limit):
            yield part

    async def _sweep_streams(self, limit: int) -> AsyncGenerator[Saved, None]:
        if not await self._engine.read(pruning.is_sweep_due, limit):
            return
        unused = [number async for chunk in self._engine.load(pruning.find_unused_streams) for number in chunk]
        for chunk in _chunks(unused):
            yield await self._writes.write(pruning.drop_streams, chunk)
        await self._writes.write(pruning.note_sweep, limit)

    async def _prune_facts(self, limit: int) -> AsyncGenerator[Saved, None]:
        any_gone = False
        while (part := await self._writes.write(_drop_facts, limit)).facts:
            any_gone = True
            yield part
        await self._writes.write(fact_pruning.sweep_sets)
        if any_gone:
            for origin, kind in await self._engine.read(fact_pruning.find_named):
                await self._writes.write(fact_pruning.sweep_names, origin, kind)

    async def accept_hooks(self, events: Sequence[HookEvent]) -> list[bool]:
        """See `Store`."""
        return await self._writes.write(hooks.accept_hooks, events, topic=Topic.HOOKS, by_all=True)

    async def waiting_hooks(self, limit: int) -> list[HookEvent]:
        """See `Store`."""
        return await self._engine.read(hooks.waiting_hooks, limit)

    async def hooks_of_runs(self, runs: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], list[HookEvent]]:
        """See `Store`."""
        return await self._engine.read(hooks.hooks_of_runs, runs)

    async def end_hooks(self, ids: Sequence[int], *, keep: bool) -> None:
        """See `Store`."""
        await self._writes.write(hooks.end_hooks, ids, keep)

    async def drop_old_hooks(self, before: datetime) -> None:
        """See `Store`."""
        await self._writes.write(hooks.drop_old_hooks, to_ms(before))

    async def save_project(self, project: Project) -> None:
        """See `Store`."""
        await self._writes.write(_run_all, [("put_project", [project_row(project)])], topic=Topic.PROJECTS)

    async def forget_projects(self, keys: Sequence[tuple[str, str]]) -> Saved:
        """See `Store`."""
        return await self._writes.write(_forget_projects, keys, topic=Topic.PROJECTS)

    async def save_alerts(
        self, alerts: Sequence[Alert], *, dropped: Sequence[str] = (), transitions: Sequence[Transition] = ()
    ) -> None:
        """See `Store`."""
        steps: list[Step] = [
            ("drop_alert", [(key,) for key in dropped]),
            ("put_alert", await _made(alert_row, alerts)),
            ("add_transition", await _made(transition_row, transitions)),
        ]
        await self._writes.write(_run_all, steps, topic=Topic.ALERTS)

    async def save_log(self, entries: Sequence[LogEntry], *, tellings: Sequence[Telling] = ()) -> None:
        """See `Store`."""
        steps: list[Step] = [
            ("put_notification", await _made(log_row, entries)),
            ("add_telling", [telling_row(told) for told in tellings]),
        ]
        await self._writes.write(_run_all, steps, topic=Topic.LOG)

    async def drop_log(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """See `Store`."""
        await self._writes.write(_run_all, [("drop_notification", keys)], topic=Topic.LOG)

    async def save_silences(self, silences: Sequence[Silence], *, dropped: Sequence[str] = ()) -> None:
        """See `Store`."""
        steps: list[Step] = [
            ("drop_silence", [(id,) for id in dropped]),
            ("put_silence", [silence_row(silence) for silence in silences]),
        ]
        await self._writes.write(_run_all, steps, topic=Topic.SILENCES, by_all=True)

    async def ping(self) -> None:
        """See `Store`."""
        await self._writes.write(_touch, by_all=True)


async def _made(make: Callable[[_Item], _Made], items: Sequence[_Item]) -> list[_Made]:
    """What is made of rows, or the rows of what is to be written; many beside the event loop, which they would hold."""
    if len(items) <= _MANY:
        return list(map(make, items))
    return await asyncio.to_thread(lambda: list(map(make, items)))


def _run_all(con: Connection, steps: Sequence[Step]) -> None:
    for query, rows in steps:
        con.executemany(QUERIES[query], rows)


def _drop_facts(con: Connection, before: int) -> Saved:
    return Saved(facts=fact_pruning.drop_facts(con, before))


def _forget_projects(con: Connection, keys: Sequence[tuple[str, str]]) -> Saved:
    paths = [row for key in keys for row in con.execute(QUERIES["paths_of_projects"], key)]
    con.executemany(QUERIES["drop_project"], keys)
    return Saved(facts=tuple(fact_pruning.drop_schedules(con, paths)))


def _last_change(con: Connection) -> int:
    return int(con.execute(QUERIES["last_change"]).fetchone()[0])


def _fetch(con: Connection, query: str, args: Sequence[Any]) -> list[Sequence[Any]]:
    return con.execute(QUERIES[query], args).fetchall()


def _touch(con: Connection) -> None:
    """A write that changes nothing that anyone reads."""
    con.execute(QUERIES["put_note"], ("ping", 0))


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + pruning.CHUNK] for start in range(0, len(numbers), pruning.CHUNK))
