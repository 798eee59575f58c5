"""A store in memory: as much of the real one as a collector needs, and a list of all it was told."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from k2alert.model import (
    RESULTS,
    Entry,
    EntryChange,
    Fact,
    Kind,
    KnownRun,
    Outcome,
    PipelineRun,
    Project,
    RunState,
    Saved,
)
from k2alert.times import to_ms

Key = tuple[str, str, str]


class MemoryStore:
    """`said` names every run handed to `save`, in order, repeats too. `fails`: what the next `save` raises."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.facts: list[Fact] = []
        self.fails: Exception | None = None
        self._runs: dict[Key, PipelineRun] = {}
        self._refs: dict[tuple[Key, int], int] = {}
        self._projects: dict[tuple[str, str], Project] = {}

    @property
    def outcomes(self) -> dict[str, list[int]]:
        """The attempts recorded of each run, as `project#id`."""
        return {
            f"{project}#{name}": [outcome.attempt for outcome in run.outcomes]
            for (_, project, name), run in sorted(self._runs.items())
        }

    def project(self, key: str) -> Project:
        """The project with this key, of whatever source."""
        return next(project for (_, name), project in self._projects.items() if name == key)

    async def projects(self) -> list[Project]:
        return list(self._projects.values())

    async def save_project(self, project: Project) -> None:
        self._projects[project.source, project.key] = project

    async def known_runs(self, source: str, project: str, since: datetime) -> dict[str, KnownRun]:
        return {
            name: KnownRun(run.seen, max((outcome.attempt for outcome in run.outcomes), default=0), run.state)
            for (of, path, name), run in self._runs.items()
            if (of, path) == (source, project) and (run.seen >= since or run.state is not RunState.FINISHED)
        }

    async def save(self, runs: Sequence[PipelineRun]) -> Saved:
        await asyncio.sleep(0)
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        self.said.extend(f"{run.project}#{run.id}" for run in runs)
        return Saved(entries=[change for run in runs for change in self._merge(run)])

    async def save_facts(self, facts: Sequence[Fact]) -> Saved:
        self.facts += facts
        return Saved()

    def _merge(self, run: PipelineRun) -> list[EntryChange]:
        key = run.source, run.project, run.id
        before = self._runs.get(key)
        if before is not None and before.seen > run.seen:
            return []
        known = {outcome.attempt: outcome for outcome in before.outcomes} if before else {}
        fresh = [outcome for outcome in run.outcomes if outcome.attempt not in known]
        merged = {**known, **{outcome.attempt: outcome for outcome in run.outcomes}}
        self._runs[key] = replace(run, outcomes=tuple(merged[attempt] for attempt in sorted(merged)))
        return [EntryChange(Kind.RUN, None, self._entry(key, run, outcome)) for outcome in fresh]

    def _entry(self, key: Key, run: PipelineRun, outcome: Outcome) -> Entry:
        return Entry(
            stream=0,
            ref=self._refs.setdefault((key, outcome.attempt), len(self._refs)),
            created=to_ms(run.created_at),
            finished=to_ms(outcome.finished_at),
            superseded=None,
            result=RESULTS.index(outcome.result),
            duration=None,
            queued=None,
            allowed=False,
            retry=outcome.attempt > 1,
        )
