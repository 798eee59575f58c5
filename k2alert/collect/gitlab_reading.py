"""What one look at a GitLab project carries along while it reads: whom it reads, what it has come to, what is new.

The two ways of reading (`gitlab_graphql`, `gitlab_rest`) share it, so that one can take over where the other was
refused without reading anything twice.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, TypeVar
from urllib.parse import quote

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Look, Request
from k2alert.collect.gitlab_parse import Malformed, id_of, parse_jobs, parse_run, text
from k2alert.model import Kind, PipelineRun, Project, RunState
from k2alert.times import iso

T = TypeVar("T")
Steps = Generator[Request | Batch, Answer | None, T]
"""A part of a flow that comes to a T."""


_MARKS = "reports"
_OWED = "reports_owed"
_MOST_TRIES = 5
_OF_RUNS = frozenset({Kind.TEST, Kind.COVERAGE})

FATAL = frozenset({"auth", "rate_limited", "network"})
"""Failures that say something of the source, and not of one report or of what this token may read."""


@dataclass(slots=True)
class Reading:
    """One look in progress. `done` of `total` runs are read; `handled` are those seen in any listing.

    `marks` say in which state each run's reports were read, by this look or the last: what has none, or another one,
    is read again. `ended`: a run that was handed over has come to its end, or waits for somebody.
    """

    ask: Ask
    project: Project
    memory: dict[str, Any]
    done: int = 0
    total: int | None = None
    handled: set[str] = field(default_factory=set)
    malformed: list[str] = field(default_factory=list)
    ended: bool = False
    failing: int = 0  # pipelines met that failed
    failed_jobs: dict[str, Any] = field(default_factory=dict)  # the project's, by id, as far as they were listed:
    failed_page: int = 1  # the next page of the list, 0 where there is none
    failed_until: float = inf  # down to this id
    bookmarks: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Any] = field(default_factory=dict)
    _listed: dict[str, Any] = field(default_factory=dict)  # the marks that listed pipelines would have

    def __post_init__(self) -> None:
        self.bookmarks = {**self.ask.bookmarks, _OWED: dict(self.ask.bookmarks.get(_OWED, {}))}
        self.marks = dict(self.bookmarks.get(_MARKS, {}))

    @property
    def since(self) -> str:
        """`Ask.since` as both APIs take it; `updated_after` includes its own second."""
        return iso(self.ask.since.replace(microsecond=0))

    @property
    def wants_summaries(self) -> bool:
        """Whether GitLab's own reports of tests are read; report files say more, where those are."""
        return Kind.TEST in self.ask.wants and not self.ask.reports.junit

    @property
    def api(self) -> str:
        """The project's own part of REST, by number where that is known, for a number survives a rename."""
        name = self.project.forge_id or self.project.path
        return f"/v4/projects/{quote(name, safe='')}"

    @property
    def leaves_running(self) -> bool:
        """Whether a run that the store holds as running has not come up.

        A running pipeline's `updated_at` stands still while its jobs come and go, so that no listing by change
        shows it.
        """
        known = self.ask.known.items()
        return any(run.state is RunState.RUNNING and run_id not in self.handled for run_id, run in known)

    def name_project(self, *, path: str, forge_id: str, default_branch: str, web_url: str) -> None:
        """Takes over what the forge says of the project now; what it does not say stays as it was."""
        self.project = replace(
            self.project,
            path=path or self.project.path,
            forge_id=forge_id or self.project.forge_id,
            default_branch=default_branch or self.project.default_branch,
            web_url=web_url or self.project.web_url,
        )

    def takes(self, item: Any) -> bool:
        """Whether a listed pipeline, in REST's words, is to be read: readable, not met before, new or changed."""
        self.done += 1
        parsed = parse_run(item, (), self.project)
        if isinstance(parsed, Malformed):
            self.malformed.append(parsed.what)
            return False
        if parsed.id in self.handled:
            return False
        self.handled.add(parsed.id)
        self._listed[parsed.id] = mark = _mark(item)
        is_reported = self.ask.wants.isdisjoint(_OF_RUNS) or self.marks.get(parsed.id) == mark
        # GitLab lists no child pipelines unless asked; they belong to their parent.
        return text(item, "source") != "parent_pipeline" and not (self._is_known(parsed) and is_reported)

    def make_run(self, item: Mapping[str, Any], jobs: Sequence[Any], *, title: str = "") -> PipelineRun | None:
        """The run that a pipeline and its jobs, both in REST's words, are; None, and remembered, if unreadable."""
        parsed_jobs = parse_jobs(jobs)
        if isinstance(parsed_jobs, Malformed):
            self.malformed.append(f"pipeline {id_of(item)}: {parsed_jobs.what}")
            return None
        run = parse_run(item, parsed_jobs, self.project, title=title)
        if isinstance(run, Malformed):
            self.malformed.append(run.what)
            return None
        return run

    def batch(self, runs: Sequence[PipelineRun]) -> Batch:
        """These runs, with how far the look has come."""
        self.ended = self.ended or any(self._has_ended(run) for run in runs)
        return Batch(tuple(runs), self.done, self.total)

    def mark(self, run_id: str) -> None:
        """Remembers that the reports of a pipeline were read as they are."""
        self.marks[run_id] = self._listed.get(run_id)
        self.owed.pop(run_id, None)

    def owe(self, run_id: str) -> None:
        """Remembers that they could not be read: the next looks ask again, five times in all."""
        self.owed[run_id] = tries = self.owed.get(run_id, 0) + 1
        if tries >= _MOST_TRIES:
            self.mark(run_id)

    @property
    def owed(self) -> dict[str, int]:
        """How often the reports of which pipelines could not be read."""
        owed: dict[str, int] = self.bookmarks[_OWED]
        return owed

    def close(self, failure: Failure | None) -> Look:
        """How the look ended; after a whole one only what it met is remembered, for only that may come up again."""
        met = self.marks if failure is not None else {key: self.marks[key] for key in self.marks.keys() & self.handled}
        return Look(self.project, failure, memory=self.memory, bookmarks={**self.bookmarks, _MARKS: met})

    def _has_ended(self, run: PipelineRun) -> bool:
        known = self.ask.known.get(run.id)
        changed = known is None or known.seen < run.seen or known.state is not run.state
        return changed and run.state in (RunState.FINISHED, RunState.BLOCKED)

    def _is_known(self, run: PipelineRun) -> bool:
        known = self.ask.known.get(run.id)
        finished = run.state is RunState.FINISHED
        return known is not None and finished and known.state is RunState.FINISHED and run.seen <= known.seen


def _mark(item: Mapping[str, Any]) -> Any:
    """What of a listed pipeline its reports may change with: GitLab counts tests and coverage after its end, too."""
    return text(item, "updated_at"), item.get("coverage"), item.get("test_report_summary")


def fetch(request: Request) -> Steps[Answer]:
    """Asks the driver for one answer."""
    answer = yield request
    return answer if answer is not None else Failure("client", "no answer")
