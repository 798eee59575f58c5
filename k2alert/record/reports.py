"""Reports into tables: tests, coverage, benchmarks.

In: an open transaction and one report with the run it belongs to. Out: what that changed. A report belongs to one
execution of a job; saying it again changes nothing, and what is said later replaces it, save that totals alone never
replace named tests.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from math import isfinite
from typing import Any, NamedTuple

from k2alert.model import (
    BenchmarkEntry,
    BenchmarkReport,
    CoverageEntry,
    CoverageKind,
    CoverageReport,
    Execution,
    FactChange,
    Kind,
    NamedTest,
    NameOfTest,
    ReportEntry,
    TestCase,
    TestReport,
)
from k2alert.record.connection import Connection
from k2alert.record.naming import EMPTY, FILES, TESTS, Namer, NumberSet, named_tests, unpack
from k2alert.record.rows import StreamKey, clean, length_ms, pack_id, storable
from k2alert.record.statements import QUERIES
from k2alert.times import to_ms

__all__ = [
    "CoverageRow",
    "ReportRow",
    "RunOf",
    "benchmark_entries",
    "benchmark_entry",
    "coverage_entry",
    "members_or_empty",
    "report_entry",
    "report_stream",
    "save_benchmarks",
    "save_coverage",
    "save_tests",
]

MOST_CASES = 200
"""Tests of one report whose message is kept."""

_LONGEST_MESSAGE = 500
_MOST_TOLD = 10**9


class RunOf(NamedTuple):
    """The recorded run that a report belongs to."""

    id: int
    origin: int
    stream: StreamKey
    sha: bytes
    created: int


class ReportRow(NamedTuple):
    """A row of `test_reports`, without its number."""

    run: int
    attempt: int
    name: str
    job_id: int | str
    stream: int
    sha: bytes
    finished: int
    total: int
    failed: int
    skipped: int
    duration: int | None
    named: int
    ran: int
    failing: int
    mixed: int
    repeats: str


class CoverageRow(NamedTuple):
    """A row of `coverage_reports`, without its number."""

    run: int
    attempt: int
    name: str
    job_id: int | str
    kind: str
    stream: int
    sha: bytes
    finished: int
    percent: float
    branch_percent: float | None
    lines_covered: int | None
    lines_valid: int | None
    files: int


def report_stream(kind: Kind, run: StreamKey, by: Execution) -> StreamKey:
    """The stream of a report of an execution, under the labels of its run."""
    return StreamKey(kind.value, *run[1:7], clean(by.stage), clean(by.job))


def _execution(run: RunOf, by: Execution) -> tuple[int, int, str, int | str]:
    """What tells an execution from every other."""
    return (run.id, by.attempt, clean(by.name), pack_id(by.id))


# ---------------------------------------------------------------------------------------------- tests


class _Counted(NamedTuple):
    """The tests of a report as sets, and the counts that the sets do not say."""

    ran: NumberSet
    failing: NumberSet
    mixed: NumberSet
    repeats: tuple[tuple[int, int, int], ...]


_NOTHING = _Counted(EMPTY, EMPTY, EMPTY, ())


def save_tests(
    con: Connection, report: TestReport, run: RunOf, stream: int
) -> tuple[Iterator[FactChange], Iterator[NamedTest]]:
    """Records a test report."""
    key = _execution(run, report.by)
    known = con.execute(QUERIES["find_test_report"], key).fetchone()
    before = None if known is None else ReportRow(*known[1:])
    if before is not None and before.named and not report.named:
        return iter(()), iter(())
    namer = Namer(con, run.origin, TESTS)
    cases = {NameOfTest(case.suite, case.test): case for case in report.cases}
    counted = _count(namer, report, cases) if report.named else None
    row = _report_row(report, key, run, stream, counted)
    if row == before:
        return iter(()), iter(())
    old = None if before is None else _known_entry(con, known[0], before)
    number = int(con.execute(QUERIES["put_test_report"], row).fetchone()[0])
    _put_cases(con, number, namer, cases)
    new = report_entry(number, row, *_bits(counted or _NOTHING))
    named = named_tests(namer, run.stream.source, run.stream.project)
    return iter((FactChange(Kind.TEST, old, new),)), named


def _count(namer: Namer, report: TestReport, cases: Mapping[NameOfTest, TestCase]) -> _Counted | None:
    """None where the project has more tests than are told apart."""
    passed = Counter(report.passed)
    failing = [name for name, case in cases.items() if case.failures or case.flaky]
    mixed = [name for name in failing if cases[name].both or name in passed]
    ran = namer.set_of(chain(passed, cases))
    if ran is None:
        return None
    repeats = {name: (passed[name], 0) for name in passed if passed[name] > 1}
    for name, case in cases.items():
        counts = (case.executions + passed[name], case.failures)
        if counts != (1, 1):
            repeats[name] = counts
    numbers = namer.numbers_of(list(repeats)) if repeats else {}
    counts_of = tuple(sorted((numbers[name], *counts) for name, counts in repeats.items()))
    return _Counted(ran, namer.set_of(failing) or EMPTY, namer.set_of(mixed) or EMPTY, counts_of)


def _report_row(
    report: TestReport,
    key: tuple[int, int, str, int | str],
    run: RunOf,
    stream: int,
    counted: _Counted | None,
) -> ReportRow:
    ran, failing, mixed, repeats = counted or _NOTHING
    return ReportRow(
        *key,
        stream=stream,
        sha=run.sha,
        finished=to_ms(report.by.finished_at),
        total=_count_of(report.total),
        failed=_count_of(report.failed),
        skipped=_count_of(report.skipped),
        duration=length_ms(report.duration),
        named=int(counted is not None),
        ran=ran.id,
        failing=failing.id,
        mixed=mixed.id,
        repeats=json.dumps(repeats, separators=(",", ":")) if repeats else "",
    )


def _count_of(told: int) -> int:
    """A count that a file tells: it may tell anything."""
    return min(max(0, told), _MOST_TOLD)


def _bits(counted: _Counted) -> tuple[int, int, int]:
    return counted.ran.bits, counted.failing.bits, counted.mixed.bits


def _known_entry(con: Connection, number: int, row: ReportRow) -> ReportEntry:
    sets = [con.execute(QUERIES["set_members"], (found,)).fetchone() for found in (row.ran, row.failing, row.mixed)]
    return report_entry(number, row, *(members_or_empty(found) for found in sets))


def members_or_empty(found: Sequence[Any] | None) -> int:
    """The bits of a set that was looked up; the empty one has no row."""
    return 0 if found is None else unpack(found[0])


def report_entry(number: int, row: ReportRow, ran: int, failing: int, mixed: int) -> ReportEntry:
    """A test report as `measure` counts it; the sets are given as bits."""
    return ReportEntry(
        stream=row.stream,
        ref=number,
        finished=row.finished,
        executed=max(0, row.total - row.skipped),
        failed=row.failed,
        sha=row.sha,
        named=row.named == 1,
        ran=ran,
        failing=failing,
        mixed=mixed,
        repeats=tuple((test, executions, failures) for test, executions, failures in json.loads(row.repeats or "[]")),
        duration=row.duration,
    )


def _put_cases(con: Connection, report: int, namer: Namer, cases: Mapping[NameOfTest, TestCase]) -> None:
    con.execute(QUERIES["drop_test_cases"], (report,))
    told = dict(islice(cases.items(), MOST_CASES))
    numbers = namer.numbers_of(list(told)) if told else {}
    con.executemany(
        QUERIES["add_test_case"], [(report, numbers[name], *_case_row(told[NameOfTest(*name)])) for name in numbers]
    )


def _case_row(case: TestCase) -> tuple[str, int | None, str]:
    return clean(case.file), length_ms(case.duration), storable(case.message[:_LONGEST_MESSAGE])


# -------------------------------------------------------------------------------------------- coverage


def save_coverage(con: Connection, report: CoverageReport, run: RunOf, stream: int) -> Iterator[FactChange]:
    """Records a coverage report."""
    key = (*_execution(run, report.by), report.kind.value)
    known = con.execute(QUERIES["find_coverage_report"], key).fetchone()
    before = None if known is None else CoverageRow(*known[1:])
    files = Namer(con, run.origin, FILES).set_of(("", path) for path in report.files) or EMPTY
    row = CoverageRow(
        *key,
        stream=stream,
        sha=run.sha,
        finished=to_ms(report.by.finished_at),
        percent=min(100.0, max(0.0, float(report.percent))),
        branch_percent=report.branch_percent,
        lines_covered=report.lines_covered,
        lines_valid=report.lines_valid,
        files=files.id,
    )
    if row == before:
        return
    old = None
    if before is not None:
        was = con.execute(QUERIES["set_members"], (before.files,)).fetchone()
        old = coverage_entry(known[0], before, members_or_empty(was))
    number = int(con.execute(QUERIES["put_coverage_report"], row).fetchone()[0])
    yield FactChange(Kind.COVERAGE, old, coverage_entry(number, row, files.bits))


def coverage_entry(number: int, row: CoverageRow, files: int) -> CoverageEntry:
    """A coverage report as `measure` takes it; the files are given as bits."""
    forge = row.kind == CoverageKind.FORGE.value
    return CoverageEntry(row.stream, number, row.finished, row.run, forge, row.percent, files)


# ------------------------------------------------------------------------------------------ benchmarks


def save_benchmarks(con: Connection, report: BenchmarkReport, run: RunOf, stream: int) -> Iterator[FactChange]:
    """Records a benchmark report with all that it measured."""
    known = con.execute(QUERIES["find_benchmark_report"], _execution(run, report.by)).fetchone()
    before = [] if known is None else benchmark_entries(con, known[0])
    row = (*_execution(run, report.by), stream, run.sha, to_ms(report.by.finished_at), clean(report.cpu))
    (number,) = con.execute(QUERIES["put_benchmark_report"], row).fetchone()
    con.execute(QUERIES["drop_benchmark_points"], (number,))
    con.executemany(
        QUERIES["put_benchmark_point"],
        [
            (number, clean(p.name), p.value, clean(p.unit), int(p.lower_is_better), p.spread, p.rounds)
            for p in report.points
            if isfinite(p.value)
        ],
    )
    return _changed(before, benchmark_entries(con, number))


def benchmark_entries(con: Connection, report: int) -> list[BenchmarkEntry]:
    """What a benchmark report measured, as `measure` takes it."""
    return list(map(benchmark_entry, con.execute(QUERIES["points_of_benchmark_report"], (report,))))


def benchmark_entry(row: Sequence[Any]) -> BenchmarkEntry:
    """A measurement as `measure` takes it."""
    return BenchmarkEntry(*row)._replace(lower_is_better=row[7] == 1)


def _changed(before: Sequence[BenchmarkEntry], after: Sequence[BenchmarkEntry]) -> Iterator[FactChange]:
    old, new = ({entry.benchmark: entry for entry in entries} for entries in (before, after))
    for name in old | new:
        if old.get(name) != new.get(name):
            yield FactChange(Kind.BENCHMARK, old.get(name), new.get(name))
