"""What must hold of any bytes as a report file: it is read or refused with one line, and what is read adds up."""

from math import isfinite

from k2alert.formats import Benchmarks, Coverage, Tests, Unreadable, read_benchmarks, read_coverage, read_tests

__all__ = ["EXAMPLES", "VOCABULARY", "check_report"]

_PIECES = (7, 4096)  # bytes at once: what a file says does not depend on how it is cut

EXAMPLES = (
    '<testsuites><testsuite name="s" tests="2"><testcase classname="c" name="t" time="1,000.5"/><testcase name="t">'
    '<failure message="m">x</failure><skipped/></testcase></testsuite></testsuites>',
    '<testsuite><testcase name="t"><flakyFailure/></testcase><testcase name="t"/></testsuite>',
    '<coverage line-rate="0.5"><class filename="a"><lines><line number="1" hits="2" condition-coverage="50% (1/2)"/>'
    "</lines></class></coverage>",
    '<report><package name="p"><sourcefile name="a"><counter type="LINE" missed="1" covered="2"/></sourcefile>'
    "</package></report>",
    "SF:a.js\nDA:1,1\nDA:2,0\nLF:2\nLH:1\nBRF:2\nBRH:1\nend_of_record\n",
    '{"machine_info": {}, "benchmarks": [{"fullname": "a", "stats": {"median": 1.5, "stddev": 0.1, "rounds": 3}}]}',
    '[{"benchmark": "a", "mode": "thrpt", "primaryMetric": {"score": 1, "scoreUnit": "ops/s", "rawData": [[1, 2]]}}]',
    'window.BENCHMARK_DATA = {"entries": {"s": [{"benches": [{"name": "a", "value": 1, "range": "± 2"}]}]}};',
    "pkg: p\nBenchmarkA-8 100 12.5 ns/op 3 B/op\ntest a ... bench: 1,234 ns/iter (+/- 5)\n",
)
VOCABULARY = (
    *("<testcase", "</testcase>", "<testsuite", "<failure>", "<![CDATA[", "]]>", "<!--", "<!DOCTYPE a", "&lt;", "&#9;"),
    *('name="t"', 'tests="1"', 'status="notrun"', "lines-valid", "NaN", "1e999", "null", "SF:", "DA:", "\xff\xfe"),
    *('"stats"', '"benchmarks"', '"results"', '"value"', '"median"', "end_of_record", "-8", "ns/op", "\0"),
)


def check_report(data: bytes) -> None:
    """Fails where a reader raises, or says what cannot be."""
    for read in (read_tests, read_coverage, read_benchmarks):
        found, other = (read(data[start : start + size] for start in range(0, len(data), size)) for size in _PIECES)
        assert found == other
        if isinstance(found, Unreadable):
            assert "\n" not in found.line
            assert len(found.line) < 250
        else:
            _check(found)


def _check(found: Tests | Coverage | Benchmarks) -> None:
    if isinstance(found, Tests):
        executed = found.total - found.skipped
        assert 0 <= found.failed <= executed
        if found.named:
            assert sum(case.executions for case in found.cases) + len(found.passed) == executed
            assert sum(case.failures for case in found.cases) == found.failed
    elif isinstance(found, Coverage):
        assert 0 <= found.percent <= 100
        assert found.branch_percent is None or 0 <= found.branch_percent <= 100
    else:
        assert all(isfinite(point.value) for point in found.points)
        assert len({point.name for point in found.points}) == len(found.points) > 0
