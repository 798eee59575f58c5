"""Facts: what a forge said of runs, jobs and projects, and the rows they become in the store."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from k2alert.labels import Labels

__all__ = [
    "NEVER",
    "RESULTS",
    "UNKNOWN",
    "Entry",
    "EntryChange",
    "EntryRow",
    "Event",
    "JobRun",
    "Kind",
    "KnownRun",
    "OpenChange",
    "OpenEntry",
    "Outcome",
    "PipelineRun",
    "Project",
    "ProjectState",
    "RefType",
    "Result",
    "RunState",
    "RunTotal",
    "Stream",
    "code_of",
    "packed",
    "unpacked",
]


class Result(StrEnum):
    """How a finished run or job ended, in OpenTelemetry's CI/CD words (`cicd.pipeline.result`)."""

    SUCCESS = "success"
    FAILURE = "failure"  # the code's fault
    ERROR = "error"  # the CI system's fault
    TIMEOUT = "timeout"
    CANCELLATION = "cancellation"
    SKIP = "skip"

    @property
    def decided(self) -> bool:
        """Whether it says something about the code or the CI system: not cancelled, not skipped."""
        return self not in (Result.CANCELLATION, Result.SKIP)


RESULTS: tuple[Result, ...] = tuple(Result)
"""Results by their code in the store and in `Entry.result`; append only."""


class RunState(StrEnum):
    """Where a run or job stands now."""

    PENDING = "pending"  # waits for the forge or a runner
    RUNNING = "running"
    BLOCKED = "blocked"  # waits for a person (manual, environment protection, schedule) or another run
    FINISHED = "finished"


class RefType(StrEnum):
    """What a run ran for."""

    DEFAULT = "default"  # the project's default branch
    BRANCH = "branch"
    TAG = "tag"
    CHANGE_REQUEST = "change_request"  # merge or pull request, forks too


class Event(StrEnum):
    """What started a run."""

    PUSH = "push"
    SCHEDULE = "schedule"
    CHANGE_REQUEST = "change_request"
    TAG = "tag"
    MANUAL = "manual"
    API = "api"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One finished attempt of a run.

    `attempt` tells the outcomes of one run apart and orders them: GitHub's `run_attempt`; GitLab has none,
    so its `finished_at` in whole seconds since the epoch (its GraphQL cuts the milliseconds that REST shows).
    `duration` and `queued` are None where the forge does not say.
    """

    attempt: int
    result: Result
    started_at: datetime | None
    finished_at: datetime
    duration: timedelta | None
    queued: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One execution of one job. `id` is the forge's; a retried job is another JobRun of the same `name`.

    `name` is the forge's full name (`test 3/20`); the label `job` is cut from it (`test`).
    `attempt` 0 is not known: a webhook told of it, which says neither that nor `runner`.
    `stage` is "" where the forge has none; `runner` joins the sorted tags or labels asked for with ",".
    `allowed` marks a job whose failure the project allows. `reason` is the forge's failure reason or "".
    """

    id: str
    name: str
    job: str
    stage: str
    runner: str
    state: RunState
    result: Result | None
    attempt: int
    allowed: bool
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    duration: timedelta | None
    queued: timedelta | None
    reason: str
    web_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """One run of a pipeline or workflow as one look at the forge saw it.

    `state` is the run's present state; `outcomes` are the finished attempts that this look learned of (usually
    the latest; earlier ones when they were fetched too). A run that goes again after finishing has state
    RUNNING and no new outcome: outcomes already recorded stay. `jobs` are the job executions learned of, of
    any attempt. `seen` orders two looks at one run: the forge's `updated_at`; an older look changes nothing.
    """

    source: str
    project: str
    id: str
    number: str
    workflow: str
    event: Event
    ref_type: RefType
    branch: str
    sha: str
    title: str
    web_url: str
    state: RunState
    created_at: datetime
    started_at: datetime | None
    seen: datetime
    outcomes: tuple[Outcome, ...] = ()
    jobs: tuple[JobRun, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project (repository) as the forge names it, and how far it has been read.

    `key` is what the configuration calls it (a path or a number), `path` what the forge calls it (the label
    `project`). `cursor`: every change before it has been read. `covered_since`: history is complete from here
    on; None until the first backfill ended. `complete_at`: the last time a look reached its end.
    `success_at`: the last time the forge gave a usable answer. `failure`: why the last look failed, "" if it
    did not; `forbidden`: that failure was a 401, 403 or 404. `failures` counts looks failed in a row.
    """

    source: str
    key: str
    path: str
    forge_id: str = ""
    default_branch: str = ""
    web_url: str = ""
    first_seen_at: datetime
    cursor: datetime | None = None
    covered_since: datetime | None = None
    complete_at: datetime | None = None
    success_at: datetime | None = None
    swept_at: datetime | None = None
    failure: str = ""
    forbidden: bool = False
    failures: int = 0


class ProjectState(StrEnum):
    """What `k2alert_projects{state}` counts."""

    OK = "ok"
    STALE = "stale"
    FORBIDDEN = "forbidden"
    BACKFILLING = "backfilling"


class KnownRun(NamedTuple):
    """What the store knows of a run, for a collector to tell what is new."""

    seen: datetime
    attempt: int  # the latest finished attempt recorded, 0 for none
    state: RunState


class RunTotal(NamedTuple):
    """How many finished attempts were ever recorded, and how long those took whose duration is known."""

    source: str
    project: str
    ref_type: RefType
    result: Result
    runs: int
    duration_ms: int
    timed_runs: int


# ------------------------------------------------------------------------ recorded rows for `measure`


class Kind(StrEnum):
    """Which facts a stream or an entry is about."""

    RUN = "run"
    JOB = "job"
    TEST = "test"
    COVERAGE = "coverage"
    BENCHMARK = "benchmark"
    DEPLOYMENT = "deployment"
    SCHEDULE = "schedule"

    @property
    def of_runs(self) -> bool:
        """Whether its rows are `Entry`s: attempts of runs, or executions of jobs. Others are `FactEntry`s."""
        return self in (Kind.RUN, Kind.JOB)


class Stream(NamedTuple):
    """All facts of one kind with the same labels (but `result`). The store numbers them.

    Labels of a run: source, project, ref_type, branch, event, workflow; of a job also stage, job, runner; of a test,
    coverage or benchmark report those of its run with stage and job; of a deployment also environment and
    environment_tier; of a schedule source, project, branch, workflow, schedule.
    """

    id: int
    kind: Kind
    labels: Labels


class Entry(NamedTuple):
    """One finished attempt of a run, or one finished job execution, as `measure` counts it.

    Times and lengths are whole milliseconds. It counts at t iff finished <= t and (superseded is None or
    t < superseded): `superseded` is when the next attempt of the same run (the next execution of the same
    job name of the same run) finished.
    """

    stream: int
    ref: int  # the store's number for this row: orders equals, and finds the evidence
    created: int  # of the run, for both kinds
    finished: int
    superseded: int | None
    result: int  # index in RESULTS
    duration: int | None
    queued: int | None
    allowed: bool  # a job whose failure is allowed
    retry: bool  # not the first attempt


NEVER = 2**63 - 1
"""When an entry is superseded that is not: the last millisecond of a signed 64-bit clock."""

UNKNOWN = -1
"""Stands for a length that the forge does not say; any length below zero is taken as one."""


_RESULT, _ALLOWED, _RETRY = 7, 8, 16


def code_of(result: int, allowed: int, retry: int) -> int:
    """The byte that stands for how a row ended: an index in `RESULTS`, and two flags beside its three bits."""
    return result | allowed * _ALLOWED | retry * _RETRY


EntryRow = tuple[int, int | None, int, int, int, int, int, int]
"""An `Entry` as a start reads it, by the million: its stream, superseded, ref, finished, how long before that it was
created, duration, queued (`UNKNOWN` for what is not known) and code.
"""


def packed(entry: Entry) -> EntryRow:
    """An entry as a row."""
    return (
        entry.stream,
        entry.superseded,
        entry.ref,
        entry.finished,
        entry.finished - entry.created,
        UNKNOWN if entry.duration is None else entry.duration,
        UNKNOWN if entry.queued is None else entry.queued,
        code_of(entry.result, entry.allowed, entry.retry),
    )


def unpacked(row: EntryRow) -> Entry:
    """The entry that a row stands for."""
    stream, superseded, ref, finished, age, duration, queued, code = row
    return Entry(
        stream,
        ref,
        finished - age,
        finished,
        superseded,
        code & _RESULT,
        None if duration < 0 else duration,
        None if queued < 0 else queued,
        allowed=bool(code & _ALLOWED),
        retry=bool(code & _RETRY),
    )


class OpenEntry(NamedTuple):
    """A run or job that is not finished. Times in milliseconds."""

    stream: int
    key: str  # unique among the open ones of its kind
    state: RunState
    created: int
    started: int | None


class EntryChange(NamedTuple):
    """A recorded row that came, went or changed; `measure` removes `old` and inserts `new`."""

    kind: Kind
    old: Entry | None
    new: Entry | None


class OpenChange(NamedTuple):
    """An open run or job that came, changed or ended (`new` None)."""

    kind: Kind
    key: str
    new: OpenEntry | None
