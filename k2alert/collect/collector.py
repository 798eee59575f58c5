"""Looks at every project of every source in its turn, and hands what it finds to the store.

Settings and a store come in, recorded facts go out. Each look is one flow run by `http.drive`; what it read before
it failed is kept, and how far each project has been read is stored with the facts, so that a restart misses and
repeats nothing. One project's trouble is its own: it is counted, told once and tried again later, and the others
go on.
"""

import asyncio
import logging
from collections import ChainMap
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from yarl import URL

from k2alert.collect.budget import Budget
from k2alert.collect.discovery import AGAIN, EVERY, Found, chosen, is_excluded
from k2alert.collect.flow import Failure, Forge, Look
from k2alert.collect.github_reading import tag_key
from k2alert.collect.http import Client, Limits, Stats, Time
from k2alert.collect.looking import CannotRecord, Looker, Store
from k2alert.collect.schedule import first_look, next_look, settle_failure
from k2alert.collect.settings import SourceSettings
from k2alert.collect.timetable import Place, Source
from k2alert.collect.troubles import name_bug, tell_bug, tell_groups
from k2alert.model import Kind, Project, Saved
from k2alert.times import EPOCH

__all__ = ["CannotRecord", "Collector", "SourceStats", "Store"]

_LOG = logging.getLogger(__name__)
_MOST_REFS = 5000  # names of branches and tags that webhooks told of, for each source
_LONGEST_REST = 60.0  # seconds; a clock may be set meanwhile, and nobody tells


async def _nothing() -> None:
    """What happens where nobody needs to hear."""


@dataclass(frozen=True, slots=True)
class SourceStats:
    """One source in numbers: what was asked of it, when it last gave a usable answer, how many looks met a bug.

    `refused` are report files that were not read, by reason. Everything before `complete_until` is recorded of every
    project that was ever read whole.
    """

    asked: Stats
    last_success: datetime | None
    bugs: int
    refused: Mapping[str, int] = field(default_factory=dict)
    complete_until: datetime | None = None


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
        self._wants = wants
        self._looker = Looker(store, time, depth, wants, on_saved, on_progress)
        self._projects = self._looker.projects  # as stored; those no longer configured too
        self._store = store
        self._time = time
        self._version = version
        self._on_projects = on_projects
        self._limits = limits
        self._budgets: dict[tuple[str, str], Budget] = {}  # by whom the forge counts together
        self._sources: dict[str, Source] = {}
        self._looks: dict[asyncio.Task[None], Source] = {}  # the looks going on
        self._changed = asyncio.Event()
        self._latest = EPOCH  # the latest time seen: a clock set back shows by it

    # ------------------------------------------------------------------------------------------- life

    async def load(self) -> None:
        """Takes up from the store how far each project has been read."""
        stored = await self._store.projects()
        self._projects.update({(project.source, project.key): project for project in stored})
        await self.reconfigure(self._wanted)

    async def follow(self) -> None:
        """Takes up anew which projects there are and how far they have been read: by others, while this one rests."""
        stored = await self._store.projects()
        await self.close()
        self._projects.clear()
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

    async def _stop(self, sources: Iterable[Source]) -> None:
        stopped = list(sources)
        for source in stopped:
            source.open = False
        await _end([task for task, source in self._looks.items() if not source.open])
        for source in stopped:
            await source.client.close()

    def _make_source(self, settings: SourceSettings) -> Source:
        forge = self._forges[settings.type]
        budget = self._budgets.setdefault(_counted_as(settings, forge), Budget())
        client = Client(settings, forge, time=self._time, version=self._version, limits=self._limits, budget=budget)
        keys = [str(key) for key in settings.projects if not is_excluded(str(key), settings)]
        if settings.groups:  # what they held when last read; they are read again at once
            stored = [project for (name, _), project in self._projects.items() if name == settings.name]
            keys += [project.key for project in stored if not is_excluded(project.path, settings)]
        now = self._time.now()
        source = Source(settings, forge, client, {}, discover_at=now if settings.groups else None)
        self._add_places(source, {key: key for key in keys})
        if not source.places:
            groups = [f"{group}/*" for group in settings.groups]
            source.unlisted = tuple(
                Project(source=settings.name, key=key, path=key, first_seen_at=now) for key in groups
            )
        return source

    def _add_places(self, source: Source, paths: Mapping[str, str]) -> None:
        """Gives the projects that are new a place in the timetable, one soon after the other; `paths` are by key."""
        now, settings = self._time.now(), source.settings
        new = [key for key in paths if key not in source.places]
        for position, key in enumerate(new):
            unread = Project(source=settings.name, key=key, path=paths[key], first_seen_at=now)
            self._projects.setdefault((settings.name, key), unread)
            due = first_look(position=position, projects=len(new), poll_interval=settings.poll_interval, now=now)
            source.places[key] = Place(due)

    # ------------------------------------------------------------------------------------------- groups

    async def _discover(self, source: Source) -> None:
        """Reads the source's groups; whatever happens, they are read again."""
        try:
            await self._read_groups(source)
        except Exception:
            source.bugs += 1
            source.discover_at = self._time.now() + AGAIN
            _LOG.exception("reading the groups of source %s failed", source.name)

    async def _read_groups(self, source: Source) -> None:
        """What could not be read keeps its projects."""
        found: dict[str, Found] = {}
        failure: Failure | None = None
        for group in source.settings.groups:
            listed = await self._list(source, str(group))
            if isinstance(listed, Failure):
                failure = failure or listed
            else:
                found.update(chosen(source.settings, listed))
        tell_groups(source, failure)
        source.unlisted = tuple(
            replace(group, failure=failure.reason if failure is not None else "") for group in source.unlisted
        )
        if failure is None:
            source.unlisted = ()
        if source.open:
            self._take_found(source, found, everything=failure is None)
            source.discover_at = self._time.now() + (EVERY if failure is None else AGAIN)
            await self._on_projects()

    async def _list(self, source: Source, group: str) -> tuple[Found, ...] | Failure:
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

    def _take_found(self, source: Source, found: Mapping[str, Found], *, everything: bool) -> None:
        """From now on these projects; those that are gone are let go of where `everything` was listed."""
        self._add_places(source, {key: one.path for key, one in found.items()})
        named = {str(key) for key in source.settings.projects}
        for key, place in list(source.places.items()):
            place.gone = key not in named and (everything or place.gone) and key not in found
            if place.gone and not place.busy:
                del source.places[key]
        self._changed.set()

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

    def tags(self, source: str) -> Mapping[str, bool]:
        """Which names are tags, by `tag_key`, as far as looks asked and webhooks told."""
        found = self._sources.get(source)
        return ChainMap(found.refs, found.memory.get("tags", {})) if found is not None else {}

    def note_ref(self, source: str, path: str, name: str, is_tag: bool) -> None:
        """A webhook told of a new branch or tag; a name that both have is left for a look."""
        found, key = self._sources.get(source), tag_key(path, name)
        if found is None:
            return
        if self.tags(source).get(key, is_tag) is is_tag:
            found.refs[key] = is_tag
        while len(found.refs) > _MOST_REFS:
            del found.refs[next(iter(found.refs))]

    def look_soon(self, source: str, key: str, kind: Kind = Kind.RUN) -> None:
        """Has a project looked at in its next turn, for such facts of it are known to have changed."""
        found = self._sources.get(source)
        if found is not None and key in found.places and (kind is Kind.RUN or kind in self._wants()):
            found.places[key].due = self._time.now()
            found.places[key].heard[kind] = self._time.now()
            self._changed.set()

    def stats(self) -> dict[str, SourceStats]:
        """Every source in numbers, by name."""
        return {name: self._stats_of(source) for name, source in self._sources.items()}

    def _stats_of(self, source: Source) -> SourceStats:
        heard = [self._projects[source.name, key].success_at for key in source.places]
        last = max((at for at in heard if at is not None), default=None)
        complete = [self._projects[source.name, key].complete_at for key in source.places]
        since = min((at for at in complete if at is not None), default=None)
        return SourceStats(source.client.stats(), last, source.bugs, dict(source.refused), since)

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
            for keys in source.turns(now, partial(self._looker.may_be_scanned, source)):
                self._begin(source, self._visit(source, keys), f"look at {', '.join(keys)} of {source.name}")
                source.start(keys)

    def _begin(self, source: Source, work: Coroutine[Any, Any, None], name: str) -> None:
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

    async def _visit(self, source: Source, keys: Sequence[str]) -> None:
        """A look at one project or a scan of several; whatever happens, it ends with the next turn of each."""
        started = self._time.now()
        looks: Mapping[str, Look] = {}
        left_out: Sequence[str] = ()
        try:
            looks = await self._look(source, keys)
            left_out = [key for key in keys if key not in looks]
        except CannotRecord:
            pass  # whoever looks after the store says so; the look is made again in its turn
        except Exception as error:
            left_out = keys if len(keys) > 1 else ()  # it may be one of them: each is looked at by itself
            self._note_bug(source, keys, error)
        finally:
            source.end(keys)
        for key in source.places.keys() & set(keys).difference(left_out):
            place, heard = source.places[key], max(source.places[key].heard.values(), default=started)
            place.due = self._time.now() if heard > started else self._next_look(source, key, looks.get(key), started)
        source.leave_out(left_out, self._time.now())

    async def _look(self, source: Source, keys: Sequence[str]) -> Mapping[str, Look]:
        if len(keys) > 1:
            return await self._looker.scan(source, keys)
        return {key: await self._looker.look(source, key) for key in keys}

    def _next_look(self, source: Source, key: str, look: Look | None, started: datetime) -> datetime:
        return next_look(
            started=started,
            now=self._time.now(),
            poll_interval=source.settings.poll_interval,
            failures=self._projects[source.name, key].failures,
            retry_after=look.failure.retry_after if look is not None and look.failure is not None else None,
            lively=source.places[key].lively and source.may_hurry,
        )

    def _note_bug(self, source: Source, keys: Sequence[str], error: Exception) -> None:
        source.bugs += 1
        if len(keys) == 1:
            identity, failure = (source.name, keys[0]), Failure("client", f"bug: {name_bug(error)}")
            self._projects[identity] = settle_failure(self._projects[identity], failure)
        tell_bug(source, keys, error)

    async def look(self, source: str, key: str) -> Look:
        """One look at one configured project, recorded as it goes; its failure is a value, a bug raises."""
        return await self._looker.look(self._sources[source], key)


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
