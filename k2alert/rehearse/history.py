"""Makes up a believable week of CI: a seed and a moment come in, pipelines for the stand-in GitLab go out.

People push in working hours, merge requests are tried several times, the default branch is mostly green, schedules
run at night; lengths are lognormal, some jobs fail, are retried or cancelled, and some runners break. Pure: the same
seed and moment make the same week.

The default branches were green for the last day, so that an ordinary rule is calm when a story begins.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from itertools import count, groupby
from math import exp
from random import Random
from typing import NamedTuple

from k2alert.rehearse.gitlab_standin_json import StandinJob, StandinPipeline
from k2alert.rehearse.shapes import PROJECTS, Shape, Step

__all__ = ["Fate", "Start", "make_history", "stretch"]

WEEK = timedelta(days=8)  # a little more than a week, so that a window of 7 d is full
AHEAD = timedelta(hours=2)  # life goes on for those who watch longer
_CALM = timedelta(hours=26)

# How busy the hours of a day are; a day at the weekend is one seventh of a working day.
_HOURS = (0, 0, 0, 0, 0, 1, 3, 7, 12, 14, 14, 12, 8, 11, 13, 13, 11, 7, 4, 3, 2, 2, 1, 0)
_WEEKEND = 1 / 7
_SPREAD = 0.18  # sigma of the lognormal lengths
_VERBS = ("Simplify", "Fix", "Speed up", "Test", "Rework", "Document", "Upgrade", "Log", "Untangle", "Clean up")


class Fate(NamedTuple):
    """What becomes of a pipeline: its status in the end, decided at the job `at`.

    `reason` is GitLab's failure reason. A job named `retried` fails once and succeeds when it is run again.
    `slow` makes everything take so many times as long.
    """

    status: str = "success"
    at: str = ""
    reason: str = "script_failure"
    retried: str = ""
    slow: float = 1.0


class Start(NamedTuple):
    """A pipeline that starts. Without a fate, chance decides."""

    at: datetime
    path: str
    ref: str
    source: str
    title: str
    fate: Fate | None = None
    tag: bool = False


def make_history(
    seed: int,
    *,
    now: datetime,
    local_now: datetime | None = None,
    given: Sequence[Start] = (),
    shapes: Sequence[Shape] = PROJECTS,
) -> dict[Start, StandinPipeline]:
    """The pipelines of the week before `now` and of the two hours after it, in the order of their creation.

    `local_now` is what calendar and clock show at `now` where these people work, `now` itself unless given. `given`
    are pipelines of a story among them: a default branch in a story sees no others from its beginning on.
    """
    chance = Random(seed)  # noqa: S311 - made-up history, no secret
    by_path = {shape.path: shape for shape in shapes}
    there = local_now or now
    local = [start for shape in shapes for start in _starts(shape, chance, there)]
    made_up = [start._replace(at=start.at + (now - there)) for start in local]
    starts = sorted([*_without(made_up, given), *given], key=lambda start: start.at)
    numbers = _Numbers()
    calm_since = now - _CALM
    return {start: _build(start, by_path[start.path], chance, numbers, calm_since) for start in starts}


def stretch(pipeline: StandinPipeline, *, finished_at: datetime) -> StandinPipeline:
    """The same pipeline with everything after its creation faster or slower, so that it finishes at a moment."""
    created = pipeline.created_at
    if pipeline.finished_at is None:
        return pipeline
    factor = (finished_at - created) / (pipeline.finished_at - created)

    def move(at: datetime | None) -> datetime | None:
        return None if at is None else created + (at - created) * factor

    jobs = tuple(
        replace(
            job,
            created_at=created + (job.created_at - created) * factor,
            started_at=move(job.started_at),
            finished_at=move(job.finished_at),
        )
        for job in pipeline.jobs
    )
    return replace(pipeline, started_at=move(pipeline.started_at), finished_at=finished_at, jobs=jobs)


# --------------------------------------------------------------------------------------- when they start


def _without(made_up: Iterable[Start], given: Sequence[Start]) -> Iterator[Start]:
    """What chance made, save on the branches that a story needs for itself."""
    begins: dict[tuple[str, str], datetime] = {}
    for start in given:
        begins[start.path, start.ref] = min(start.at, begins.get((start.path, start.ref), start.at))
    for start in made_up:
        begin = begins.get((start.path, start.ref))
        if begin is None or start.at < begin:
            yield start


def _starts(shape: Shape, chance: Random, now: datetime) -> Iterator[Start]:
    first, end = now - WEEK, now + AHEAD
    for at in _moments(chance, shape.a_day, first, end):
        yield _push(shape, chance, at, hours=int((at - first) / timedelta(hours=1)))
    for night in range(WEEK.days + 1):
        day = (first + timedelta(days=night)).date()
        at = datetime.combine(day, time(2, 0, 7), now.tzinfo)
        if shape.nightly and first <= at < end:
            yield Start(at, shape.path, shape.default_branch, "schedule", "Nightly")
        noon = datetime.combine(day, time(12, 30), now.tzinfo)
        if shape.weekly_tag and day.weekday() == 2 and first <= noon < end:
            yield Start(noon, shape.path, f"v{day:%Y.%W}", "push", f"Release {day:%Y.%W}", tag=True)


def _moments(chance: Random, a_day: float, first: datetime, end: datetime) -> Iterator[datetime]:
    """A Poisson process whose rate follows the working day, by thinning one of the highest rate."""
    an_hour = a_day / sum(_HOURS) * max(_HOURS)
    at = first
    while (at := at + timedelta(hours=chance.expovariate(an_hour))) < end:
        if chance.random() * max(_HOURS) < _busy(at):
            yield at


def _busy(at: datetime) -> float:
    return _HOURS[at.hour] * (_WEEKEND if at.weekday() >= 5 else 1)


def _push(shape: Shape, chance: Random, at: datetime, hours: int) -> Start:
    title = f"{chance.choice(_VERBS)} {chance.choice(shape.things)}"
    kind = chance.random()
    if kind < 0.45:
        return Start(at, shape.path, shape.default_branch, "push", f"Merge: {title}")
    if kind < 0.85:
        number = 300 + hours // 4 + chance.randrange(5)
        return Start(at, shape.path, f"refs/merge-requests/{number}/head", "merge_request_event", title)
    return Start(at, shape.path, f"try/{title.split()[-1].lower()}-{hours // 8}", "push", title)


# ---------------------------------------------------------------------------------- what becomes of them


@dataclass(slots=True)
class _Numbers:
    """Ids as a forge gives them: rising with every creation."""

    pipelines: Iterator[int] = field(default_factory=lambda: count(48_211))
    jobs: Iterator[int] = field(default_factory=lambda: count(391_504))
    iids: dict[str, int] = field(default_factory=dict)

    def next_iid(self, path: str) -> int:
        self.iids[path] = self.iids.get(path, 2000) + 1
        return self.iids[path]


def _fate(chance: Random, steps: Sequence[Step], *, default: bool, calm: bool) -> Fate:
    """Work in progress fails often, the default branch seldom, and not at all while it must be calm."""
    lot = chance.random() / (0.2 if default else 1)
    at = chance.choice(steps)
    if lot < 0.13 and not calm and not at.allow_failure:
        return Fate("failed", at.name)
    if lot < 0.14 and not calm:
        return Fate("failed", at.name, "runner_system_failure")
    if lot < 0.21 and not default:
        return Fate("canceled", at.name)
    return Fate(retried=at.name) if chance.random() < 0.03 else Fate()


def _build(start: Start, shape: Shape, chance: Random, numbers: _Numbers, calm_since: datetime) -> StandinPipeline:
    steps = shape.steps_on(start.ref)
    default = start.ref == shape.default_branch
    drawn = _fate(chance, steps, default=default, calm=default and start.at >= calm_since)
    fate = drawn if start.fate is None else start.fate
    number, iid = next(numbers.pipelines), numbers.next_iid(start.path)
    jobs = _run(start.at, steps, fate, chance, numbers)
    return StandinPipeline(
        id=number,
        iid=iid,
        created_at=start.at,
        started_at=min((job.started_at for job in jobs if job.started_at), default=None),
        finished_at=max(job.finished_at for job in jobs if job.finished_at),
        status=fate.status,
        ref=start.ref,
        tag=start.tag,
        source=start.source,
        sha=f"{chance.getrandbits(160):040x}",
        title=start.title,
        jobs=tuple(jobs),
    )


def _run(at: datetime, steps: Sequence[Step], fate: Fate, chance: Random, numbers: _Numbers) -> list[StandinJob]:
    """All job executions: the jobs of a stage together, one stage after the other, until the fate is met."""
    runner = _Runner(fate, chance, numbers)
    for _, stage in groupby(steps, key=lambda step: step.stage):
        at = runner.run_stage(tuple(stage), at)
    return runner.jobs


@dataclass(slots=True)
class _Runner:
    """Runs the jobs of one pipeline; `over` once its fate has been met."""

    fate: Fate
    chance: Random
    numbers: _Numbers
    jobs: list[StandinJob] = field(default_factory=list)
    over: bool = False

    def run_stage(self, steps: Sequence[Step], at: datetime) -> datetime:
        """The jobs of a stage that can start at a moment; when the last of them is done."""
        met = any(step.name == self.fate.at for step in steps)
        ran = [self._leave(step, at) if self.over else self._run_step(step, at) for step in steps]
        self.over = self.over or met
        if met and self.fate.status == "canceled":
            self._cancel(at)
        return max(job.finished_at or at for jobs in ran for job in jobs)

    def _run_step(self, step: Step, at: datetime) -> list[StandinJob]:
        jobs = [self._execute(step, name, at) for name in _names(step)]
        self.jobs += jobs
        if step.name == self.fate.at and self.fate.status == "failed":
            self._change_last(status="failed", failure_reason=self.fate.reason)
        if step.name == self.fate.retried:
            self._change_last(status="failed")
            first = self.jobs[-1]
            again = self._execute(step, first.name, (first.finished_at or at) + timedelta(minutes=1))
            self.jobs.append(again)
            jobs = [*jobs, again]
        return jobs

    def _change_last(self, *, status: str, failure_reason: str = "script_failure") -> None:
        self.jobs[-1] = replace(self.jobs[-1], status=status, failure_reason=failure_reason)

    def _execute(self, step: Step, name: str, at: datetime) -> StandinJob:
        waited = timedelta(seconds=1 + 6 * self._vary() ** 3)
        minutes = min(step.usual * self._vary(), step.most) * self.fate.slow
        started = at + waited
        return self._job(step, name, at, started_at=started, finished_at=started + timedelta(minutes=minutes))

    def _leave(self, step: Step, at: datetime) -> list[StandinJob]:
        """Jobs whose turn never comes."""
        if self.fate.status == "canceled":
            left = [self._job(step, name, at, finished_at=at, status="canceled") for name in _names(step)]
        else:
            left = [self._job(step, name, at, status="skipped") for name in _names(step)]
        self.jobs += left
        return left

    def _cancel(self, at: datetime) -> None:
        """Somebody stops the stage that began at a moment, before the last of its jobs is done."""
        stage = [(place, job, job.finished_at) for place, job in enumerate(self.jobs) if job.created_at >= at]
        done = max(finished for _, _, finished in stage if finished)
        moment = at + (done - at) * (0.2 + 0.7 * self.chance.random())
        for place, job, finished in stage:
            if finished is not None and finished > moment:
                started = job.started_at if job.started_at is not None and job.started_at < moment else None
                self.jobs[place] = replace(job, status="canceled", started_at=started, finished_at=moment)

    def _job(self, step: Step, name: str, at: datetime, **more: object) -> StandinJob:
        fixed: dict[str, object] = {"allow_failure": step.allow_failure, "tags": step.tags, "stage": step.stage}
        return StandinJob(id=next(self.numbers.jobs), name=name, created_at=at, **fixed, **more)  # type: ignore[arg-type]

    def _vary(self) -> float:
        return exp(self.chance.gauss(0.0, _SPREAD))


def _names(step: Step) -> list[str]:
    """GitLab's names of the executions of a parallel job."""
    if step.parallel == 1:
        return [step.name]
    return [f"{step.name} {part}/{step.parallel}" for part in range(1, step.parallel + 1)]
