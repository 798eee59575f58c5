"""Looks at runs with sensible defaults; a test names only what it is about. Times are minutes after T0."""

from datetime import UTC, datetime, timedelta

from k2alert.model import Event, JobRun, Outcome, PipelineRun, RefType, Result, RunState
from k2alert.times import to_ms

T0 = datetime(2026, 3, 2, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def ms(minutes: float) -> int:
    return to_ms(at(minutes))


def outcome(finished: float, result: Result = Result.SUCCESS, *, attempt: int = 1, took: float = 5) -> Outcome:
    return Outcome(
        attempt=attempt,
        result=result,
        started_at=at(finished - took),
        finished_at=at(finished),
        duration=timedelta(minutes=took),
        queued=timedelta(seconds=30),
    )


def job(
    name: str = "test",
    finished: float | None = None,
    result: Result | None = None,
    *,
    id: str = "501",
    state: RunState | None = None,
    attempt: int = 1,
    allowed: bool = False,
    reason: str = "",
    runner: str = "linux",
) -> JobRun:
    return JobRun(
        id=id,
        name=name,
        job=name.split(" ")[0],
        stage="check",
        runner=runner,
        state=state or (RunState.FINISHED if finished is not None else RunState.PENDING),
        result=result or (Result.SUCCESS if finished is not None else None),
        attempt=attempt,
        allowed=allowed,
        created_at=at(0),
        started_at=None if finished is None else at(finished - 2),
        finished_at=None if finished is None else at(finished),
        duration=None if finished is None else timedelta(minutes=2),
        queued=None if finished is None else timedelta(seconds=10),
        reason=reason,
        web_url=f"https://gitlab.example.com/k2/app/-/jobs/{id}",
    )


def run(
    id: str = "9001",
    *,
    seen: float = 0,
    created: float = 0,
    state: RunState | None = None,
    outcomes: tuple[Outcome, ...] = (),
    jobs: tuple[JobRun, ...] = (),
    source: str = "gitlab",
    project: str = "k2/app",
    branch: str = "main",
    ref_type: RefType = RefType.DEFAULT,
    event: Event = Event.PUSH,
    workflow: str = "",
    title: str = "Fix the roof",
    sha: str = "4f" * 20,
    number: str = "17",
) -> PipelineRun:
    return PipelineRun(
        source=source,
        project=project,
        id=id,
        number=number,
        workflow=workflow,
        event=event,
        ref_type=ref_type,
        branch=branch,
        sha=sha,
        title=title,
        web_url=f"https://gitlab.example.com/{project}/-/pipelines/{id}",
        state=state or (RunState.FINISHED if outcomes else RunState.RUNNING),
        created_at=at(created),
        started_at=at(created + 1),
        seen=at(seen),
        outcomes=outcomes,
        jobs=jobs,
    )


def finished_run(id: str, finished: float, result: Result = Result.SUCCESS, **more: object) -> PipelineRun:
    """A run that was created five minutes before, finished, and was seen right then."""
    shape = {"seen": finished, "created": finished - 5, "outcomes": (outcome(finished, result),), **more}
    return run(id, **shape)  # type: ignore[arg-type]
