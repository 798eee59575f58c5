"""The flaky tests one by one: when each was flaky first and last, how often it fails, and whether it is over.

A ledger of test reports comes in, one line for each flaky test of each job out. What makes a test flaky is what
`executions` says of it; here it is said of every test by itself.

Where nobody runs a job twice on one commit, none can be found so. For that there are *suspects*: tests that failed at
least `_EPISODES` times on a branch, each time for at most `_SHORT` reports in a row, with passes before and after.
A test that is broken and mended again as often looks the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from k2alert.measure.executions import Group, group_of, is_burst
from k2alert.measure.ledger import Ledger, Place
from k2alert.model import ReportEntry, Window

__all__ = ["FlakyTest", "find_flaky", "find_suspects"]

_EPISODES = 3
_SHORT = 2

Key = tuple[Place, str, str, int]
"""A project, a workflow, a job, and a test's number."""


@dataclass(frozen=True, slots=True)
class FlakyTest:
    """A test that was flaky in one job. Times are in milliseconds.

    `commits`: on how many it failed and passed. It `failed` so many of the `executed` times in the window. `report` is
    the newest one in which it failed on such a commit; after `last` it passed in `clean` reports and failed in none,
    or `clean` is 0.
    """

    place: Place
    workflow: str
    job: str
    number: int
    commits: int
    executed: int
    failed: int
    first: int
    last: int
    report: int
    clean: int
    suspect: bool = False  # it was never seen with both outcomes on one commit

    @property
    def rate(self) -> float:
        """Failures / executions."""
        return self.failed / self.executed if self.executed else 0.0


def find_flaky(ledger: Ledger, window: Window, at: int, counts: Callable[[ReportEntry], bool]) -> list[FlakyTest]:
    """The flaky tests of a window, among the reports that count, the most often flaky first."""
    reports = _counted(ledger, window, at, counts)
    groups: defaultdict[Group, list[ReportEntry]] = defaultdict(list)
    for report in reports:
        groups[group_of(ledger, report)].append(report)
    events: defaultdict[Key, list[ReportEntry]] = defaultdict(list)
    for group, same in groups.items():
        for number, report in _flakes(same):
            events[group.place, group.workflow, group.job, number].append(report)
    return _described(ledger, reports, events)


def find_suspects(ledger: Ledger, window: Window, at: int, counts: Callable[[ReportEntry], bool]) -> list[FlakyTest]:
    """The suspects of a window that are not known to be flaky in it; `commits` is how often each failed for a while."""
    reports = _counted(ledger, window, at, counts)
    known = {(test.place, test.workflow, test.job, test.number) for test in find_flaky(ledger, window, at, counts)}
    events: defaultdict[Key, list[ReportEntry]] = defaultdict(list)
    for (place, workflow, job, _), same in _by_branch(ledger, reports).items():
        failing = 0
        for report in same:
            failing |= 0 if is_burst(report) else report.failing
        for number in _members(failing):
            events[place, workflow, job, number] += _episodes(same, number)
    often = {key: told for key, told in events.items() if len(told) >= _EPISODES and key not in known}
    return [replace(test, suspect=True) for test in _described(ledger, reports, often)]


def _counted(ledger: Ledger, window: Window, at: int, counts: Callable[[ReportEntry], bool]) -> Sequence[ReportEntry]:
    return [report for report in ledger.within(ledger.span(window, at)) if counts(report)]


def _by_branch(
    ledger: Ledger, reports: Sequence[ReportEntry]
) -> Mapping[tuple[Place, str, str, str], list[ReportEntry]]:
    found: defaultdict[tuple[Place, str, str, str], list[ReportEntry]] = defaultdict(list)
    for report in reports:
        info = ledger.info(report)
        found[info.place, info.workflow, info.job, info.branch].append(report)
    return found


def _episodes(reports: Sequence[ReportEntry], number: int) -> Iterator[ReportEntry]:
    """The last report of each short run of failures of a test that has passes on both sides."""
    row: list[ReportEntry] | None = None  # None: it was not seen to pass yet
    for report in reports:
        if not report.ran >> number & 1 or is_burst(report):
            continue
        if report.failing >> number & 1:
            row = None if row is None else [*row, report]
        else:
            if row and len(row) <= _SHORT:
                yield row[-1]
            row = []


def _described(
    ledger: Ledger, reports: Sequence[ReportEntry], events: Mapping[Key, Sequence[ReportEntry]]
) -> list[FlakyTest]:
    jobs: defaultdict[tuple[Place, str, str], list[ReportEntry]] = defaultdict(list)
    for report in reports if events else ():
        info = ledger.info(report)
        jobs[info.place, info.workflow, info.job].append(report)
    found = [_describe(key, told, jobs[key[:3]]) for key, told in events.items()]
    return sorted(found, key=lambda test: (-test.commits, -test.rate, -test.last, test.place, test.job, test.number))


def _flakes(reports: Sequence[ReportEntry]) -> Iterator[tuple[int, ReportEntry]]:
    """The tests that are flaky on one commit, each with the newest report in which it failed."""
    passed = failed = mixed = 0
    for report in reports:
        passed |= report.ran & (~report.failing | report.mixed)
        failed |= 0 if is_burst(report) else report.failing
        mixed |= report.mixed
    left = (passed & failed) | mixed
    for report in reversed(reports):
        for number in _members(left & report.failing):
            yield number, report
        left &= ~report.failing


def _describe(key: Key, told: Sequence[ReportEntry], reports: Sequence[ReportEntry]) -> FlakyTest:
    place, workflow, job, number = key
    newest = max(told, key=lambda report: (report.finished, report.ref))
    executed = failed = clean = 0
    for report in reports:
        if report.ran >> number & 1:
            ran, failures = _times(report, number)
            executed, failed = executed + ran, failed + failures
            clean = 0 if failures else clean + 1
    first = min(report.finished for report in told)
    return FlakyTest(
        place, workflow, job, number, len(told), executed, failed, first, newest.finished, newest.ref, clean
    )


def _times(report: ReportEntry, number: int) -> tuple[int, int]:
    """How often a test was executed in a report, and how often it failed."""
    for test, executions, failures in report.repeats:
        if test == number:
            return executions, failures
    return 1, report.failing >> number & 1


def _members(tests: int) -> Iterator[int]:
    while tests:
        lowest = tests & -tests
        yield lowest.bit_length() - 1
        tests ^= lowest
