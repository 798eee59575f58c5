"""The flaky tests one by one: when each was flaky first and last, how often it fails, and whether it is over.

A ledger of test reports comes in, one line for each flaky test of each job out. What makes a test flaky is what
`executions` says of it; here it is said of every test by itself.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from k2alert.measure.executions import Group, group_of, is_burst
from k2alert.measure.ledger import Ledger, Place
from k2alert.model import ReportEntry, Window

__all__ = ["FlakyTest", "find_flaky"]


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

    @property
    def rate(self) -> float:
        """Failures / executions."""
        return self.failed / self.executed if self.executed else 0.0


def find_flaky(ledger: Ledger, window: Window, at: int, counts: Callable[[ReportEntry], bool]) -> list[FlakyTest]:
    """The flaky tests of a window, among the reports that count, the most often flaky first."""
    reports = [report for report in ledger.within(ledger.span(window, at)) if counts(report)]
    groups: defaultdict[Group, list[ReportEntry]] = defaultdict(list)
    for report in reports:
        groups[group_of(ledger, report)].append(report)
    events: defaultdict[tuple[Place, str, str, int], list[ReportEntry]] = defaultdict(list)
    for group, same in groups.items():
        for number, report in _flakes(same):
            events[group.place, group.workflow, group.job, number].append(report)
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


def _describe(
    key: tuple[Place, str, str, int], told: Sequence[ReportEntry], reports: Sequence[ReportEntry]
) -> FlakyTest:
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
