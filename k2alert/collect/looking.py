"""Looks at projects: runs a forge's flow, hands what it finds to the store, and stores how far it got."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from k2alert.collect.answers import one_line
from k2alert.collect.flow import Answer, Ask, Batch, Look, Request, Response
from k2alert.collect.http import Time, drive
from k2alert.collect.schedule import goes_on, known_since, needs_backfill, read_since, settle, sweep_due
from k2alert.collect.timetable import Source
from k2alert.collect.troubles import tell_look, tell_refusals
from k2alert.model import Fact, Kind, KnownRun, PipelineRun, Project, Saved

__all__ = ["CannotRecord", "Looker", "Store"]


class CannotRecord(Exception):
    """The store can't take facts now; nothing of the batch is kept. One clear line."""


class Store(Protocol):
    """What collecting needs of the store; each call is one whole transaction."""

    async def projects(self) -> list[Project]:
        """Every project ever read."""
        ...

    async def save_project(self, project: Project) -> None:
        """Keeps a project as it is now; source and key tell projects apart."""
        ...

    async def known_runs(self, source: str, project: str, since: datetime) -> dict[str, KnownRun]:
        """Runs of a project seen since then or still open, by the forge's id."""
        ...

    async def save(self, runs: Sequence[PipelineRun]) -> Saved:
        """Records what a look says of runs; saying it again changes nothing. Raises `CannotRecord`."""
        ...

    async def save_facts(self, facts: Sequence[Fact]) -> Saved:
        """The same for reports, deployments and schedules, once their runs are recorded."""
        ...


@dataclass(slots=True)
class Looker:
    """Looks, and what they need of the rest of the house: see `Collector`, which says what each part is.

    `projects` are all projects as stored, by source and key; a look changes those that it is of.
    """

    store: Store
    time: Time
    depth: Callable[[], timedelta]
    wants: Callable[[], frozenset[Kind]]
    on_saved: Callable[[Saved], None]
    on_progress: Callable[[Project, int, int | None], None]
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self, source: Source, key: str) -> Look:
        """One look at one project, recorded as it goes; its failure is a value, a bug raises."""
        started = self.time.now()
        ask = await self._make_ask(source, self.projects[source.name, key], started)
        done = 0

        async def record(batch: Batch) -> None:
            nonlocal done
            await self._record(batch)
            tell_refusals(source, key, batch.refusals)
            done = batch.done
            if ask.first:
                self.on_progress(self.projects[source.name, key], done, batch.total)

        look = await drive(source.forge.look(ask), lambda request: self._ask(source, key, request), record)
        source.memory = _learned(source.memory, ask.memory, look.memory)
        await self._settle(source, ask, look)
        if ask.first and look.failure is None:
            self.on_progress(self.projects[source.name, key], done, done)
        return look

    async def scan(self, source: Source, keys: Sequence[str]) -> Mapping[str, Look]:
        """One scan of several projects, recorded as it goes: the looks that it made, by key."""
        if source.forge.scan is None:
            return {}
        started = self.time.now()
        made = [await self._make_ask(source, self.projects[source.name, key], started) for key in keys]
        memory = source.memory
        asks = [replace(ask, memory=memory) for ask in made]
        ended = await drive(source.forge.scan(asks), source.client.ask, self._record)
        source.memory = _learned(source.memory, memory, ended.memory)
        for ask in asks:
            if (look := ended.looks.get(ask.project.key)) is not None:
                await self._settle(source, ask, look)
        return ended.looks

    def may_be_scanned(self, source: Source, key: str) -> bool:
        """Whether a project can be read along with others: it has been read before, as far back as it must be."""
        project = self.projects[source.name, key]
        return not needs_backfill(project, depth=self._depth_of(source), now=self.time.now())

    def _depth_of(self, source: Source) -> timedelta:
        return self.depth() if source.settings.backfill is None else source.settings.backfill

    async def _make_ask(self, source: Source, project: Project, now: datetime) -> Ask:
        depth = self._depth_of(source)
        since = read_since(project, depth=depth, now=now)
        first = needs_backfill(project, depth=depth, now=now)
        sweep = source.settings.type == "github" and (first or sweep_due(project, now=now))
        known = await self.store.known_runs(project.source, project.path, known_since(since, sweep=sweep, now=now))
        source.places[project.key].lively = goes_on(known.values(), now=now)
        return Ask(
            project,
            since,
            now,
            known,
            first=first,
            sweep=sweep,
            wants=self.wants(),
            memory=source.memory,
            bookmarks=source.places[project.key].bookmarks,
            reports=source.settings.reports,
            heard=frozenset(source.places[project.key].heard),
        )

    async def _ask(self, source: Source, key: str, request: Request) -> Answer:
        answer = await source.client.ask(request)
        if isinstance(answer, Response):
            project = self.projects[source.name, key]
            self.projects[source.name, key] = replace(project, success_at=self.time.now())
        return answer

    async def _record(self, batch: Batch) -> None:
        """Records, and tells what that changed; both or neither, for who hears of it must agree with the store."""
        keeping = asyncio.create_task(self._keep(batch), name="record a batch")
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait([keeping])
            if not keeping.cancelled():
                keeping.exception()  # which nobody waits for any more, so that it is no task that failed unseen
            raise

    async def _keep(self, batch: Batch) -> None:
        async with self._saving:  # one after the other: a stream must be heard of before what is in it
            if batch.runs:
                self.on_saved(await self.store.save(batch.runs))
            if batch.facts:
                self.on_saved(await self.store.save_facts(batch.facts))

    async def _settle(self, source: Source, ask: Ask, look: Look) -> None:
        """Stores how far the project has been read now."""
        identity = source.name, ask.project.key
        failure = look.failure and replace(look.failure, detail=one_line(look.failure.detail))
        project = settle(
            self.projects[identity],
            replace(look, failure=failure),
            since=ask.since,
            started=ask.now - source.client.ahead,  # what is new is dated by the forge's clock
            ended=self.time.now(),
        )
        await self.store.save_project(project)
        self.projects[identity] = project
        place = source.places[ask.project.key]
        place.bookmarks = look.bookmarks  # only now: what they say was read is recorded
        if failure is None:
            place.heard = {kind: at for kind, at in place.heard.items() if at > ask.now}
        tell_look(source, ask.project, failure, now=self.time.now())


def _learned(memory: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    """A source's memory with what one look changed in it: others may have learned something meanwhile."""
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    gone = before.keys() - after.keys()
    return {**{key: value for key, value in memory.items() if key not in gone}, **changed}
