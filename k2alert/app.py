"""The daemon put together: the only place that reads the clock, and that knows every part by name.

Files and the environment come in; a process goes out that collects, judges and tells until it is stopped. Order
matters: the store opens first and closes last; HTTP answers probes before the history is in memory; nothing is
judged before it is.
"""

import asyncio
import logging
import math
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from pydantic import SecretStr

from k2alert import __version__
from k2alert.archive import history_lines
from k2alert.collect import SOURCES
from k2alert.collect.collector import CannotRecord, Collector
from k2alert.collect.http import Time
from k2alert.config.load import Loaded, load
from k2alert.config.model import Config
from k2alert.config.secrets import secrets_of
from k2alert.explain.asking import Question, answer
from k2alert.expose.access import is_loopback
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.server import make_app, parse_listen, start
from k2alert.expose.view import Unavailable, View
from k2alert.flaky import flaky_json, list_flaky, read_question
from k2alert.following import Following
from k2alert.garbage import LOOK_EVERY, give_back, leave_out, look_through
from k2alert.inbox import Answer, Inbox, Outcome, Surroundings
from k2alert.leading import Leading, SourceCounts
from k2alert.logs import Secrets
from k2alert.loops import Work, repeat, run_together
from k2alert.measure.catalogue import METRICS
from k2alert.memory import Memory
from k2alert.model import Kind, Project, Rule, Telling, TellingQuery
from k2alert.notify.pace import Asking
from k2alert.page import Answers
from k2alert.record import Lease, Store, StoreBusy, StoreError, open_store
from k2alert.reloading import NotRunnable, Reloader, runnable
from k2alert.rounds import Rounds

__all__ = ["NotRunnable", "Options", "serve", "system_time"]

_LOG = logging.getLogger(__name__)

# Seconds that a busy thread goes on while another wants its turn. The store's thread wants one for every statement, a
# dozen times for each webhook; with Python's own 5 ms that were up to 60 ms whenever gauges are drawn.
_TURN = 0.0005

_BEAT = timedelta(seconds=0.25)  # a loop that is held longer than a few of these hangs, and another replica leads
_THREADS = 64  # rounds need one now and then; each host takes one whose name no server answers for
WATCH_EVERY = timedelta(seconds=2)  # a ConfigMap takes a minute to arrive; reading a few files costs nothing


def system_time() -> Time:
    """The machine's clocks, sleep and chance."""
    return Time(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=asyncio.sleep,
        random=random.random,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a daemon is started with. `listen` goes before the file's `web.listen`.

    `on_ready` is told the port once probes answer; `on_progress` of backfills: project, runs read, runs in all (None:
    the forge does not say).
    """

    config: Path
    environ: Mapping[str, str] = field(repr=False)  # holds tokens
    listen: str | None = None
    watch_every: timedelta = WATCH_EVERY
    time: Time = field(default_factory=system_time)
    secrets: Secrets = field(default_factory=Secrets)
    open_store: Callable[[str], Store] = open_store
    on_ready: Callable[[int], None] = lambda _: None
    on_progress: Callable[[Project, int, int | None], None] = lambda project, done, total: None


async def serve(options: Options, stop: asyncio.Event, reload: asyncio.Event | None = None) -> None:
    """Runs the daemon until `stop` is set; setting `reload` has it read its files again.

    Raises `NotRunnable`, `StoreError` or `ListenError` where it cannot start.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "k2alert-beside"))
    sys.setswitchinterval(_TURN)
    loaded = _load(options)
    config = runnable(loaded)
    options.secrets.replace(secrets_of(config))
    store = await _open_store(config.store, options, stop)
    if store is None:
        return
    try:
        async with aiohttp.ClientSession(connector=Asking(lambda: daemon.leads())) as session:
            daemon = _Daemon(options, loaded, config, store, session)
            await daemon.run(stop, reload or asyncio.Event())
    finally:
        await store.close()


async def _open_store(url: str, options: Options, stop: asyncio.Event) -> Store | None:
    """The store, waited for while somebody else is at it; None where we are stopped meanwhile."""
    told = False
    while not stop.is_set():
        try:
            return await asyncio.to_thread(options.open_store, url)
        except StoreBusy as error:
            if not told:
                _LOG.warning("waiting for the store: %s", error)
            told = True
            await options.time.sleep(1.0)
    return None


class _Daemon:
    """All parts of a running daemon, and what holds them together."""

    def __init__(
        self, options: Options, loaded: Loaded, config: Config, store: Store, session: aiohttp.ClientSession
    ) -> None:
        self._options = options
        self._time = options.time
        self._store = store
        self._loaded = False
        self._lease: Lease | None = None
        self._alive = options.time.monotonic()
        self._memory = Memory(config, store, METRICS)
        self._self_metrics = SelfMetrics(__version__)
        self._reloader = Reloader(
            loaded.watched, read=lambda: _load(options), use=self._replace, self_metrics=self._self_metrics
        )
        self._collector = Collector(
            config.sources,
            forges=SOURCES,
            store=self._memory,
            time=options.time,
            depth=lambda: self._memory.config.look_back,
            version=__version__,
            wants=lambda: _kinds(self._memory.config.rules),
            on_saved=lambda _: None,
            on_progress=self._told_progress,
            on_projects=self._projects_changed,
        )
        self._inbox = Inbox(forges=SOURCES, store=store, time=options.time, around=self._surroundings())
        self._rounds = Rounds(
            self._memory.setting,
            metrics=METRICS,
            store=store,
            projects=self._collector.project_states,
            session=session,
            self_metrics=self._self_metrics,
            time=options.time,
            started_at=options.time.now(),
            new_id=lambda: str(uuid4()),
            leads=self.leads,
        )
        self._answers = Answers(
            scene=self._rounds.scene,
            judged_at=lambda: self._rounds.snapshot.now if self._rounds.snapshot is not None else None,
            store=store,
            stats=self._collector.stats,
            now=self._rounds.now,
        )

    # --------------------------------------------------------------------------------------- life

    async def run(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        """Starts the parts in their order, runs the loops, and ends the parts in reverse."""
        config = self._memory.config
        listen = self._options.listen or config.web.listen
        self._use(config)
        runner, port = await start(make_app(self._view(), loopback=is_loopback(parse_listen(listen)[0])), listen)
        try:
            self._options.on_ready(port)
            _LOG.info("listening on port %d", port, extra={"version": __version__, "rules": len(config.rules)})
            # Webhooks are taken from the first moment on, a long history or not.
            tasks: dict[str, Work] = {
                "keep webhooks": self._inbox.keep,
                "show that we live": self._beat,
                "work": lambda: self._work(stop, reload),
            }
            await run_together(tasks, stop, finish=("work",))
        finally:
            await self._rounds.close()
            await self._collector.close()
            await runner.cleanup()
            _LOG.info("stopped")

    async def _work(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        await self._remember()
        self._lease = self._store.campaign(f"{socket.gethostname()}:{os.getpid()}", self._idle)
        following, leading = self._make_roles(self._lease)
        await run_together(
            {
                "follow or lead": lambda: self._take_turns(following, leading, stop),
                "watch the files": lambda: self._watch(stop),
                "reload": lambda: self._reloader.reload_when(reload),
                "collect garbage": lambda: repeat(
                    look_through, lambda: LOOK_EVERY, stop, monotonic=self._time.monotonic
                ),
            },
            stop,
            finish=("follow or lead",),
        )

    def _make_roles(self, lease: Lease) -> tuple[Following, Leading]:
        counts = SourceCounts(self._collector, self._self_metrics)
        following = Following(
            memory=self._memory,
            store=self._store,
            collector=self._collector,
            rounds=self._rounds,
            after_round=counts.carry_over,
            lease=lease,
            time=self._time,
        )
        leading = Leading(
            memory=self._memory,
            store=self._store,
            collector=self._collector,
            inbox=self._inbox,
            rounds=self._rounds,
            after_round=counts.carry_over,
            self_metrics=self._self_metrics,
            lease=lease,
            time=self._time,
            busy=time.thread_time,
        )
        return following, leading

    async def _take_turns(self, following: Following, leading: Leading, stop: asyncio.Event) -> None:
        """Stands by, leads, and stands by again; gives the lease back at the end, so that another leads at once."""
        while await following.run(stop):
            await leading.run(stop)
            if not stop.is_set():
                await self._remember_again(stop)
        if self._lease is not None:
            await self._lease.release()

    def leads(self) -> bool:
        """Whether this process may judge and tell."""
        return self._lease is not None and self._lease.holds()

    async def _beat(self) -> None:
        while True:
            self._alive = self._time.monotonic()
            await self._time.sleep(_BEAT.total_seconds())

    def _whole(self) -> bool:
        """Whether memory has what is stored, or is but a moment behind."""
        return self._loaded and not self._memory.behind

    def _idle(self) -> float:
        """Seconds since the event loop last went round; who cannot lead yet is as good as one that hangs, for another
        replica could.
        """
        return self._time.monotonic() - self._alive if self._whole() else math.inf

    async def _remember_again(self, stop: asyncio.Event) -> None:
        """Reads everything anew, for another replica has led meanwhile; for as long as that takes."""
        self._loaded = told = False
        while not stop.is_set():
            try:
                return await self._remember()
            except (StoreError, CannotRecord) as error:
                if not told:
                    _LOG.warning("the history cannot be read: %s", error)
                told = True
                await self._time.sleep(1.0)

    async def _remember(self) -> None:
        began = self._time.monotonic()
        rows = await self._memory.refill()
        self._rounds.replace_setting(self._memory.setting)
        await self._rounds.load()
        await self._collector.load()
        self._loaded = True
        leave_out()
        give_back()
        took = round(self._time.monotonic() - began, 3)
        _LOG.info("the history is in memory", extra={"rows": rows, "seconds": took})

    async def _watch(self, stop: asyncio.Event) -> None:
        await repeat(self._reloader.watch, lambda: self._options.watch_every, stop, monotonic=self._time.monotonic)

    def _told_progress(self, project: Project, done: int, total: int | None) -> None:
        self._options.on_progress(project, done, total)
        if done == total:
            self._memory.facts_came.set()  # there is nothing new perhaps, but it can be judged now

    async def _projects_changed(self) -> None:
        try:
            await self._memory.forget_departed(self._collector.project_states())
        except StoreError as error:  # those that are gone are forgotten after the next listing
            _LOG.warning("projects that are gone are not forgotten yet: %s", error)

    # --------------------------------------------------------------------------------------- webhooks

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            sources=lambda: self._memory.config.sources,
            projects=lambda: self._collector.project_states() if self._loaded else None,
            tags=self._collector.tags,
            note_ref=self._collector.note_ref,
            record=self._memory.record,
            look_soon=self._collector.look_soon,
            count=self._count_webhook,
        )

    def _count_webhook(self, source: str, outcome: Outcome, now: datetime) -> None:
        self._self_metrics.webhook(source, outcome.value, now=now)

    async def _take_webhook(self, kind: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return await self._inbox.receive(kind, name, headers, body)

    # --------------------------------------------------------------------------------------- configuration

    def _use(self, config: Config) -> None:
        self._options.secrets.replace(secrets_of(config))
        self._self_metrics.declare(
            rules=[rule.name for rule in config.rules],
            receivers=[
                (receiver.name, integration.kind)
                for receiver in config.receivers.values()
                for integration in receiver.integrations
            ],
            sources=[source.name for source in config.sources],
        )
        self._self_metrics.config_loaded(config.hash, now=self._time.now())

    async def _replace(self, config: Config) -> None:
        if config.store != self._memory.config.store:
            raise NotRunnable(["`store` has changed: that needs a restart"])
        await self._memory.fill(config)
        self._rounds.replace_setting(self._memory.setting)
        self._use(config)
        await self._collector.reconfigure(config.sources)
        if self.leads():
            await self._memory.forget_departed(self._collector.project_states())

    # --------------------------------------------------------------------------------------- HTTP

    def _view(self) -> View:
        return View(
            snapshot=lambda: self._rounds.snapshot,
            self_metrics=self._self_metrics.render,
            ready=self._why_not_ready,
            reload=self._reloader.reload,
            explain=self._explain,
            flaky=self._flaky,
            history=self._history,
            webhook=self._take_webhook,
            quiet=self._rounds.silences.quiet(),
            notifications=self._notifications,
            admin_token=lambda: _secret(self._memory.config.web.admin_token),
            read_token=lambda: _secret(self._memory.config.web.read_token),
            page=self._answers.view(),
        )

    async def _history(self, since: datetime | None, project: str) -> AsyncIterator[bytes]:
        projects = self._collector.project_states()
        now = self._time.now()
        try:
            async for lines in history_lines(self._store, projects, since=since, project=project, until=now):
                yield lines
        except StoreError as error:
            raise Unavailable(f"the store is down: {error}") from error

    async def _explain(
        self, rule: str, labels: Sequence[tuple[str, str]], at: datetime | None
    ) -> tuple[int, dict[str, Any] | str]:
        if not self._loaded:
            return 503, "the history is being read"
        question = Question(rule, tuple(labels), at)
        return await answer(self._rounds.scene(), self._store, question, now=self._rounds.now())

    async def _notifications(self, query: TellingQuery) -> Sequence[Telling] | str:
        try:
            return await self._store.tellings(query)
        except StoreError as error:
            return f"the store is down: {error}"

    async def _flaky(self, labels: Sequence[tuple[str, str]], options: Mapping[str, str]) -> dict[str, Any] | str:
        question = read_question(labels, options)
        try:
            return flaky_json(await list_flaky(self._store, question, now=self._time.now()))
        except StoreError as error:
            return f"the store is down: {error}"

    async def _why_not_ready(self) -> str | None:
        try:
            await self._store.ping()
        except StoreError as error:
            return f"the store is down: {error}"
        return None if self._whole() else "the history is being read"


def _kinds(rules: Sequence[Rule]) -> frozenset[Kind]:
    """The kinds of facts that these rules speak of."""
    kinds = (METRICS[name].kind for rule in rules for name in rule.condition.metrics)
    return frozenset(kind for kind in kinds if isinstance(kind, Kind))


def _load(options: Options) -> Loaded:
    return load(options.config, environ=options.environ, metrics=METRICS)


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
