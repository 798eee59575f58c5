"""Webhooks in: verified, kept, and made into facts.

What a forge posts comes in, with an answer for it at once; facts go out to the store, like those of looks. An accepted
webhook is on disk before it is answered, many of them in one transaction, so a crash loses none; facts are made of it
afterwards, in the order in which they came. Whatever one holds, it is read once: looks at the forge find what it did
not say.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from k2alert.collect.flow import Forge
from k2alert.collect.hooks import Hooks, Known, read_body
from k2alert.collect.http import Time
from k2alert.collect.settings import SourceSettings
from k2alert.model import HookEvent, Kind, PipelineRun, Project
from k2alert.record.store import NotLeader, Store, StoreError

__all__ = ["Answer", "Inbox", "Outcome", "Surroundings"]

_LOG = logging.getLogger(__name__)

_AT_ONCE = 500  # events made into facts in one go: a burst is few transactions, and nobody waits long behind one
_IN_ONE_GO = 10  # runs: some milliseconds, in which nobody is answered
_AGAIN = timedelta(seconds=1)  # until a store that is down is asked again
KEEP = timedelta(days=3)
"""How long a webhook is known again: both forges let people send one again for two or three days."""


class Outcome(StrEnum):
    """What became of a webhook."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"  # of a kind, or a project, that is not read
    REFUSED = "refused"  # not what a forge sends
    BUG = "bug"


class Answer(NamedTuple):
    """What the sender hears: an HTTP status, and why where it is an error."""

    status: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the inbox asks of the rest of the daemon.

    `projects` are those that are read, None while that is not known yet. `tags(source)` says which names are tags, as
    far as it is known; `note_ref(source, path, name, is_tag)` adds one. `look_soon(source, key, kind)` has a project
    looked at, for such facts of it are known to have changed. `count(source, outcome, now)` hears of each webhook.
    """

    sources: Callable[[], Sequence[SourceSettings]]
    projects: Callable[[], Sequence[Project] | None]
    tags: Callable[[str], Mapping[str, bool]]
    note_ref: Callable[[str, str, str, bool], None]
    record: Callable[[Sequence[PipelineRun]], Awaitable[Any]]
    look_soon: Callable[[str, str, Kind], None]
    count: Callable[[str, Outcome, datetime], None]


class Inbox:
    """Takes webhooks (`receive`), and makes facts of them (`keep` and `digest`, which run for ever)."""

    def __init__(self, *, forges: Mapping[str, Forge], store: Store, time: Time, around: Surroundings) -> None:
        self._forges = forges
        self._store = store
        self._time = time
        self._around = around
        self._queue: list[tuple[HookEvent, asyncio.Future[bool]]] = []
        self._arrived = asyncio.Event()
        self._kept = asyncio.Event()
        self._kept.set()  # the last process may have left some

    # --------------------------------------------------------------------------------------- taking

    async def receive(self, kind: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One webhook for the sources of a kind, or for the one with this name; answered once it is on disk."""
        hooks = self._hooks(kind)
        sources = [source for source in self._around.sources() if source.type == kind and source.webhook_secret]
        sources = [source for source in sources if name in ("", source.name)]
        if hooks is None or not sources:
            return Answer(404, "no source has a webhook_secret for this")
        now = self._time.now()
        source = _sender(hooks, sources, headers, body, now)
        if source is None:
            return Answer(401, "not signed with the webhook_secret of a source")
        try:
            data = read_body(headers, body)
        except ValueError:
            self._around.count(source.name, Outcome.REFUSED, now)
            return Answer(400, "the body is not JSON")
        return await self._take(hooks, source.name, headers, body, data, now)

    async def _take(
        self, hooks: Hooks, source: str, headers: Mapping[str, str], body: bytes, data: Any, now: datetime
    ) -> Answer:
        told = hooks.event(headers, data)
        if told is None or not self._may_be_read(source, told[0], told[2]):
            self._around.count(source, Outcome.IGNORED, now)
            return Answer(200)
        project, run, kept = told
        event = HookEvent(
            source=source,
            delivery=hooks.delivery(headers, body),
            project=project,
            run=run,
            received_at=now,
            body=kept,
        )
        try:
            new = await self._keep_one(event)
        except StoreError:
            return Answer(503, "the store is down")
        self._around.count(source, Outcome.ACCEPTED if new else Outcome.DUPLICATE, now)
        return Answer(200)

    def _hooks(self, kind: str) -> Hooks | None:
        forge = self._forges.get(kind)
        return forge.hooks if forge is not None else None

    def _may_be_read(self, source: str, forge_id: str, body: Mapping[str, Any]) -> bool:
        return self._around.projects() is None or self._project(source, forge_id, body) is not None

    def _project(self, source: str, forge_id: str, body: Mapping[str, Any]) -> Project | None:
        """The configured project that an event is of: by the forge's id, for a path may have changed since."""
        mine = [project for project in self._around.projects() or () if project.source == source]
        by_id = next((project for project in mine if forge_id in (project.forge_id, project.key)), None)
        if by_id is not None:
            return by_id
        path = str(body.get("path", "")).lower()
        return next((one for one in mine if not one.forge_id and path in (one.path.lower(), one.key.lower())), None)

    async def _keep_one(self, event: HookEvent) -> bool:
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append((event, kept))
        self._arrived.set()
        return await kept

    def look(self) -> None:
        """Another process has kept some: facts are made of them, too."""
        self._kept.set()

    # --------------------------------------------------------------------------------------- keeping

    async def keep(self) -> None:
        """Writes what has arrived since the last write, all in one transaction, and lets the senders know."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            arrived, self._queue = self._queue, []
            try:
                new = await self._store.accept_hooks([event for event, _ in arrived])
            except StoreError as error:
                for _, waiting in arrived:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            for (_, waiting), is_new in zip(arrived, new, strict=True):
                if not waiting.done():
                    waiting.set_result(is_new)
            if any(new):
                self._kept.set()

    # --------------------------------------------------------------------------------------- making facts

    async def digest(self) -> None:
        """Makes facts of what is kept, as it comes; while the store is down, asks again now and then."""
        while True:
            await self._kept.wait()
            self._kept.clear()
            try:
                while await self._digest_some():
                    pass
            except NotLeader:
                raise
            except StoreError:  # whoever looks after the store says so
                self._kept.set()
                await self._time.sleep(_AGAIN.total_seconds())

    async def _digest_some(self) -> bool:
        events = await self._store.waiting_hooks(_AT_ONCE)
        for event in events:  # before any run on such a name is judged
            self._note_ref(event)
        whole = [event for event in events if self._is_whole(event.source)]
        parts = [event for event in events if not self._is_whole(event.source)]
        runs = sorted({(event.source, event.project, event.run) for event in parts})
        of_runs = await self._store.hooks_of_runs(runs) if runs else {}
        facts = await self._all_facts([*([event] for event in whole), *filter(None, of_runs.values())])
        if facts:
            await self._around.record(facts)
        if whole:
            await self._store.end_hooks([event.id for event in whole], keep=False)
        if parts:
            await self._store.end_hooks([event.id for event in parts], keep=True)
        return len(events) == _AT_ONCE

    async def _all_facts(self, told: Sequence[Sequence[HookEvent]]) -> list[PipelineRun]:
        """The facts of many runs, a few at a time: in a burst half of the time is for those who wait for answers."""
        facts: list[PipelineRun] = []
        for first in range(0, len(told), _IN_ONE_GO):
            began = self._time.monotonic()
            for events in told[first : first + _IN_ONE_GO]:
                facts.extend(self._facts(events))
            if len(told) > _IN_ONE_GO:
                await self._time.sleep(self._time.monotonic() - began)
        return facts

    def _note_ref(self, event: HookEvent) -> None:
        hooks, project = self._hooks_of(event.source), self._project(event.source, event.project, event.body)
        told = hooks.ref(event) if hooks is not None else None
        if told is not None and project is not None:
            self._around.note_ref(event.source, project.path, *told)

    def _is_whole(self, source: str) -> bool:
        hooks = self._hooks_of(source)
        return hooks is None or hooks.whole

    def _hooks_of(self, source: str) -> Hooks | None:
        kind = next((found.type for found in self._around.sources() if found.name == source), "")
        return self._hooks(kind)

    def _facts(self, events: Sequence[HookEvent]) -> Iterable[PipelineRun]:
        """What events of one run say of it; whatever they hold, the others are read."""
        last = events[-1]
        hooks, project = self._hooks_of(last.source), self._project(last.source, last.project, last.body)
        if hooks is None or project is None:  # the configuration has changed since
            return ()
        known = Known(project=project, tags=self._around.tags(last.source))
        try:
            facts = hooks.facts(events, known, self._time.now())
        except Exception:
            self._around.count(last.source, Outcome.BUG, last.received_at)
            _LOG.exception("a webhook met a bug", extra={"source": last.source})
            facts = Kind.RUN
        if isinstance(facts, Kind):
            self._around.look_soon(project.source, project.key, facts)
            return ()
        return facts


def _sender(
    hooks: Hooks, sources: Iterable[SourceSettings], headers: Mapping[str, str], body: bytes, now: datetime
) -> SourceSettings | None:
    """The source whose secret the sender knows."""
    for source in sources:
        if hooks.signed(headers, body, [secret.get_secret_value() for secret in source.webhook_secret], now):
            return source
    return None
