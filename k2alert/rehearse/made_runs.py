"""The runs of a rule test over time: a series as a person wrote it comes in; its runs, what was true of each when, and
when that changed, come out.

A run has attempts, one after the other, and an attempt has jobs, whose executions come one after the other too. What
does not end stands at its last state for good. Pure. A series that cannot be is told of before (`made_legs`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha1
from typing import NamedTuple

from k2alert.model import JobRun, Outcome, PipelineRun, RefType, Result, RunState
from k2alert.rehearse.made_legs import Ending, Stretch, endings_of, legs_of
from k2alert.rehearse.rule_test_given import JobSpec, RunsSpec, TestsSpec

__all__ = ["Attempt", "MadeRun", "job_label", "runs_of"]

_PARALLEL = re.compile(r" \d+/\d+$")


class _Part(NamedTuple):
    """An attempt or an execution, in time: what never came of it is None."""

    created: datetime
    started: datetime | None
    ended: datetime | None
    result: Result | None

    def state_at(self, at: datetime) -> RunState:
        """Where it stands, from its creation on."""
        if self.ended is not None and self.ended <= at:
            return RunState.FINISHED
        return RunState.RUNNING if self.started is not None and self.started <= at else RunState.PENDING


class _Execution(NamedTuple):
    """One execution of a job: a retry where `number` is more than 1."""

    spec: JobSpec
    number: int
    id: str
    part: _Part


class Attempt(NamedTuple):
    """One attempt of a run, and what its first job reports at its end."""

    number: int
    part: _Part
    jobs: tuple[_Execution, ...]
    tests: TestsSpec | None
    coverage: float | None
    benchmarks: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MadeRun:
    """One run with all its attempts; `first` is what was seen of it when it was created."""

    first: PipelineRun
    attempts: tuple[Attempt, ...]

    def instants(self) -> list[datetime]:
        """When something of it changes, in order."""
        parts = [attempt.part for attempt in self.attempts]
        parts += [job.part for attempt in self.attempts for job in attempt.jobs]
        return sorted({at for part in parts for at in part[:3] if at is not None})

    def at(self, at: datetime) -> PipelineRun:
        """The run as a look at that time sees it."""
        begun = [attempt for attempt in self.attempts if attempt.part.created <= at]
        now = begun[-1].part
        state = now.state_at(at)
        return replace(
            self.first,
            state=state,
            started_at=None if state is RunState.PENDING else now.started,
            seen=at,
            outcomes=tuple(_outcome(attempt) for attempt in begun if attempt.part.state_at(at) is RunState.FINISHED),
            jobs=tuple(_job(job, at) for attempt in begun for job in attempt.jobs if job.part.created <= at),
        )

    def ended_at(self, at: datetime) -> Iterator[Attempt]:
        """The attempts that ended at that very time."""
        return (attempt for attempt in self.attempts if attempt.part.ended == at)


def runs_of(spec: RunsSpec, start: datetime, numbers: Iterator[int]) -> Iterator[MadeRun]:
    """The runs of a series, in order; each takes a number, those that are none too."""
    for place, ending in enumerate(endings_of(spec)):
        number = next(numbers)
        if ending is not None:
            created = start + spec.at + place * (spec.every or timedelta(0))
            yield MadeRun(_first(spec, created, number), tuple(_attempts(spec, ending, created, number)))


def _attempts(spec: RunsSpec, ending: Ending, created: datetime, number: int) -> Iterator[Attempt]:
    done: dict[str, int] = {}
    serial = 0
    for place, leg in enumerate(legs_of(spec, ending), 1):
        begun = created + leg.begin
        jobs = []
        for job in leg.jobs:
            for stretch in leg.executions(job):
                done[job.name] = done.get(job.name, 0) + 1
                serial += 1
                jobs.append(_Execution(job, done[job.name], f"{number}.{serial}", _part(begun, stretch)))
        yield Attempt(place, _part(begun, leg.own), tuple(jobs), leg.tests, leg.coverage, leg.benchmarks)


def _part(begun: datetime, stretch: Stretch) -> _Part:
    created = begun + stretch.begin
    started, ended = created + stretch.queued, created + stretch.queued + (stretch.duration or timedelta(0))
    if isinstance(stretch.ending, Result):
        return _Part(created, started, ended, stretch.ending)
    return _Part(created, started if stretch.ending is RunState.RUNNING else None, None, None)


# -------------------------------------------------------------------------------- as the forge shows it


def _first(spec: RunsSpec, created: datetime, number: int) -> PipelineRun:
    at_home = RefType.DEFAULT if spec.branch == spec.default_branch else RefType.BRANCH
    return PipelineRun(
        source=spec.source,
        project=spec.project,
        id=str(number),
        number=str(number),
        workflow=spec.workflow,
        event=spec.event,
        ref_type=spec.ref_type or at_home,
        branch=spec.branch,
        sha=sha1((spec.sha or str(number)).encode(), usedforsecurity=False).hexdigest(),
        title=spec.title,
        web_url=f"https://forge.example/{spec.project}/-/pipelines/{number}",
        state=RunState.PENDING,
        created_at=created,
        started_at=None,
        seen=created,
    )


def _outcome(attempt: Attempt) -> Outcome:
    created, started, ended, result = attempt.part
    if started is None or ended is None or result is None:
        raise ValueError("an attempt that has not ended has no outcome")
    return Outcome(
        attempt=attempt.number,
        result=result,
        started_at=started,
        finished_at=ended,
        duration=ended - started,
        queued=started - created,
    )


def _job(job: _Execution, at: datetime) -> JobRun:
    spec, part = job.spec, job.part
    state = part.state_at(at)
    started = None if state is RunState.PENDING else part.started
    ended = part.ended if state is RunState.FINISHED else None
    return JobRun(
        id=job.id,
        name=spec.name,
        job=job_label(spec.name),
        stage=spec.stage,
        runner=spec.runner,
        state=state,
        result=None if ended is None else part.result,
        attempt=job.number,
        allowed=spec.allowed,
        created_at=part.created,
        started_at=started,
        finished_at=ended,
        duration=None if ended is None or started is None else ended - started,
        queued=None if started is None else started - part.created,
        reason=spec.reason if ended is not None and part.result is not Result.SUCCESS else "",
        web_url=f"https://forge.example/jobs/{job.id}",
    )


def job_label(name: str) -> str:
    """The label `job` of a job's full name: GitLab's ` 3/20` is cut."""
    return _PARALLEL.sub("", name) or name
