"""Reports: what a job wrote down beside its result (tests, coverage, benchmarks), deployments, and schedules.

A report belongs to one execution of a job. Its labels and its commit are those of its run, so the run is recorded
first; a report of a run that is not recorded is none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from k2alert.model.facts import RefType, Result, RunState

__all__ = [
    "BenchmarkPoint",
    "BenchmarkReport",
    "CoverageKind",
    "CoverageReport",
    "Deployment",
    "Execution",
    "Fact",
    "NameOfTest",
    "Schedule",
    "Schedules",
    "TestCase",
    "TestReport",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Which execution of which job wrote a report.

    `run` is the forge's id of the run, `attempt` the run's attempt where the forge counts them. `id` is the forge's id
    of the job execution, "" where it is not known; `name` the forge's full name of the job (`test 3/20`), `job` the
    label cut from it (`test`). Where reports belong to a run and not to a job (artifacts of GitHub), `name` is what
    tells one from the other there, and `job` the same. `finished_at`: when the execution ended; the report counts
    from then on.
    """

    source: str
    project: str
    run: str
    attempt: int = 1
    id: str = ""
    name: str = ""
    job: str = ""
    stage: str = ""
    finished_at: datetime


class NameOfTest(NamedTuple):
    """What tells a test from the others of its job."""

    suite: str
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCase:
    """A test that did not simply pass. All text is the report's: escape it wherever it is shown.

    `failures` of its `executions` in this report failed (errors too); both are given where the report holds the test
    more than once. `flaky`: the report itself says that it failed and then passed, in whatever number (surefire's
    `flakyFailure`). `message` is cut by whoever reads the report, and by the store once more.
    """

    __test__ = False  # for pytest, which takes the name for one of its own

    suite: str
    test: str
    file: str = ""
    executions: int = 1
    failures: int = 1
    flaky: bool = False
    duration: timedelta | None = None
    message: str = ""

    @property
    def both(self) -> bool:
        """Whether it both failed and passed in this report."""
        return self.flaky or 0 < self.failures < self.executions


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """The tests of one job execution, all its report files taken together.

    `total` counts every testcase, `failed` failures and errors, `skipped` those that were not executed. `named`: every
    test executed is named, in `passed` (once for each time it was executed) or in `cases` (once each); where only
    totals were read it is False and both are empty. A report that is not named never replaces one that is.
    """

    __test__ = False

    by: Execution
    total: int
    failed: int
    skipped: int = 0
    duration: timedelta | None = None
    named: bool = False
    cases: tuple[TestCase, ...] = ()
    passed: tuple[NameOfTest, ...] = ()


class CoverageKind(StrEnum):
    """What a percentage is of; numbers of different kinds are never compared."""

    LINES = "lines"  # a report file: lines covered / lines valid
    FORGE = "forge"  # the number that GitLab found in a job's log, or the mean of those


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """How much of the code one job execution covered.

    `percent` and `branch_percent` are 0 to 100. `files` are the source files it holds, by which an upload of a part
    is told from a whole one; empty where they are not known, and then it is taken as whole.
    """

    by: Execution
    kind: CoverageKind = CoverageKind.LINES
    percent: float
    branch_percent: float | None = None
    lines_covered: int | None = None
    lines_valid: int | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPoint:
    """One measurement of one benchmark. `spread` is the standard deviation over `rounds`, in the unit of `value`."""

    name: str
    value: float
    unit: str = ""
    lower_is_better: bool = True
    spread: float | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """What one job execution measured; `cpu` is the processor's name as the report gives it, or ""."""

    by: Execution
    points: tuple[BenchmarkPoint, ...]
    cpu: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment to one environment as one look at the forge saw it.

    `tier` is the environment's (production, staging, testing, development, other), "" where the forge has none. `run`
    is the forge's id of the run that deployed, "" where none did; its labels go before `branch` and `ref_type`.
    `committed_at`: when the commit was made, where it is known. `seen` orders two looks: the forge's `updated_at`.
    """

    source: str
    project: str
    id: str
    environment: str
    tier: str = ""
    state: RunState
    result: Result | None = None
    sha: str = ""
    run: str = ""
    branch: str = ""
    ref_type: RefType | None = None
    created_at: datetime
    finished_at: datetime | None = None
    committed_at: datetime | None = None
    web_url: str = ""
    seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a project's runs should start by themselves.

    `cron` has five fields, `timezone` is an IANA name. `branch` and `ref_type` are the labels of what it runs,
    `workflow` too (None: runs of any workflow, for GitLab's schedules name none). `since`: when it was made or last
    changed; nothing was due before. `delay`: how late the forge may start a run and still be on time. `last_run_at`:
    when the forge says that it last started one, where it says so.
    """

    id: str
    name: str
    cron: str
    timezone: str = "UTC"
    branch: str
    ref_type: RefType = RefType.DEFAULT
    workflow: str | None = None
    active: bool = True
    since: datetime
    delay: timedelta = timedelta(minutes=15)
    last_run_at: datetime | None = None
    web_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """All schedules of a project, as they were at `seen`: one that is missing is gone.

    A schedule counts from when it was first seen: what it started before may not have been read.
    """

    source: str
    project: str
    seen: datetime
    schedules: tuple[Schedule, ...]


Fact = TestReport | CoverageReport | BenchmarkReport | Deployment | Schedules
"""What is recorded beside runs and jobs."""
