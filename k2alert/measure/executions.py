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

__all__ = ["TEST_EVIDENCE", "TEST_FORMULAS", "Chosen", "Executions", "FlakyTests"]

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


class _Group(NamedTuple):
    """Reports of the same job on the same commit; one without a commit is a group of its own."""

    place: Place
    workflow: str
    job: str
    sha: bytes
    ref: int


@dataclass(frozen=True, slots=True, eq=False)
class Executions:
    """The test reports that count, and `chosen`, which of their tests do (None: all). `key` names the choice."""

    ledger: Ledger
    chosen: Chosen | None = None
    key: tuple[str, ...] = ()

    def mask(self, report: ReportEntry) -> int:
        """The tests of a report that count."""
        if self.chosen is None:
            return report.ran
        return report.ran & self.chosen.get(self.ledger.info(report).place, 0)

    def executed(self, report: ReportEntry) -> int:
        """How many executions of a report count."""
        if self.chosen is None:
            return report.executed
        mask = self.mask(report)
        more = sum(times - 1 for test, times, _ in report.repeats if mask >> test & 1)
        return mask.bit_count() + more

    def failed(self, report: ReportEntry) -> int:
        """How many of those failed."""
        if self.chosen is None:
            return min(report.failed, report.executed)
        failing = self.mask(report) & report.failing
        more = sum(failures - 1 for test, _, failures in report.repeats if failing >> test & 1)
        return failing.bit_count() + more

    def counts(self, window: Window, at: int) -> tuple[int, int]:
        """Executions in a window, and how many of them failed."""
        span = self.ledger.span(window, at)
        return self.ledger.remember(("counts", self.key, window), span, lambda: self._counts(span))

    def _counts(self, span: tuple[int, int]) -> tuple[int, int]:
        reports: Sequence[ReportEntry] = self.ledger.within(span)
        return sum(map(self.executed, reports)), sum(map(self.failed, reports))

    def flaky(self, span: tuple[int, int], name: str) -> FlakyTests:
        """The flaky tests of a stretch of reports; `name` tells one use of it from another."""
        return self.ledger.remember(("flaky", self.key, name), span, lambda: self._flaky(self.ledger.within(span)))

    def _flaky(self, reports: Sequence[ReportEntry]) -> FlakyTests:
        suspects = {self._group(report) for report in reports if report.failing}
        passed: dict[_Group, int] = defaultdict(int)
        failed: dict[_Group, int] = defaultdict(int)
        found: dict[Job, int] = defaultdict(int)
        for report in reports:
            group = self._group(report)
            if group in suspects:
                mask = self.mask(report)
                passed[group] |= mask & (~report.failing | report.mixed)
                failed[group] |= 0 if _is_burst(report) else mask & report.failing
                found[group.place, group.job] |= mask & report.mixed
        for group, tests in failed.items():
            found[group.place, group.job] |= tests & passed[group]
        return {job: tests for job, tests in found.items() if tests}

    def _group(self, report: ReportEntry) -> _Group:
        info = self.ledger.info(report)
        return _Group(info.place, info.workflow, info.job, report.sha, 0 if report.sha else report.ref)

    def distinct(self, window: Window, at: int) -> int:
        """How many distinct tests ran: named ones once each; of a job of which only totals were read the largest."""
        span = self.ledger.span(window, at)
        return self.ledger.remember(("distinct", self.key, window), span, lambda: self._distinct(span))

    def _distinct(self, span: tuple[int, int]) -> int:
        ran: dict[Job, int] = defaultdict(int)
        totals: dict[Job, int] = defaultdict(int)
        for report in self.ledger.within(span):
            info = self.ledger.info(report)
            job = (info.place, info.job)
            ran[job] |= self.mask(report)
            if not report.named and self.chosen is None:
                totals[job] = max(totals[job], report.executed)
        return sum(max(ran[job].bit_count(), totals[job]) for job in ran)


def _is_burst(report: ReportEntry) -> bool:
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


def _flaky_in(tests: Executions, window: Window, at: int) -> FlakyTests:
    return tests.flaky(tests.ledger.span(window, at), f"in {window}")


def _new_flaky_in(tests: Executions, window: Window, at: int) -> FlakyTests:
    """Flaky in the window, and not in all that is held from before it."""
    low, _ = tests.ledger.span(window, at)
    before = tests.flaky((0, low), f"before {window}")
    return {job: found & ~before.get(job, 0) for job, found in _flaky_in(tests, window, at).items()}


def _count(flaky: FlakyTests) -> int:
    return sum(found.bit_count() for found in flaky.values())


def _flaky_tests(tests: Executions, window: Window, at: int) -> Measured:
    return Measured(_count(_flaky_in(tests, window, at)), tests.distinct(window, at))


def _new_flaky_tests(tests: Executions, window: Window, at: int) -> Measured:
    return Measured(_count(_new_flaky_in(tests, window, at)), tests.distinct(window, at))


def _flaky_rate(tests: Executions, window: Window, at: int) -> Measured:
    distinct = tests.distinct(window, at)
    return Measured(_count(_flaky_in(tests, window, at)) / distinct, distinct) if distinct else _NO_DATA


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
        failing = tests.mask(report) & report.failing
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
        "flaky_tests": _flaky_evidence(_flaky_in),
        "flaky_test_rate": _flaky_evidence(_flaky_in),
        "new_flaky_tests": _flaky_evidence(_new_flaky_in),
    }
)
