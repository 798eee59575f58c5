"""What a series of runs comes to, in lengths of time: its attempts and the executions of its jobs; and what cannot be.

A series that a person wrote comes in; legs go out, one for each attempt of a run, with times counted from its creation.
A job whose beginning is not written ends with its run, its executions one after the other before that. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from k2alert.model import Result, RunState
from k2alert.rehearse.rule_test_given import LONGEST_TEST, RESULT_LETTERS, JobSpec, RerunSpec, RunsSpec, TestsSpec
from k2alert.times import format_duration

__all__ = ["Ending", "Leg", "Stretch", "endings_of", "impossible", "legs_of"]

Ending = Result | RunState
"""How something ended, or the state in which it stands for good."""

Path = tuple[str | int, ...]

_NONE = timedelta(0)
_WORDS: Mapping[str, Ending] = {
    **{result.value: result for result in Result},
    "running": RunState.RUNNING,
    "pending": RunState.PENDING,
}


class Stretch(NamedTuple):
    """A stretch of waiting, and one of running; without a `duration` it has no end."""

    begin: timedelta
    queued: timedelta
    duration: timedelta | None
    ending: Ending


@dataclass(frozen=True, slots=True)
class Leg:
    """One attempt of a run. `begin` counts from the run's creation; `path` is where its jobs are written."""

    path: Path
    begin: timedelta
    length: timedelta
    queued: timedelta
    ending: Ending
    jobs: tuple[JobSpec, ...]
    tests: TestsSpec | None
    coverage: float | None
    benchmarks: Mapping[str, float]

    @property
    def is_open(self) -> bool:
        """Whether it has no end."""
        return isinstance(self.ending, RunState)

    @property
    def own(self) -> Stretch:
        """Its own waiting and running; the waiting is a part of its length."""
        return Stretch(_NONE, self.queued, self.length - self.queued, self.ending)

    def executions(self, job: JobSpec) -> Iterator[Stretch]:
        """The executions of a job, counted from the beginning of the leg."""
        endings = self._endings(job)
        duration = self._duration(job, len(endings))
        each = job.queued + (duration or _NONE)
        begin = job.at if job.at is not None else _NONE if self.is_open else self.length - len(endings) * each
        for place, ending in enumerate(endings):
            yield Stretch(begin + place * each, job.queued, duration, ending)

    def wrong(self, job: JobSpec) -> str | None:
        """Why the job cannot be as it is written."""
        endings = self._endings(job)
        stands = any(isinstance(ending, RunState) for ending in endings)
        if self.is_open:
            if self.ending is RunState.PENDING and any(ending is not RunState.PENDING for ending in endings):
                return "its run is pending, so it can only be pending"
            if job.duration is None and (len(endings) > 1 or not stands):
                return "needs its `duration`, for its run has not ended"
            return None
        if stands:
            return "its run has ended, so it cannot be running or pending"
        duration = self._duration(job, len(endings))
        took = (job.at or _NONE) + len(endings) * (job.queued + max(duration or _NONE, _NONE))
        return f"ends {format_duration(took - self.length)} after its run" if took > self.length else None

    def _endings(self, job: JobSpec) -> list[Ending]:
        if job.results is not None:
            return [found for letter in job.results if (found := RESULT_LETTERS[letter]) is not None]
        if job.result is not None:
            return [_WORDS[job.result]]
        done = self.ending is RunState.RUNNING and job.duration is not None
        return [Result.SUCCESS if done else self.ending]

    def _duration(self, job: JobSpec, executions: int) -> timedelta | None:
        if job.duration is not None or self.is_open:
            return job.duration
        return (self.length - (job.at or _NONE)) // executions - job.queued


def endings_of(spec: RunsSpec) -> list[Ending | None]:
    """How each run of a series ended; None is no run."""
    if spec.results is not None:
        return [RESULT_LETTERS[letter] for letter in spec.results]
    return [_WORDS[spec.result or "success"]]


def legs_of(spec: RunsSpec, ending: Ending) -> Iterator[Leg]:
    """The attempts of a run of the series whose first attempt ended so."""
    said = spec.tests, spec.coverage, spec.benchmarks
    leg = Leg((), _NONE, spec.duration, spec.queued, ending, spec.jobs, *said)
    yield leg
    for place, rerun in enumerate(spec.reruns):
        leg = _next(leg, rerun, spec, ("reruns", place))
        yield leg


def _next(leg: Leg, rerun: RerunSpec, spec: RunsSpec, path: Path) -> Leg:
    length = spec.duration if rerun.duration is None else rerun.duration
    jobs = tuple(_again(leg, length)) if rerun.jobs is None else rerun.jobs
    begin = leg.begin + leg.length + rerun.after
    said = rerun.tests, rerun.coverage, rerun.benchmarks
    return Leg(path, begin, length, rerun.queued, _WORDS[rerun.result], jobs, *said)


def _again(leg: Leg, length: timedelta) -> Iterator[JobSpec]:
    """The jobs that were not successful, or else all of them, to be gone through once more within a length of time."""
    red = [job for job in leg.jobs if [*leg.executions(job)][-1].ending is not Result.SUCCESS]
    for job in red or leg.jobs:
        fits = job.queued + (job.duration or _NONE) <= length
        room = {} if fits else {"duration": None, "queued": _NONE}
        yield job.model_copy(update={"result": None, "results": None, "at": None, **room})


def impossible(spec: RunsSpec) -> Iterator[tuple[Path, str]]:
    """What cannot be of a series, each with its place inside it."""
    last = spec.at + (len(endings_of(spec)) - 1) * (spec.every or _NONE)
    if last > LONGEST_TEST:
        yield ("every",), "every: the last run would come after ten years: longer is no test"
        return
    said: dict[tuple[Path, str], None] = {}
    for ending in dict.fromkeys(ending for ending in endings_of(spec) if ending is not None):
        said.update(dict.fromkeys(_impossible(spec, ending)))
    yield from said


def _impossible(spec: RunsSpec, ending: Ending) -> Iterator[tuple[Path, str]]:
    before: Leg | None = None
    for leg in legs_of(spec, ending):
        if before is not None and before.is_open:
            yield leg.path, "what has not ended cannot go again"
            return
        if leg.queued > leg.length:
            yield (*leg.path, "queued"), "queued: longer than the duration, which it is a part of"
        written = leg.path == () or spec.reruns[int(leg.path[-1])].jobs is not None
        wrong = list(_wrong_jobs(leg)) if written else []
        yield from wrong
        if wrong:  # what goes again after that is anybody's guess
            return
        before = leg


def _wrong_jobs(leg: Leg) -> Iterator[tuple[Path, str]]:
    names: set[str] = set()
    for place, job in enumerate(leg.jobs):
        path = (*leg.path, "jobs", place)
        if job.name in names:
            yield (*path, "name"), 'name: the job is there twice; a retry is written as `results: "-+"`'
        names.add(job.name)
        text = leg.wrong(job)
        if text is not None:
            yield path, f"jobs[{place}]: {text}"
