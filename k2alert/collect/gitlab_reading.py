"""What one look at a GitLab project carries along while it reads: whom it reads, what it has come to, what is new.

The two ways of reading (`gitlab_graphql`, `gitlab_rest`) share it, so that one can take over where the other was
refused without reading anything twice.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Request
from k2alert.collect.gitlab_parse import Malformed, id_of, parse_jobs, parse_run, text
from k2alert.model import Kind, PipelineRun, Project, RunState
from k2alert.times import iso

T = TypeVar("T")
Steps = Generator[Request | Batch, Answer | None, T]
"""A part of a flow that comes to a T."""


@dataclass(slots=True)
class Reading:
    """One look in progress. `done` of `total` runs are read; `handled` are those seen in any listing.

    `runs` are those handed over, kept where their test reports are read after them.
    """

    ask: Ask
    project: Project
    memory: dict[str, Any]
    done: int = 0
    total: int | None = None
    handled: set[str] = field(default_factory=set)
    malformed: list[str] = field(default_factory=list)
    runs: list[PipelineRun] = field(default_factory=list)
    bookmarks: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bookmarks = dict(self.ask.bookmarks)

    @property
    def since(self) -> str:
        """`Ask.since` as both APIs take it; `updated_after` includes its own second."""
        return iso(self.ask.since.replace(microsecond=0))

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
        # GitLab lists no child pipelines unless asked; they belong to their parent.
        return text(item, "source") != "parent_pipeline" and not self._is_known(parsed)

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
        if Kind.TEST in self.ask.wants:
            self.runs += runs
        return Batch(tuple(runs), self.done, self.total)

    def _is_known(self, run: PipelineRun) -> bool:
        known = self.ask.known.get(run.id)
        finished = run.state is RunState.FINISHED
        return known is not None and finished and known.state is RunState.FINISHED and run.seen <= known.seen


def fetch(request: Request) -> Steps[Answer]:
    """Asks the driver for one answer."""
    answer = yield request
    return answer if answer is not None else Failure("client", "no answer")
