"""Looks at every project of every source in its turn, and hands what it finds to the store.

Settings and a store come in, recorded facts go out. Each look is one flow run by `http.drive`; what it read before
it failed is kept, and how far each project has been read is stored with the facts, so that a restart misses and
repeats nothing. One project's trouble is its own: it is counted, told once and tried again later, and the others
go on.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from yarl import URL

from k2alert.collect.answers import one_line
from k2alert.collect.budget import Budget
from k2alert.collect.discovery import AGAIN, EVERY, Found, chosen, is_excluded
from k2alert.collect.flow import Answer, Ask, Batch, Failure, Forge, Look, Request, Response
from k2alert.collect.http import Client, Limits, Stats, Time, drive
from k2alert.collect.schedule import (
    first_look,
    known_since,
    needs_backfill,
    next_look,
    read_since,
    settle,
    settle_failure,
    sweep_due,
)
from k2alert.collect.settings import SourceSettings
from k2alert.model import Fact, Kind, KnownRun, PipelineRun, Project, Saved
from k2alert.times import EPOCH

__all__ = ["CannotRecord", "Collector", "SourceStats", "Store"]

_LOG = logging.getLogger(__name__)
_LONGEST_REST = 60.0  # seconds; a clock may be set meanwhile, and nobody tells
_MOST_LOOKS = 4  # at once at one source: enough to hide the network, few enough for any forge


async def _nothing() -> None:
    """What happens where nobody needs to hear."""


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


@dataclass(frozen=True, slots=True)
class SourceStats:
    """One source in numbers: what was asked of it, when it last gave a usable answer, how many looks met a bug."""

    asked: Stats
    last_success: datetime | None
    bugs: int


@dataclass(slots=True)
class _Place:
    """A project's place in the timetable of its source."""

    due: datetime
    busy: bool = False
    gone: bool = False  # it is read no more, as soon as the look that goes on has ended
    told: str = ""  # why it fails, as last logged
    bookmarks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Source:
    """One source at work."""

    settings: SourceSettings
    forge: Forge
    client: Client
    places: dict[str, _Place]
    open: bool = True  # False: its last looks are being ended
    memory: Mapping[str, Any] = field(default_factory=dict)
    discover_at: datetime | None = None  # when its groups are read next; None: it has none, or they are being read
    unlisted: tuple[Project, ...] = ()  # its groups, as projects that cannot be read, until they were listed once
    told: str = ""  # why its groups cannot be read, as last logged
    limited_until: datetime = EPOCH  # until then its forge's limit is known to be reached, and was told
    bugs: int = 0
    traced: set[str] = field(default_factory=set)  # where the bugs were that have been logged with their trace

    @property
    def name(self) -> str:
        return self.settings.name

    def next_due(self) -> datetime | None:
        """When the next look may start, or the groups are read again; None while neither can, until one ends."""
        looks = [place.due for place in self._idle().values()] if self._free() else []
        return min([*looks, *([self.discover_at] if self.open and self.discover_at else [])], default=None)

    def due(self, now: datetime) -> list[str]:
        """The projects to look at now, the longest due first."""
        idle = self._idle()
        ready = sorted((key for key in idle if idle[key].due <= now), key=lambda key: idle[key].due)
        return ready[: self._free()]

    def _idle(self) -> dict[str, _Place]:
        return {key: place for key, place in self.places.items() if not place.busy}

    def _free(self) -> int:
        return max(0, _MOST_LOOKS - sum(place.busy for place in self.places.values())) if self.open else 0


class Collector:
    """Reads all projects of all sources, over and over.

    `load` comes first (`run` does it), `close` last. `depth` is how far back history is needed where a source does not
    say; `wants` are the kinds of facts that rules need; `on_saved` hears what each batch changed in the store, in the
    store's order; `on_progress` hears of backfills: the project, runs done, runs in all (None: not known), at the end
    with both equal. `on_projects` is called when groups have been read: projects may have come or gone.
    """

    def __init__(
        self,
        sources: Iterable[SourceSettings],
        *,
        forges: Mapping[str, Forge],
        store: Store,
        time: Time,
        depth: Callable[[], timedelta],
        version: str,
        wants: Callable[[], frozenset[Kind]] = frozenset,
        on_saved: Callable[[Saved], None],
        on_progress: Callable[[Project, int, int | None], None] = lambda project, done, total: None,
        on_projects: Callable[[], Awaitable[None]] = _nothing,
        limits: Limits | None = None,
    ) -> None:
        self._wanted = tuple(sources)
        self._forges = forges
        self._store = store
        self._time = time
        self._depth = depth
        self._version = version
        self._wants = wants
        self._on_saved = on_saved
        self._on_progress = on_progress
        self._on_projects = on_projects
        self._limits = limits
        self._budgets: dict[tuple[str, str], Budget] = {}  # by whom the forge counts together
        self._sources: dict[str, _Source] = {}
        self._projects: dict[tuple[str, str], Project] = {}  # as stored; those no longer configured too
        self._looks: dict[asyncio.Task[None], _Source] = {}  # the looks going on
        self._changed = asyncio.Event()
        self._latest = EPOCH  # the latest time seen: a clock set back shows by it
        self._saving = asyncio.Lock()

    # ------------------------------------------------------------------------------------------- life

    async def load(self) -> None:
        """Takes up from the store how far each project has been read."""
        stored = await self._store.projects()
        self._projects.update({(project.source, project.key): project for project in stored})
        await self.reconfigure(self._wanted)

    async def run(self) -> None:
        """Looks at each project when it is due, until cancelled; then ends the looks going on and closes."""
        try:
            await self.load()
            while True:
                self._start_due()
                await self._rest()
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the looks going on, what they are recording included, and closes the connections."""
        await self._stop(self._sources.values())

    async def reconfigure(self, sources: Iterable[SourceSettings]) -> None:
        """From now on these sources. Those that are as before go on undisturbed, all projects where they were."""
        self._wanted = tuple(sources)
        wanted = {settings.name: settings for settings in self._wanted}
        await self._stop([source for name, source in self._sources.items() if source.settings != wanted.get(name)])
        # In one step: whoever asks meanwhile must not find a project gone that is only being reconfigured.
        going_on = {name: source for name, source in self._sources.items() if source.open}
        self._sources = {name: going_on.get(name) or self._make_source(wanted[name]) for name in wanted}
        self._changed.set()

    async def _stop(self, sources: Iterable[_Source]) -> None:
        stopped = list(sources)
        for source in stopped:
            source.open = False
        await _end([task for task, source in self._looks.items() if not source.open])
        for source in stopped:
            await source.client.close()

    def _make_source(self, settings: SourceSettings) -> _Source:
        forge = self._forges[settings.type]
        budget = self._budgets.setdefault(_counted_as(settings, forge), Budget())
        client = Client(settings, forge, time=self._time, version=self._version, limits=self._limits, budget=budget)
        keys = [str(key) for key in settings.projects if not is_excluded(str(key), settings)]
        if settings.groups:  # what they held when last read; they are read again at once
            stored = [project for (name, _), project in self._projects.items() if name == settings.name]
            keys += [project.key for project in stored if not is_excluded(project.path, settings)]
        now = self._time.now()
        source = _Source(settings, forge, client, {}, discover_at=now if settings.groups else None)
        self._add_places(source, {key: key for key in keys})
        if not source.places:
            groups = [f"{group}/*" for group in settings.groups]
            source.unlisted = tuple(
                Project(source=settings.name, key=key, path=key, first_seen_at=now) for key in groups
            )
        return source

    def _add_places(self, source: _Source, paths: Mapping[str, str]) -> None:
        """Gives the projects that are new a place in the timetable, one soon after the other; `paths` are by key."""
        now, settings = self._time.now(), source.settings
        new = [key for key in paths if key not in source.places]
        for position, key in enumerate(new):
            unread = Project(source=settings.name, key=key, path=paths[key], first_seen_at=now)
            self._projects.setdefault((settings.name, key), unread)
            due = first_look(position=position, projects=len(new), poll_interval=settings.poll_interval, now=now)
            source.places[key] = _Place(due)

    # ------------------------------------------------------------------------------------------- groups

    async def _discover(self, source: _Source) -> None:
        """Reads the source's groups; whatever happens, they are read again."""
        try:
            await self._read_groups(source)
        except Exception:
            source.bugs += 1
            source.discover_at = self._time.now() + AGAIN
            _LOG.exception("reading the groups of source %s failed", source.name)

    async def _read_groups(self, source: _Source) -> None:
        """What could not be read keeps its projects."""
        found: dict[str, Found] = {}
        failure: Failure | None = None
        for group in source.settings.groups:
            listed = await self._list(source, str(group))
            if isinstance(listed, Failure):
                failure = failure or listed
            else:
                found.update(chosen(source.settings, listed))
        self._tell_groups(source, failure)
        source.unlisted = tuple(
            replace(group, failure=failure.reason if failure is not None else "") for group in source.unlisted
        )
        if failure is None:
            source.unlisted = ()
        if source.open:
            self._take_found(source, found, everything=failure is None)
            source.discover_at = self._time.now() + (EVERY if failure is None else AGAIN)
            await self._on_projects()

    async def _list(self, source: _Source, group: str) -> tuple[Found, ...] | Failure:
        listing = source.forge.list_projects
        if listing is None:
            return ()
        flow, answer = listing(group), None
        try:
            while True:
                answer = await source.client.ask(next(flow) if answer is None else flow.send(answer))
        except StopIteration as end:
            found: tuple[Found, ...] | Failure = end.value
            return found

    def _take_found(self, source: _Source, found: Mapping[str, Found], *, everything: bool) -> None:
        """From now on these projects; those that are gone are let go of where `everything` was listed."""
        self._add_places(source, {key: one.path for key, one in found.items()})
        named = {str(key) for key in source.settings.projects}
        for key, place in list(source.places.items()):
            place.gone = key not in named and (everything or place.gone) and key not in found
            if place.gone and not place.busy:
                del source.places[key]
        self._changed.set()

    def _tell_groups(self, source: _Source, failure: Failure | None) -> None:
        reason = failure.reason if failure is not None else ""
        if failure is not None and source.told != reason:
            _LOG.warning("the groups of source %s cannot be read: %s", source.name, failure.detail)
        if failure is None and source.told:
            _LOG.info("the groups of source %s can be read again", source.name)
        source.told = reason

    # ------------------------------------------------------------------------------------------- what is known

    def project_states(self) -> list[Project]:
        """Every project that is read, and how far it has been; a group that could never be listed counts as one."""
        read = [
            self._projects[name, key]
            for name, source in self._sources.items()
            for key, place in source.places.items()
            if not place.gone
        ]
        return read + [group for source in self._sources.values() for group in source.unlisted]

    def memory(self, source: str) -> Mapping[str, Any]:
        """What the last look at a source left for the next."""
        found = self._sources.get(source)
        return found.memory if found is not None else {}

    def look_soon(self, source: str, key: str) -> None:
        """Has a project looked at in its next turn, for it is known to have changed."""
        found = self._sources.get(source)
        if found is not None and key in found.places:
            found.places[key].due = self._time.now()
            self._changed.set()

    def stats(self) -> dict[str, SourceStats]:
        """Every source in numbers, by name."""
        return {name: self._stats_of(source) for name, source in self._sources.items()}

    def _stats_of(self, source: _Source) -> SourceStats:
        heard = [self._projects[source.name, key].success_at for key in source.places]
        last = max((at for at in heard if at is not None), default=None)
        return SourceStats(source.client.stats(), last, source.bugs)

    # ------------------------------------------------------------------------------------------- the timetable

    def _start_due(self) -> None:
        self._changed.clear()
        now = self._time.now()
        if now < self._latest:  # what was due by the clock as it was would wait for as long as it was ahead
            for place in (place for source in self._sources.values() for place in source.places.values()):
                place.due = min(place.due, now)
        self._latest = now
        for source in self._sources.values():
            if source.discover_at is not None and source.discover_at <= now:
                source.discover_at = None
                self._begin(source, self._discover(source), f"read the groups of {source.name}")
            for key in source.due(now):
                source.places[key].busy = True
                self._begin(source, self._visit(source, key), f"look at {key} of {source.name}")

    def _begin(self, source: _Source, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._looks[task] = source
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._looks[task]
        self._changed.set()

    async def _rest(self) -> None:
        """Until the next project is due, a look ends or the sources change, whichever comes first."""
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._changed.wait(), name="a look ends or the sources change")
        ]
        dues = [due for source in self._sources.values() if (due := source.next_due()) is not None]
        if dues:
            seconds = max(0.0, min((min(dues) - self._time.now()).total_seconds(), _LONGEST_REST))
            waits.append(asyncio.create_task(_sleep(self._time, seconds), name="the next look is due"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(waits)

    async def _visit(self, source: _Source, key: str) -> None:
        """One look in its turn; whatever happens, it ends with the project's next turn."""
        place = source.places[key]
        started = self._time.now()
        retry_after = None
        try:
            look = await self.look(source.name, key)
            retry_after = look.failure.retry_after if look.failure else None
        except CannotRecord:
            retry_after = None  # whoever looks after the store says so; the look is made again in its turn
        except Exception as error:
            self._note_bug(source, key, error)
        finally:
            place.busy = False
            if place.gone:
                source.places.pop(key, None)
        place.due = next_look(
            started=started,
            now=self._time.now(),
            poll_interval=source.settings.poll_interval,
            failures=self._projects[source.name, key].failures,
            retry_after=retry_after,
        )

    # ------------------------------------------------------------------------------------------- one look

    async def look(self, source_name: str, key: str) -> Look:
        """One look at one configured project, recorded as it goes; its failure is a value, a bug raises."""
        source = self._sources[source_name]
        started = self._time.now()
        ask = await self._make_ask(source, self._projects[source_name, key], started)
        done = 0

        async def record(batch: Batch) -> None:
            nonlocal done
            await self._record(batch)
            done = batch.done
            if ask.first:
                self._on_progress(self._projects[source_name, key], done, batch.total)

        look = await drive(source.forge.look(ask), lambda request: self._ask(source, key, request), record)
        source.memory = look.memory
        await self._settle(source, ask, look)
        source.places[key].bookmarks = look.bookmarks  # only now: what they say was read is recorded
        if ask.first and look.failure is None:
            self._on_progress(self._projects[source_name, key], done, done)
        return look

    async def _make_ask(self, source: _Source, project: Project, now: datetime) -> Ask:
        depth = self._depth() if source.settings.backfill is None else source.settings.backfill
        since = read_since(project, depth=depth, now=now)
        first = needs_backfill(project, depth=depth, now=now)
        sweep = source.settings.type == "github" and (first or sweep_due(project, now=now))
        known = await self._store.known_runs(project.source, project.path, known_since(since, sweep=sweep, now=now))
        return Ask(
            project,
            since,
            now,
            known,
            first=first,
            sweep=sweep,
            wants=self._wants(),
            memory=source.memory,
            bookmarks=source.places[project.key].bookmarks,
        )

    async def _ask(self, source: _Source, key: str, request: Request) -> Answer:
        answer = await source.client.ask(request)
        if isinstance(answer, Response):
            project = self._projects[source.name, key]
            self._projects[source.name, key] = replace(project, success_at=self._time.now())
        return answer

    async def _record(self, batch: Batch) -> None:
        """Records, and tells what that changed; both or neither, for who hears of it must agree with the store."""
        keeping = asyncio.create_task(self._keep(batch), name="record a batch")
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait([keeping])
            raise

    async def _keep(self, batch: Batch) -> None:
        async with self._saving:  # one after the other: a stream must be heard of before what is in it
            if batch.runs:
                self._on_saved(await self._store.save(batch.runs))
            if batch.facts:
                self._on_saved(await self._store.save_facts(batch.facts))

    async def _settle(self, source: _Source, ask: Ask, look: Look) -> None:
        """Stores how far the project has been read now."""
        identity = source.name, ask.project.key
        failure = look.failure and replace(look.failure, detail=one_line(look.failure.detail))
        project = settle(
            self._projects[identity],
            replace(look, failure=failure),
            since=ask.since,
            started=ask.now,
            ended=self._time.now(),
        )
        await self._store.save_project(project)
        self._projects[identity] = project
        self._tell(source, ask.project, failure)

    # ------------------------------------------------------------------------------------------- what is told

    def _tell(self, source: _Source, before: Project, failure: Failure | None) -> None:
        """Logs that a project fails, once for each reason, and that it is well again."""
        place = source.places[before.key]
        where = {"source": source.name, "project": before.key}
        if failure is not None and failure.reason == "rate_limited":
            self._tell_limit(source, failure)
        elif failure is None:
            if before.failures and place.told:
                _LOG.info("project %s of source %s can be read again", before.key, source.name, extra=where)
            place.told = ""
        elif place.told != failure.reason:
            _LOG.warning(
                "project %s of source %s cannot be read: %s",
                before.key,
                source.name,
                failure.detail,
                extra={**where, "reason": failure.reason},
            )
            place.told = failure.reason

    def _tell_limit(self, source: _Source, failure: Failure) -> None:
        """Logs that the forge's limit is reached: one line for all projects of the source, as long as it lasts."""
        now = self._time.now()
        if source.limited_until <= now:
            extra = {"source": source.name, "reason": failure.reason}
            _LOG.warning("source %s must wait: %s", source.name, failure.detail, extra=extra)
        source.limited_until = max(source.limited_until, now + (failure.retry_after or timedelta()))

    def _note_bug(self, source: _Source, key: str, error: Exception) -> None:
        """Counts a look that met a bug, and logs it, the first at each place in the code with its trace."""
        source.bugs += 1
        frame = traceback.extract_tb(error.__traceback__)[-1]
        bug = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        identity = source.name, key
        self._projects[identity] = settle_failure(self._projects[identity], Failure("client", f"bug: {bug}"))
        if source.places[key].told == bug:
            return
        source.places[key].told = bug
        extra = {"source": source.name, "project": key, "reason": "bug"}
        trace = None if bug in source.traced else error
        source.traced.add(bug)
        _LOG.error("looking at project %s of source %s failed: %s", key, source.name, bug, extra=extra, exc_info=trace)


def _counted_as(settings: SourceSettings, forge: Forge) -> tuple[str, str]:
    """Whose requests the forge counts together: those of one token, or App installation, at one host."""
    host = URL(settings.url or forge.default_url).host or ""
    if settings.app is not None:
        return host, f"app {settings.app.id} {settings.app.installation_id}"
    return host, settings.token.get_secret_value().strip() if settings.token else ""


async def _sleep(time: Time, seconds: float) -> None:
    await time.sleep(seconds)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels these tasks and waits until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
