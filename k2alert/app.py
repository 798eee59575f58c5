"""The daemon put together: the only place that reads the clock, and that knows every part by name.

Files and the environment come in; a process goes out that collects, judges and tells until it is stopped. Order
matters: the store opens first and closes last; HTTP answers probes before the history is in memory; nothing is
judged before it is.
"""

import asyncio
import gc
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from k2alert.config.watch import fingerprint
from k2alert.explain.asking import Question, answer
from k2alert.expose.access import is_loopback
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.server import make_app, parse_listen, start
from k2alert.expose.view import Unavailable, View
from k2alert.flaky import flaky_json, list_flaky, read_question
from k2alert.inbox import KEEP, Answer, Inbox, Outcome, Surroundings
from k2alert.logs import Secrets
from k2alert.loops import Work, repeat, run_together
from k2alert.measure.catalogue import METRICS
from k2alert.model import Fact, Kind, KnownRun, PipelineRun, Project, Rule, Saved, Telling, TellingQuery
from k2alert.page import Answers
from k2alert.recall import fill_board, make_board
from k2alert.record import Store, StoreBusy, StoreError, open_store
from k2alert.rounds import Rounds, Setting

__all__ = ["NotRunnable", "Options", "serve", "system_time"]

_LOG = logging.getLogger(__name__)

WATCH_EVERY = timedelta(seconds=5)  # a ConfigMap takes a minute to arrive; reading a few files costs nothing
PRUNE_EVERY = timedelta(hours=1)
DELIVER_EVERY = timedelta(seconds=1)  # who asked to be left alone for a second is told after a second


class NotRunnable(Exception):
    """The configuration has errors; `lines` says which, each with its place."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


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
    on_ready: Callable[[int], None] = lambda _: None
    on_progress: Callable[[Project, int, int | None], None] = lambda project, done, total: None


async def serve(options: Options, stop: asyncio.Event, reload: asyncio.Event | None = None) -> None:
    """Runs the daemon until `stop` is set; setting `reload` has it read its files again.

    Raises `NotRunnable`, `StoreError` or `ListenError` where it cannot start.
    """
    loaded = _load(options)
    config = _runnable(loaded)
    options.secrets.replace(secrets_of(config))
    store = await _open_store(config.store, options.time, stop)
    if store is None:
        return
    try:
        async with aiohttp.ClientSession() as session:
            daemon = _Daemon(options, loaded, config, store, session, reload or asyncio.Event())
            await daemon.run(stop)
    finally:
        await store.close()


async def _open_store(url: str, time: Time, stop: asyncio.Event) -> Store | None:
    """The store, waited for while somebody else is at it; None where we are stopped meanwhile."""
    told = False
    while not stop.is_set():
        try:
            return await asyncio.to_thread(open_store, url)
        except StoreBusy as error:
            if not told:
                _LOG.warning("waiting for the store: %s", error)
            told = True
            await time.sleep(1.0)
    return None


class _Daemon:
    """All parts of a running daemon, and what holds them together."""

    def __init__(
        self,
        options: Options,
        loaded: Loaded,
        config: Config,
        store: Store,
        session: aiohttp.ClientSession,
        reload: asyncio.Event,
    ) -> None:
        self._options = options
        self._time = options.time
        self._watched = loaded.watched
        self._store = store
        self._reload_asked = reload
        self._reloading = asyncio.Lock()
        self._facts_came = asyncio.Event()
        self._saving = asyncio.Lock()
        self._loaded = False
        self._setting = Setting(config=config, board=make_board(config, METRICS))
        self._self_metrics = SelfMetrics(__version__)
        self._recorder = _Recorder(store, self._saving, self._take)
        self._collector = Collector(
            config.sources,
            forges=SOURCES,
            store=self._recorder,
            time=options.time,
            depth=lambda: self._setting.config.look_back,
            version=__version__,
            wants=lambda: _kinds(self._setting.config.rules),
            on_saved=lambda _: None,
            on_progress=options.on_progress,
            on_projects=self._projects_changed,
        )
        self._inbox = Inbox(forges=SOURCES, store=store, time=options.time, around=self._surroundings())
        self._rounds = Rounds(
            self._setting,
            metrics=METRICS,
            store=store,
            projects=self._collector.project_states,
            session=session,
            self_metrics=self._self_metrics,
            time=options.time,
            started_at=options.time.now(),
            new_id=lambda: str(uuid4()),
        )
        self._answers = Answers(
            scene=self._rounds.scene,
            judged_at=lambda: self._rounds.snapshot.now if self._rounds.snapshot is not None else None,
            store=store,
            stats=self._collector.stats,
            now=options.time.now,
        )
        self._counted: dict[tuple[str, str, str], int] = {}

    # --------------------------------------------------------------------------------------- life

    async def run(self, stop: asyncio.Event) -> None:
        """Starts the parts in their order, runs the loops, and ends the parts in reverse."""
        config = self._setting.config
        listen = self._options.listen or config.web.listen
        self._use(config)
        runner, port = await start(make_app(self._view(), loopback=is_loopback(parse_listen(listen)[0])), listen)
        try:
            self._options.on_ready(port)
            _LOG.info("listening on port %d", port, extra={"version": __version__, "rules": len(config.rules)})
            # Webhooks are taken from the first moment on, a long history or not.
            await run_together(
                {"keep webhooks": self._inbox.keep, "work": lambda: self._work(stop)}, stop, finish=("work",)
            )
        finally:
            await self._rounds.close()
            await self._collector.close()
            await runner.cleanup()
            _LOG.info("stopped")

    async def _work(self, stop: asyncio.Event) -> None:
        await self._remember()
        await run_together(
            {
                "collect": self._collector.run,
                "digest webhooks": self._inbox.digest,
                "evaluate": lambda: self._repeat(self._round, self._interval, stop, self._facts_came),
                "deliver": lambda: self._deliver(stop),
                "watch the files": lambda: self._repeat(self._watch, lambda: self._options.watch_every, stop),
                "reload": self._reload_when_asked,
                "prune": lambda: self._repeat(self._prune, lambda: PRUNE_EVERY, stop),
            },
            stop,
            finish=("evaluate", "deliver", "prune"),
        )

    async def _remember(self) -> None:
        began = self._time.monotonic()
        rows = await fill_board(self._setting.board, self._store)
        await self._rounds.load()
        await self._collector.load()
        await self._forget_departed()
        self._loaded = True
        gc.freeze()  # what was read stays; to look through it for garbage would hold the loop for a second now and then
        took = round(self._time.monotonic() - began, 3)
        _LOG.info("the history is in memory", extra={"rows": rows, "seconds": took})

    async def _repeat(
        self, work: Work, every: Callable[[], timedelta], stop: asyncio.Event, wake: asyncio.Event | None = None
    ) -> None:
        await repeat(work, every, stop, monotonic=self._time.monotonic, wake=wake)

    def _interval(self) -> timedelta:
        return self._setting.config.evaluation_interval

    async def _projects_changed(self) -> None:
        try:
            await self._forget_departed()
        except StoreError as error:  # those that are gone are forgotten after the next listing
            _LOG.warning("projects that are gone are not forgotten yet: %s", error)

    async def _forget_departed(self) -> None:
        """A project that comes back is read anew: what happened meanwhile is not known."""
        here = {(project.source, project.key) for project in self._collector.project_states()}
        stored = {(project.source, project.key) for project in await self._store.projects()}
        if stored - here:
            self._take(await self._store.forget_projects(sorted(stored - here)))

    # --------------------------------------------------------------------------------------- facts

    def _take(self, saved: Saved) -> None:
        self._setting.board.apply(saved)
        if saved.entries or saved.opens or saved.facts:
            self._facts_came.set()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            sources=lambda: self._setting.config.sources,
            projects=lambda: self._collector.project_states() if self._loaded else None,
            tags=self._collector.tags,
            note_ref=self._collector.note_ref,
            record=self._recorder.save,
            look_soon=self._collector.look_soon,
            count=self._count_webhook,
        )

    def _count_webhook(self, source: str, outcome: Outcome, now: datetime) -> None:
        self._self_metrics.webhook(source, outcome.value, now=now)

    async def _take_webhook(self, kind: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return await self._inbox.receive(kind, name, headers, body)

    async def _prune(self) -> None:
        before = self._time.now() - self._setting.config.retention
        try:
            async with self._saving:
                self._take(await self._store.prune(before))
                self._setting.board.drop_empty()
            await self._store.drop_old_hooks(self._time.now() - KEEP)
        except StoreError as error:
            _LOG.error("the store could not be pruned: %s", error)

    # --------------------------------------------------------------------------------------- rounds

    async def _round(self) -> None:
        await self._rounds.round()
        self._count_sources()

    async def _deliver(self, stop: asyncio.Event) -> None:
        await self._repeat(self._rounds.deliver, lambda: DELIVER_EVERY, stop)
        await self._rounds.close()

    def _count_sources(self) -> None:
        for source, stats in self._collector.stats().items():
            for (kind, code), number in stats.asked.requests.items():
                more = self._more(source, "asked", f"{kind} {code}", number)
                self._self_metrics.count_requests(source, kind, code, more)
            for reason, number in stats.refused.items():
                self._self_metrics.count_refused(source, reason, self._more(source, "refused", reason, number))
            self._self_metrics.set_source(
                source,
                remaining=stats.asked.rate_limit_remaining,
                success_at=stats.last_success,
                complete=stats.complete_until,
            )

    def _more(self, source: str, kind: str, word: str, number: int) -> int:
        """How many more there are of something than when it was last asked; a reconfigured source counts from zero."""
        before, self._counted[source, kind, word] = self._counted.get((source, kind, word), 0), number
        return number - before if number >= before else number

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

    async def _watch(self) -> None:
        seen = await asyncio.to_thread(fingerprint, self._watched)
        if dict(seen) != dict(self._watched):
            _LOG.info("the files have changed")
            await self.reload()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            await self.reload()

    async def reload(self) -> Sequence[str]:
        """Reads the files again; what is wrong with them, and then everything stays as it was."""
        async with self._reloading:
            loaded = await asyncio.to_thread(_load, self._options)
            before, self._watched = self._watched, loaded.watched
            try:
                config = _runnable(loaded)
                await self._replace(config)
            except NotRunnable as refused:
                # A main file that cannot be read names no rule files: those of before are watched on, as they are now.
                self._watched = {**await asyncio.to_thread(fingerprint, before), **loaded.watched}
                self._self_metrics.config_refused()
                for line in refused.lines:
                    _LOG.error("not reloaded: %s", line)
                return refused.lines
            except StoreError as error:
                self._watched = before  # the files are good: they are read again until the store is back
                self._self_metrics.config_refused()
                _LOG.error("not reloaded, the store is down: %s", error)
                return [f"the store is down: {error}"]
            _LOG.info("reloaded", extra={"rules": len(config.rules)})
            return ()

    async def _replace(self, config: Config) -> None:
        """The new configuration, with memory of its own: filled while nothing is recorded, taken over at once."""
        if config.store != self._setting.config.store:
            raise NotRunnable(["`store` has changed: that needs a restart"])
        board = make_board(config, METRICS)
        async with self._saving:
            await fill_board(board, self._store)
            self._setting = Setting(config=config, board=board)
            self._rounds.replace_setting(self._setting)
        self._use(config)
        await self._collector.reconfigure(config.sources)
        await self._forget_departed()

    # --------------------------------------------------------------------------------------- HTTP

    def _view(self) -> View:
        return View(
            snapshot=lambda: self._rounds.snapshot,
            self_metrics=self._self_metrics.render,
            ready=self._why_not_ready,
            reload=self.reload,
            explain=self._explain,
            flaky=self._flaky,
            history=self._history,
            webhook=self._take_webhook,
            quiet=self._rounds.silences.quiet(),
            notifications=self._notifications,
            admin_token=lambda: _secret(self._setting.config.web.admin_token),
            read_token=lambda: _secret(self._setting.config.web.read_token),
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
        return await answer(self._rounds.scene(), self._store, question, now=self._time.now())

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
        if not self._loaded:
            return "the history is being read"
        try:
            await self._store.ping()
        except StoreError as error:
            return f"the store is down: {error}"
        return None


def _kinds(rules: Sequence[Rule]) -> frozenset[Kind]:
    """The kinds of facts that these rules speak of."""
    kinds = (METRICS[name].kind for rule in rules for name in rule.condition.metrics)
    return frozenset(kind for kind in kinds if isinstance(kind, Kind))


class _Recorder:
    """The store as the collector sees it: what is recorded is in memory before anything else is recorded.

    A reload fills a new memory from the store; it holds the same lock, so no change falls between the two.
    """

    def __init__(self, store: Store, lock: asyncio.Lock, take: Callable[[Saved], None]) -> None:
        self._store = store
        self._lock = lock
        self._take = take

    async def save(self, runs: Sequence[PipelineRun]) -> Saved:
        """Records, and tells memory what that changed."""
        async with self._lock:
            with _telling():
                saved = await self._store.save(runs)
            self._take(saved)
        return saved

    async def save_facts(self, facts: Sequence[Fact]) -> Saved:
        """The same for reports, deployments and schedules; runs go first."""
        async with self._lock:
            with _telling():
                saved = await self._store.save_facts(facts)
            self._take(saved)
        return saved

    async def projects(self) -> list[Project]:
        """Every project ever read."""
        with _telling():
            return await self._store.projects()

    async def save_project(self, project: Project) -> None:
        """Keeps a project as it is now."""
        with _telling():
            await self._store.save_project(project)

    async def known_runs(self, source: str, project: str, since: datetime) -> dict[str, KnownRun]:
        """What is recorded of a project's runs."""
        with _telling():
            return await self._store.known_runs(source, project, since)


@contextmanager
def _telling() -> Iterator[None]:
    """Says in the collector's words that the store is down."""
    try:
        yield
    except StoreError as error:
        raise CannotRecord(str(error)) from error


def _load(options: Options) -> Loaded:
    return load(options.config, environ=options.environ, metrics=METRICS)


def _runnable(loaded: Loaded) -> Config:
    for problem in loaded.problems:
        if problem.warning and problem.code != "unset":
            _LOG.warning("%s: %s", problem.place, problem.text)
    if loaded.config is None or not loaded.runnable:
        fatal = [
            str(replace(problem, warning=False))
            for problem in loaded.problems
            if not problem.warning or problem.code == "unset"
        ]
        raise NotRunnable(fatal or ["the configuration cannot be used"])
    return loaded.config


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
