"""Someone who looks at the stand-in GitHub as the collector does, without a network: the flow, by `next` and `send`.

What is recorded is remembered as the store does, cursors move as `schedule` moves them, and ETags go from look to look.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from k2alert.collect.answers import read_answer
from k2alert.collect.flow import Answer, Ask, Batch, Look, Request, Response
from k2alert.collect.github import look
from k2alert.collect.schedule import known_since, needs_backfill, read_since, settle, sweep_due
from k2alert.model import Fact, Kind, KnownRun, PipelineRun, Project, Result, RunState
from tests.support.github_standin import StandinGitHub

_DEPTH = timedelta(days=7)


@dataclass
class Keeper:
    """Remembers what looks at one repository said. `turn` may put a failure in an answer's place."""

    github: StandinGitHub
    project: Project
    wants: frozenset[Kind] = frozenset()
    turn: Callable[[Request], Answer | None] = lambda request: None
    runs: dict[str, PipelineRun] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], Result] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    memory: Mapping[str, Any] = field(default_factory=dict)
    bookmarks: Mapping[str, Any] = field(default_factory=dict)

    def look(self, *, restarted: bool = False) -> Look:
        """One look, recorded as it goes; a process that has just started has no bookmarks."""
        now = self.github.clock()
        ended = self._drive(self._make_ask(now, {} if restarted else self.bookmarks))
        self.memory, self.bookmarks = ended.memory, ended.bookmarks
        since = read_since(self.project, depth=_DEPTH, now=now)
        self.project = settle(self.project, ended, since=since, started=now, ended=now)
        return ended

    def _make_ask(self, now: datetime, bookmarks: Mapping[str, Any]) -> Ask:
        since = read_since(self.project, depth=_DEPTH, now=now)
        first = needs_backfill(self.project, depth=_DEPTH, now=now)
        sweep = first or sweep_due(self.project, now=now)
        known = self._known(known_since(since, sweep=sweep, now=now))
        return Ask(
            self.project, since, now, known, first, sweep, wants=self.wants, memory=self.memory, bookmarks=bookmarks
        )

    def _known(self, since: datetime) -> dict[str, KnownRun]:
        latest: dict[str, int] = {}
        for run, attempt in self.outcomes:
            latest[run] = max(attempt, latest.get(run, 0))
        return {
            run.id: KnownRun(run.seen, latest.get(run.id, 0), run.state)
            for run in self.runs.values()
            if run.seen >= since or run.state is not RunState.FINISHED
        }

    def _drive(self, ask: Ask) -> Look:
        flow, answer = look(ask), None
        try:
            while True:
                said = flow.send(answer)
                answer = None if isinstance(said, Batch) else self._answer(said)
                if isinstance(said, Batch):
                    self._record(said)
        except StopIteration as end:
            ended: Look = end.value
            return ended

    def _answer(self, request: Request) -> Answer:
        instead = self.turn(request)
        if instead is not None:
            return instead
        reply = self.github.reply(request.path, dict(request.params), authorization="Bearer t", etag=request.etag)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status in (200, 304):
            return Response(reply.status, headers, reply.data)
        return read_answer(reply.status, headers, b"{}", now=self.github.clock())

    def _record(self, batch: Batch) -> None:
        """As the store does: an older look changes nothing, outcomes stay."""
        for run in batch.runs:
            before = self.runs.get(run.id)
            if before is None or run.seen >= before.seen:
                self.runs[run.id] = run
                self.outcomes |= {(run.id, each.attempt): each.result for each in run.outcomes}
        self.facts += batch.facts
