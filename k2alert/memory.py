"""Memory beside the store: the board that rules measure on, which never knows more or less than what is recorded.

In: facts from collect, on their way to the store, or what another replica has recorded. Out: a board that has what
each save really changed. Whoever records holds a lock until the board knows, so that a reload, which fills another
board from the store, misses nothing and counts nothing twice.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from k2alert.collect.collector import CannotRecord
from k2alert.config.model import Config
from k2alert.measure.board import Board
from k2alert.model import Fact, KnownRun, Metric, PipelineRun, Project, Saved
from k2alert.recall import fill_board, make_board
from k2alert.record.store import Store, StoreError, Topic

__all__ = ["Memory", "Setting"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a reload replaces as a whole: the configuration and the memory made for it."""

    config: Config
    board: Board


class Memory:
    """The setting in use, and the store as the collector sees it: what is recorded is in memory before anything else.

    `facts_came` is set when there is something new to judge.
    """

    def __init__(self, config: Config, store: Store, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self._store = store
        self._lock = asyncio.Lock()
        self.setting = Setting(config=config, board=make_board(config, metrics))
        self.facts_came = asyncio.Event()
        self._seen = 0  # the last change of the store that the board has, while others write
        self._behind = False

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.setting.config

    @property
    def behind(self) -> bool:
        """Whether so much was missed that everything is read anew: until then the board is as it was long ago."""
        return self._behind

    async def fill(self, config: Config) -> int:
        """A configuration, with a board of its own: filled while nothing is recorded here, taken over at once.

        Says how many rows that was. Raises `StoreError`, and then everything stays as it was.
        """
        async with self._lock:
            return await self._fill(config)

    async def refill(self) -> int:
        """The same for the configuration in use, which a reload may replace until its turn comes."""
        async with self._lock:
            return await self._fill(self.config)

    async def _fill(self, config: Config) -> int:
        board = make_board(config, self._metrics)
        async with self._store.frozen() as moment:
            seen = await moment.last_change()
            rows = await fill_board(board, moment, _tell_progress)
        self.setting, self._seen, self._behind = Setting(config=config, board=board), seen, False
        self.facts_came.set()
        return rows

    async def follow(self) -> frozenset[Topic]:
        """Takes what other replicas have recorded since; what else has changed. Raises `StoreError`."""
        topics: set[Topic] = set()
        async with self._lock:
            while (changes := await self._store.changes(self._seen)) != []:
                if changes is None:  # so many that reading everything is less
                    self._behind = True
                    await self._fill(self.config)
                    return frozenset(Topic)
                for change in changes:
                    self._take(change.saved)
                    self._seen = change.seq
                    topics |= change.topics
                    await asyncio.sleep(0)  # there may be many, and somebody waits for an answer
        return frozenset(topics)

    def _take(self, saved: Saved) -> None:
        self.setting.board.apply(saved)
        if saved.entries or saved.opens or saved.facts:
            self.facts_came.set()

    # --------------------------------------------------------------------------------------- what is recorded

    async def record(self, runs: Sequence[PipelineRun]) -> Saved:
        """Records, and tells memory what that changed. Raises `StoreError`."""
        async with self._lock:
            saved = await self._store.save(runs)
            self._take(saved)
        return saved

    async def save(self, runs: Sequence[PipelineRun]) -> Saved:
        """The same. This and what follows raise `CannotRecord`."""
        with _telling():
            return await self.record(runs)

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

    # --------------------------------------------------------------------------------------- what is forgotten

    async def prune(self, before: datetime) -> None:
        """Forgets what ended before a time. Raises `StoreError`."""
        async with self._lock:
            async for part in self._store.prune(before):  # what breaks off in the middle is known up to there
                self._take(part)
            self.setting.board.drop_empty()

    async def drop_empty(self) -> None:
        """Lets go of what nothing is left of, as `prune` does, where another replica prunes."""
        async with self._lock:
            self.setting.board.drop_empty()

    async def forget_departed(self, here: Sequence[Project]) -> None:
        """Forgets every project but these: one that comes back is read anew. Raises `StoreError`."""
        kept = {(project.source, project.key) for project in here}
        stored = {(project.source, project.key) for project in await self._store.projects()}
        if stored - kept:
            async with self._lock:
                self._take(await self._store.forget_projects(sorted(stored - kept)))


def _tell_progress(rows: int) -> None:
    _LOG.info("reading the history", extra={"rows": rows})


@contextmanager
def _telling() -> Iterator[None]:
    """Says in the collector's words that the store is down."""
    try:
        yield
    except StoreError as error:
        raise CannotRecord(str(error)) from error
