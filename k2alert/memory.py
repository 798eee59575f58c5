"""Memory beside the store: the board that rules measure on, which never knows more or less than what is recorded.

In: facts from collect, on their way to the store. Out: a board that has what each save really changed. Whoever records
holds a lock until the board knows, so that a reload, which fills another board from the store, misses nothing and
counts nothing twice.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from k2alert.collect.collector import CannotRecord
from k2alert.config.model import Config
from k2alert.measure.board import Board
from k2alert.model import Fact, KnownRun, Metric, PipelineRun, Project, Saved
from k2alert.recall import fill_board, make_board
from k2alert.record.store import Store, StoreError

__all__ = ["Memory", "Setting"]


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

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.setting.config

    async def fill(self) -> int:
        """Reads everything recorded into the board; says how many rows that was."""
        async with self._lock:
            return await fill_board(self.setting.board, self._store)

    async def replace(self, config: Config) -> Setting:
        """Another configuration, with a board of its own: filled while nothing is recorded, taken over at once."""
        board = make_board(config, self._metrics)
        async with self._lock:
            await fill_board(board, self._store)
            self.setting = Setting(config=config, board=board)
        return self.setting

    def _take(self, saved: Saved) -> None:
        self.setting.board.apply(saved)
        if saved.entries or saved.opens or saved.facts:
            self.facts_came.set()

    # --------------------------------------------------------------------------------------- what is recorded

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

    # --------------------------------------------------------------------------------------- what is forgotten

    async def prune(self, before: datetime) -> None:
        """Forgets what ended before a time. Raises `StoreError`."""
        async with self._lock:
            self._take(await self._store.prune(before))
            self.setting.board.drop_empty()

    async def forget_departed(self, here: Sequence[Project]) -> None:
        """Forgets every project but these: one that comes back is read anew. Raises `StoreError`."""
        kept = {(project.source, project.key) for project in here}
        stored = {(project.source, project.key) for project in await self._store.projects()}
        if stored - kept:
            async with self._lock:
                self._take(await self._store.forget_projects(sorted(stored - kept)))


@contextmanager
def _telling() -> Iterator[None]:
    """Says in the collector's words that the store is down."""
    try:
        yield
    except StoreError as error:
        raise CannotRecord(str(error)) from error
