"""Entries: recorded reports, deployments and schedules as compact rows, the way `measure` takes them.

Times and lengths are whole milliseconds. Tests and source files are numbered per project, so a set of them is one
whole number whose bits say which are in it: to join two sets is one instruction, and 10,000 tests take 1,250 bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from k2alert.model.facts import EntryChange, Kind, OpenChange, Stream

__all__ = [
    "BenchmarkEntry",
    "CoverageEntry",
    "DeploymentEntry",
    "FactChange",
    "FactEntry",
    "NamedTest",
    "ReportEntry",
    "Saved",
    "ScheduleEntry",
]


class ReportEntry(NamedTuple):
    """One test report. `executed` leaves out skipped tests; `failed` of them failed.

    `ran`, `failing` (failed at least once) and `mixed` (failed and passed) are sets of test numbers, all empty unless
    `named`. `repeats`: number, executions and failures of each test that was executed more than once.
    """

    stream: int
    ref: int
    finished: int
    executed: int
    failed: int
    sha: bytes
    named: bool
    ran: int
    failing: int
    mixed: int
    repeats: tuple[tuple[int, int, int], ...]
    duration: int | None = None  # of all tests together


class CoverageEntry(NamedTuple):
    """One coverage report. `forge`: the forge's own number; `files`: the set of files it holds, 0 where not known."""

    stream: int
    ref: int
    finished: int
    run: int
    forge: bool
    percent: float
    files: int


class DeploymentEntry(NamedTuple):
    """One finished deployment. `result` is an index into RESULTS; `since`: when what it brought was committed."""

    stream: int
    ref: int
    finished: int
    created: int
    result: int
    since: int


class ScheduleEntry(NamedTuple):
    """One active schedule. `finished` is when it began to count, for it sorts as the others do."""

    stream: int
    ref: int
    finished: int
    cron: str
    timezone: str
    any_workflow: bool
    delay: int
    last_run: int | None


class BenchmarkEntry(NamedTuple):
    """One measurement of a benchmark. `ref` is its report's number, which all measurements of the report share."""

    stream: int
    ref: int
    finished: int
    sha: bytes
    benchmark: str
    value: float
    unit: str
    lower_is_better: bool
    spread: float | None
    cpu: str


FactEntry = ReportEntry | CoverageEntry | DeploymentEntry | ScheduleEntry | BenchmarkEntry


class FactChange(NamedTuple):
    """A recorded fact that came, went or changed; `measure` removes `old` and inserts `new`."""

    kind: Kind
    old: FactEntry | None
    new: FactEntry | None


class NamedTest(NamedTuple):
    """What a test's number stands for from now on; a number whose test was forgotten is given again."""

    source: str
    project: str
    number: int
    suite: str
    test: str


class Saved(NamedTuple):
    """What one save really changed. Streams come before the entries that use them; those in `gone` are forgotten."""

    streams: Sequence[Stream] = ()
    entries: Sequence[EntryChange] = ()
    opens: Sequence[OpenChange] = ()
    facts: Sequence[FactChange] = ()
    tests: Sequence[NamedTest] = ()
    gone: Sequence[int] = ()
