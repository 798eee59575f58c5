"""Tests: reports of a ledger in, counts of executions and of flaky tests out.

Each report has its tests as sets of numbers, so "failed and passed on one commit in one job" is three instructions for
each commit, however many tests there are. A test is flaky in a window when, among the reports that lie in it, the same
job (project, workflow and job name) saw it both fail and pass on the same commit: in retries, attempts, re-runs or one
report. A report of which most failed says more of the machine than of its tests: its failures make nothing flaky.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from k2alert.measure.ledger import Ledger, Place
from k2alert.model import EvidenceRefs, Kind, Measured, ReportEntry, Window

__all__ = ["TEST_EVIDENCE", "TEST_FORMULAS", "Chosen", "Executions", "FlakyTests", "Group", "group_of", "is_burst"]

Chosen = Mapping[Place, int]
"""Of each project the set of tests that count, where not all do."""

_NO_DATA = Measured(None, 0)
_FEWEST_OF_A_BURST = 10  # failures; a report of three tests may fail by one

Job = tuple[Place, str]
"""What a test belongs to: a project's job, by its name."""

FlakyTests = Mapping[Job, int]
"""Sets of tests by job."""

Case = tuple[int, int]
"""A report's number and a test's."""


class Group(NamedTuple):
    """Reports of the same job on the same commit; one without a commit is a group of its own."""

    place: Place
    workflow: str
    job: str
    sha: bytes
    ref: int


class _Tally:
    """How often each test was met, for all tests at once: bit k of a test's number is its bit in plane k.

    To count one more set in is a few instructions, whatever its size, and so is the sum over any set of tests.
    """

    def __init__(self) -> None:
        self._planes: list[int] = []

    def add(self, tests: int, times: int = 1) -> None:
        """Each of these tests was met so many times more."""
        for place in range(times.bit_length()):
            if times >> place & 1:
                self._carry(tests, place)

    def _carry(self, tests: int, place: int) -> None:
        while tests:
            self._planes += [0] * (place + 1 - len(self._planes))
            self._planes[place], tests = self._planes[place] ^ tests, self._planes[place] & tests
            place += 1

    def count(self, tests: int) -> int:
        """How often tests of this set were met, all together."""
        return sum((plane & tests).bit_count() << place for place, plane in enumerate(self._planes))


class _Tallies(NamedTuple):
    """Executions by project and test, and failures."""

    executed: Mapping[Place, _Tally]
    failed: Mapping[Place, _Tally]


class _Distinct(NamedTuple):
    """The tests that ran by job, and of jobs with reports that only say totals, the largest."""

    ran: Mapping[Job, int]
    totals: Mapping[Job, int]


@dataclass(frozen=True, slots=True, eq=False)
class Executions:
    """The test reports that count, and `chosen`, which of their tests do (None: all).

    What takes long is worked out for all tests at once and kept, so that a rule on each of ten thousand tests costs
    little more than a rule on all of them.
    """

    ledger: Ledger
    chosen: Chosen | None = None

    def only(self, place: Place, tests: int) -> int:
        """Those of a project's tests that count."""
        return tests if self.chosen is None else tests & self.chosen.get(place, 0)

    def failing(self, report: ReportEntry) -> int:
        """The tests of a report that failed in it and count."""
        return self.only(self.ledger.info(report).place, report.failing)

    def counts(self, window: Window, at: int) -> tuple[int, int]:
        """Executions in a window, and how many of them failed."""
        span = self.ledger.span(window, at)
        if self.chosen is None:
            return self.ledger.remember(("totals", window), span, lambda: _totals(self.ledger.within(span)))
        executed, failed = self.ledger.remember(("tallies", window), span, lambda: _tallies(self.ledger, span))
        return (
            sum(executed[place].count(tests) for place, tests in self.chosen.items() if place in executed),
            sum(failed[place].count(tests) for place, tests in self.chosen.items() if place in failed),
        )

    def flaky(self, window: Window, at: int) -> FlakyTests:
        """The flaky tests of a window."""
        span = self.ledger.span(window, at)
        return self._only(self.ledger.remember(("flaky", window), span, lambda: _flaky(self.ledger, span)))

    def new_flaky(self, window: Window, at: int) -> FlakyTests:
        """Those that are not flaky in all that is held from before the window."""
        low, _ = self.ledger.span(window, at)
        before = self.ledger.remember(("before", window), (0, low), lambda: _flaky(self.ledger, (0, low)))
        return {job: found & ~before.get(job, 0) for job, found in self.flaky(window, at).items()}

    def distinct(self, window: Window, at: int) -> int:
        """How many distinct tests ran: named ones once each; of a job of which only totals were read the largest."""
        span = self.ledger.span(window, at)
        ran, totals = self.ledger.remember(("distinct", window), span, lambda: _distinct(self.ledger, span))
        if self.chosen is not None:
            return _count(self._only(ran))
        return sum(max(tests.bit_count(), totals.get(job, 0)) for job, tests in ran.items())

    def _only(self, tests: FlakyTests) -> FlakyTests:
        return {job: self.only(job[0], found) for job, found in tests.items()}


def _totals(reports: Sequence[ReportEntry]) -> tuple[int, int]:
    return sum(report.executed for report in reports), sum(min(report.failed, report.executed) for report in reports)


def _tallies(ledger: Ledger, span: tuple[int, int]) -> _Tallies:
    executed: defaultdict[Place, _Tally] = defaultdict(_Tally)
    failed: defaultdict[Place, _Tally] = defaultdict(_Tally)
    for report in ledger.within(span):
        place = ledger.info(report).place
        once = report.failing
        executed[place].add(report.ran)
        for test, executions, failures in report.repeats:
            executed[place].add(1 << test, executions - 1)
            once &= ~(1 << test)
            failed[place].add(1 << test, failures)
        failed[place].add(once)
    return _Tallies(executed, failed)


def _flaky(ledger: Ledger, span: tuple[int, int]) -> FlakyTests:
    reports: Sequence[ReportEntry] = ledger.within(span)
    suspects = {group_of(ledger, report) for report in reports if report.failing}
    passed: defaultdict[Group, int] = defaultdict(int)
    failed: defaultdict[Group, int] = defaultdict(int)
    found: defaultdict[Job, int] = defaultdict(int)
    for report in reports:
        group = group_of(ledger, report)
        if group in suspects:
            passed[group] |= report.ran & (~report.failing | report.mixed)
            failed[group] |= 0 if is_burst(report) else report.failing
            found[group.place, group.job] |= report.mixed
    for group, tests in failed.items():
        found[group.place, group.job] |= tests & passed[group]
    return found


def group_of(ledger: Ledger, report: ReportEntry) -> Group:
    """The reports that a report is held against."""
    info = ledger.info(report)
    return Group(info.place, info.workflow, info.job, report.sha, 0 if report.sha else report.ref)


def _distinct(ledger: Ledger, span: tuple[int, int]) -> _Distinct:
    ran: defaultdict[Job, int] = defaultdict(int)
    totals: defaultdict[Job, int] = defaultdict(int)
    for report in ledger.within(span):
        info = ledger.info(report)
        ran[info.place, info.job] |= report.ran
        if not report.named:
            totals[info.place, info.job] = max(totals[info.place, info.job], report.executed)
    return _Distinct(ran, totals)


def is_burst(report: ReportEntry) -> bool:
    """Whether most of it failed, so that it says more of the machine than of its tests."""
    failures = report.failing.bit_count()
    return failures >= _FEWEST_OF_A_BURST and 2 * failures > report.ran.bit_count()


# --------------------------------------------------------------------------------------- the metrics


def _total(tests: Executions, window: Window, at: int) -> Measured:
    executed, _ = tests.counts(window, at)
    return Measured(executed, executed)


def _failed(tests: Executions, window: Window, at: int) -> Measured:
    executed, failed = tests.counts(window, at)
    return Measured(failed, executed)


def _failure_rate(tests: Executions, window: Window, at: int) -> Measured:
    executed, failed = tests.counts(window, at)
    return Measured(failed / executed, executed) if executed else _NO_DATA


def _count(flaky: FlakyTests) -> int:
    return sum(found.bit_count() for found in flaky.values())


def _flaky_tests(tests: Executions, window: Window, at: int) -> Measured:
    return Measured(_count(tests.flaky(window, at)), tests.distinct(window, at))


def _new_flaky_tests(tests: Executions, window: Window, at: int) -> Measured:
    return Measured(_count(tests.new_flaky(window, at)), tests.distinct(window, at))


def _flaky_rate(tests: Executions, window: Window, at: int) -> Measured:
    distinct = tests.distinct(window, at)
    return Measured(_count(tests.flaky(window, at)) / distinct, distinct) if distinct else _NO_DATA


TEST_FORMULAS: Mapping[str, Callable[[Executions, Window, int], Measured]] = MappingProxyType(
    {
        "total_tests": _total,
        "failed_tests": _failed,
        "test_failure_rate": _failure_rate,
        "flaky_tests": _flaky_tests,
        "flaky_test_rate": _flaky_rate,
        "new_flaky_tests": _new_flaky_tests,
    }
)


# ---------------------------------------------------------------------------------------- evidence


def _failures(tests: Executions, window: Window, at: int, limit: int) -> EvidenceRefs:
    """The newest failures, in the newest reports that have any."""
    executed, failed = tests.counts(window, at)
    cases: list[Case] = []
    refs: list[int] = []
    for report in reversed(tests.ledger.within(tests.ledger.span(window, at))):
        failing = tests.failing(report)
        if (failing or (report.failed and tests.chosen is None)) and len(refs) < limit:
            refs.append(report.ref)
        cases += [(report.ref, test) for test in _first(failing, limit - len(cases))]
        if min(len(refs), len(cases)) >= limit:
            break
    return EvidenceRefs(Kind.TEST, tuple(refs), failed, executed, None, None, tuple(cases))


def _flaky_evidence(pick: Callable[[Executions, Window, int], FlakyTests]) -> Callable[..., EvidenceRefs]:
    """Flaky tests, each where it failed last."""

    def find(tests: Executions, window: Window, at: int, limit: int) -> EvidenceRefs:
        left = dict(pick(tests, window, at))
        faults = _count(left)
        cases: list[Case] = []
        for report in reversed(tests.ledger.within(tests.ledger.span(window, at))):
            info = tests.ledger.info(report)
            here = left.get((info.place, info.job), 0) & report.failing
            left[info.place, info.job] = left.get((info.place, info.job), 0) & ~here
            cases += [(report.ref, test) for test in _first(here, limit - len(cases))]
            if len(cases) >= limit:
                break
        refs = tuple(dict.fromkeys(ref for ref, _ in cases))
        return EvidenceRefs(Kind.TEST, refs, faults, tests.distinct(window, at), None, None, tuple(cases))

    return find


def _newest(tests: Executions, window: Window, at: int, limit: int) -> EvidenceRefs:
    executed, _ = tests.counts(window, at)
    reports: Iterable[ReportEntry] = reversed(tests.ledger.within(tests.ledger.span(window, at))[-limit:])
    return EvidenceRefs(Kind.TEST, tuple(report.ref for report in reports), executed, executed, None, None)


def _first(tests: int, limit: int) -> Iterator[int]:
    """The lowest numbers of a set."""
    for _ in range(limit):
        if not tests:
            return
        lowest = tests & -tests
        yield lowest.bit_length() - 1
        tests ^= lowest


TEST_EVIDENCE: Mapping[str, Callable[[Executions, Window, int, int], EvidenceRefs]] = MappingProxyType(
    {
        "total_tests": _newest,
        "failed_tests": _failures,
        "test_failure_rate": _failures,
        "flaky_tests": _flaky_evidence(Executions.flaky),
        "flaky_test_rate": _flaky_evidence(Executions.flaky),
        "new_flaky_tests": _flaky_evidence(Executions.new_flaky),
    }
)
