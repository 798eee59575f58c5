"""What test report files say, each by itself and several taken together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from k2alert.model import Execution, NameOfTest, TestCase, TestReport

__all__ = ["Tests", "all_tests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """The tests of a report file; the fields mean what those of a `TestReport` do."""

    __test__ = False  # for pytest, which takes the name for one of its own

    total: int
    failed: int
    skipped: int = 0
    duration: timedelta | None = None
    named: bool = True
    cases: tuple[TestCase, ...] = ()
    passed: tuple[NameOfTest, ...] = ()

    def report(self, by: Execution) -> TestReport:
        """The report of an execution that wrote this."""
        return TestReport(
            by=by,
            total=self.total,
            failed=self.failed,
            skipped=self.skipped,
            duration=self.duration,
            named=self.named,
            cases=self.cases if self.named else (),
            passed=self.passed if self.named else (),
        )


def all_tests(files: Sequence[Tests]) -> Tests | None:
    """All files of one execution together; None without any.

    A test that is in several of them ran several times.
    """
    if len(files) < 2:
        return files[0] if files else None
    durations = [each.duration for each in files if each.duration is not None]
    cases, passed = gather([case for each in files for case in each.cases], [n for each in files for n in each.passed])
    return Tests(
        total=sum(each.total for each in files),
        failed=sum(each.failed for each in files),
        skipped=sum(each.skipped for each in files),
        duration=sum(durations, timedelta()) if durations else None,
        named=all(each.named for each in files),
        cases=cases,
        passed=passed,
    )


def gather(
    cases: Iterable[TestCase], passed: Iterable[NameOfTest]
) -> tuple[tuple[TestCase, ...], tuple[NameOfTest, ...]]:
    """Each test that did not simply pass once, with all its executions, and those that did once for each execution."""
    found: dict[NameOfTest, TestCase] = {}
    for case in cases:
        name = NameOfTest(case.suite, case.test)
        found[name] = _both(found[name], case) if name in found else case
    if not found:
        return (), tuple(passed)
    simply, other = list[NameOfTest](), Counter[NameOfTest]()
    for name in passed:
        if name in found:
            other[name] += 1
        else:
            simply.append(name)
    for name, times in other.items():
        found[name] = replace(found[name], executions=found[name].executions + times)
    return tuple(found.values()), tuple(simply)


def _both(one: TestCase, other: TestCase) -> TestCase:
    return replace(
        one,
        executions=one.executions + other.executions,
        failures=one.failures + other.failures,
        flaky=one.flaky or other.flaky,
        message=one.message or other.message,
    )
