"""Coverage: the reports of a ledger in, the newest complete one and how far it fell out.

A report is *partial*, and counts for nothing, when a report near it holds all of its files and many more: a shard, or
one part of the tests. Reports are compared within one branch and job, and of one kind: the share of lines in a report
file and the number that GitLab found in a log are different measures. Of one run the report file goes first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from k2alert.measure.ledger import Ledger, Place
from k2alert.model import CoverageEntry, EvidenceRefs, Kind, Measured, Window

__all__ = ["COVERAGE_EVIDENCE", "COVERAGE_FORMULAS"]

_NO_DATA = Measured(None, 0)
_NEAR = 30
"""Reports before it on its branch that a report is compared with; what was moved away is forgotten after so many."""
_PART = 0.75
"""A report with fewer of another one's files than this share is a part of it."""

Branch = tuple[Place, str]


def _branch(ledger: Ledger, report: CoverageEntry) -> Branch:
    info = ledger.info(report)
    return info.place, info.branch


def _reports_until(ledger: Ledger, at: int) -> Sequence[CoverageEntry]:
    """The complete reports of the newest one's branch, oldest first, without forges' numbers that a file replaces."""
    span = (0, ledger.until(at))
    return ledger.remember("reports", span, lambda: _complete_reports(ledger, ledger.within(span)))


def _complete_reports(ledger: Ledger, reports: Sequence[CoverageEntry]) -> Sequence[CoverageEntry]:
    with_files = {report.run for report in reports if not report.forge}
    by_branch: dict[Branch, list[CoverageEntry]] = {}
    for report in reports:
        if not report.forge or report.run not in with_files:
            by_branch.setdefault(_branch(ledger, report), []).append(report)
    found = [report for same in by_branch.values() for report in _without_parts(same)]
    return sorted(found, key=lambda report: (report.finished, report.ref))


def _without_parts(reports: Sequence[CoverageEntry]) -> Iterator[CoverageEntry]:
    for index, report in enumerate(reports):
        near = reports[max(0, index - _NEAR) : index + _NEAR + 1]
        before = near[: min(index, _NEAR)]
        same_run = [other for other in near if other.run == report.run]
        if not any(_is_part(report, other) for other in (*before, *same_run)):
            yield report


def _is_part(report: CoverageEntry, other: CoverageEntry) -> bool:
    if not report.files or report.files & ~other.files:
        return False
    return report.files.bit_count() < _PART * other.files.bit_count()


def _newest(ledger: Ledger, window: Window, at: int) -> Measured:
    reports = _reports_until(ledger, at)
    return Measured(reports[-1].percent, 1) if reports else _NO_DATA


def _drop(ledger: Ledger, window: Window, at: int) -> Measured:
    compared = _compared(ledger, window, at)
    if compared is None:
        return _NO_DATA
    newest, best, count = compared
    return Measured(best.percent - newest.percent, count)


def _compared(ledger: Ledger, window: Window, at: int) -> tuple[CoverageEntry, CoverageEntry, int] | None:
    """The newest report, the best of those it is held against, and how many these are."""
    span = (0, ledger.until(at))
    return ledger.remember(("compared", window), span, lambda: _compare(ledger, window, at))


def _compare(ledger: Ledger, window: Window, at: int) -> tuple[CoverageEntry, CoverageEntry, int] | None:
    reports = _reports_until(ledger, at)
    if not reports:
        return None
    newest = reports[-1]
    earlier = [report for report in reports[:-1] if _same(ledger, report, newest)]
    since = newest.finished - int(window.look_back.total_seconds() * 1000)
    held = [report for report in earlier if report.finished > since] or earlier[-1:]
    if not held:
        return None
    return newest, max(held, key=lambda report: (report.percent, report.finished, report.ref)), len(held)


def _same(ledger: Ledger, report: CoverageEntry, newest: CoverageEntry) -> bool:
    """Whether two reports may be compared: of one branch and job, and of one kind."""
    one, other = ledger.info(report), ledger.info(newest)
    return report.forge == newest.forge and (one.place, one.branch, one.job) == (other.place, other.branch, other.job)


COVERAGE_FORMULAS: Mapping[str, Callable[[Ledger, Window, int], Measured]] = MappingProxyType(
    {"coverage": _newest, "coverage_drop": _drop}
)


def _newest_evidence(ledger: Ledger, window: Window, at: int, limit: int) -> EvidenceRefs:
    refs = tuple(report.ref for report in _reports_until(ledger, at)[-1:])
    return EvidenceRefs(Kind.COVERAGE, refs, len(refs), len(refs), None, None)


def _drop_evidence(ledger: Ledger, window: Window, at: int, limit: int) -> EvidenceRefs:
    """The newest report, and the one that it fell from."""
    compared = _compared(ledger, window, at)
    refs = () if compared is None else (compared[0].ref, compared[1].ref)
    return EvidenceRefs(Kind.COVERAGE, refs[:limit], len(refs), len(refs), None, None)


COVERAGE_EVIDENCE: Mapping[str, Callable[[Ledger, Window, int, int], EvidenceRefs]] = MappingProxyType(
    {"coverage": _newest_evidence, "coverage_drop": _drop_evidence}
)
