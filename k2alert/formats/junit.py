"""Test reports: JUnit XML in all its dialects, and the XML that NUnit and xUnit.net write themselves.

There is no standard of JUnit XML. Suites are nested or not, counts in attributes are missing or wrong, so the cases are
counted. What else differs (all seen in files of pytest, Surefire, Gradle, GoogleTest, jest-junit, go-junit-report,
PHPUnit and CTest):

* a test that was repeated is there twice (Gradle), or holds `flakyFailure` or `flakyError` where it passed in the end,
  and `rerunFailure` or `rerunError` where it did not (Surefire);
* pytest-rerunfailures writes what failed and was run again as one more case that looks as if it had passed, and the
  suite's `tests` counts it once: then all but the last are taken for failures;
* a disabled test has `skipped`, or a `status` of `notrun` or `disabled`, or a `result` of `suppressed`;
* one case may have several failures and errors, and be skipped besides: then it failed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from math import isfinite
from typing import NamedTuple

from k2alert.formats.caps import Caps, Chunks, Stop, Unreadable, malformed, peek, quoted, shorten, too_large
from k2alert.formats.tests import Tests, gather
from k2alert.formats.xml import walk
from k2alert.model import NameOfTest, TestCase

__all__ = ["read_tests"]

_CASES = {
    "testsuites": "testcase",
    "testsuite": "testcase",
    "test-run": "test-case",  # NUnit 3
    "test-results": "test-case",  # NUnit 2
    "assemblies": "test",  # xUnit.net
    "assembly": "test",
}
"""What a test is called, by the name of the root."""

_SUITES = frozenset({"testsuite", "test-suite"})
_FAILED = frozenset({"failure", "error"})
_AGAIN = frozenset({"flakyFailure", "flakyError", "rerunFailure", "rerunError"})
_SKIPPED_WORDS = frozenset({"notrun", "disabled", "skipped", "suppressed", "skip", "ignored", "inconclusive"})
_FAILED_WORDS = frozenset({"failed", "fail", "failure", "error"})
_LONGEST_MESSAGE = 1000
_MOST_MESSAGES = 1000  # of one report; the store keeps fewer
_LONGEST_TIME = 10.0**9  # seconds


def read_tests(chunks: Chunks, caps: Caps | None = None) -> Tests | Unreadable:
    """The tests of a report file."""
    caps = caps or Caps()
    reader = _Reader(caps)
    try:
        _, whole = peek(chunks)
    except Stop as stop:
        return stop.why
    trouble = walk(whole, reader, caps)
    return trouble if trouble is not None else reader.tests()


class _Suite(NamedTuple):
    """A suite whose end has not come yet: what it says, and how much had been read before it."""

    name: str
    file: str
    tests: int  # as it says; 0 where it does not
    cases: int
    failed: int
    passed: int


@dataclass(slots=True)
class _Case:
    """A test whose end has not come yet."""

    suite: str
    test: str
    file: str
    seconds: float | None
    failed: bool = False
    skipped: bool = False
    again: bool = False
    message: str = ""


class _Reader:
    """Hears of the elements of a file, in their order."""

    def __init__(self, caps: Caps) -> None:
        self.listens = False
        self._caps = caps
        self._root = ""
        self._suites: list[_Suite] = []  # those that are open
        self._told = [0, 0, 0]  # tests, failures and skips as the outermost suites tell them
        self._case: _Case | None = None
        self._inside = 0  # elements open in the case
        self._heard: list[str] = []  # the text of the failure that is open
        self._room = caps.names
        self._counts = [0, 0, 0]
        self._seconds: float | None = None
        self._unnamed = False
        self._known: dict[str, str] = {}  # names of suites and files, each kept once
        self._cases: list[TestCase] = []
        self._passed: list[NameOfTest] = []

    # ------------------------------------------------------------------------------------------ what is heard

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._root:
            if name not in _CASES:
                raise Stop(malformed(f"its root is <{quoted(name)}>, and not <testsuites> or <testsuite>"))
            self._root = name
        if self._case is not None:
            self._inside += 1
            self._start_in(self._case, name, attributes)
        elif name == _CASES[self._root]:
            self._case = self._open(attributes)
        elif name in _SUITES:
            self._start_suite(attributes)

    def end(self, name: str) -> None:
        if self._case is None:
            if name in _SUITES:
                self._end_suite(self._suites.pop())
        elif self._inside:
            self._inside -= 1
            if not self._inside:
                self._end_in(self._case)
        else:
            self._close(self._case)
            self._case = None

    def text(self, text: str) -> None:
        if self.listens:  # one failure may print a gigabyte
            self._heard.append(text[:_LONGEST_MESSAGE])
            self.listens = sum(map(len, self._heard)) < _LONGEST_MESSAGE

    # ------------------------------------------------------------------------------------------ suites and cases

    def _start_suite(self, attributes: Mapping[str, str]) -> None:
        tests = _count(attributes, "tests")
        if not self._suites:
            skipped = _count(attributes, "skipped") + _count(attributes, "disabled")
            for index, number in enumerate((tests, _failures(attributes), skipped)):
                self._told[index] += number
        file = attributes.get("file") or attributes.get("filepath") or (self._suites[-1].file if self._suites else "")
        read = self._counts[0], len(self._cases), len(self._passed)
        self._suites.append(_Suite(attributes.get("name", ""), file, tests, *read))

    def _end_suite(self, suite: _Suite) -> None:
        """Takes out what only seems to have passed, where the suite says that it holds fewer tests than cases."""
        surplus = self._counts[0] - suite.cases - suite.tests
        if not suite.tests or surplus <= 0:
            return
        failed = {NameOfTest(case.suite, case.test) for case in self._cases[suite.failed :]}
        passed = Counter(self._passed[suite.passed :])
        again = {name: times for name, times in passed.items() if times > 1 or name in failed}
        repeats = sum(times - (name not in failed) for name, times in again.items())
        if not 0 < repeats <= surplus:
            return
        self._counts[0] -= repeats
        self._passed[suite.passed :] = [name for name in self._passed[suite.passed :] if name not in again]
        flaky = [name for name in again if name not in failed]
        self._cases += [TestCase(suite=name.suite, test=name.test, failures=0, flaky=True) for name in flaky]

    def _open(self, attributes: Mapping[str, str]) -> _Case:
        suite, file = self._suites[-1][:2] if self._suites else ("", "")
        said = attributes.get("classname") or attributes.get("class") or attributes.get("type") or suite
        words = {attributes.get(key, "").lower() for key in ("status", "result")}
        return _Case(
            suite=said,
            test=attributes.get("name", ""),
            file=attributes.get("file") or file,
            seconds=_seconds(attributes.get("time") or attributes.get("duration") or ""),
            failed=not words.isdisjoint(_FAILED_WORDS),
            skipped=not words.isdisjoint(_SKIPPED_WORDS),
        )

    def _start_in(self, case: _Case, name: str, attributes: Mapping[str, str]) -> None:
        if self._inside > 1:
            return
        if name in _FAILED or name in _AGAIN:
            case.failed = case.failed or name in _FAILED
            case.again = case.again or name in _AGAIN
            case.message = case.message or attributes.get("message", "")[:_LONGEST_MESSAGE]
            self.listens = not case.message
        elif name == "skipped":
            case.skipped = True

    def _end_in(self, case: _Case) -> None:
        case.message = case.message or "".join(self._heard).strip()[:_LONGEST_MESSAGE]
        self._heard.clear()
        self.listens = False

    def _close(self, case: _Case) -> None:
        skipped = case.skipped and not case.failed
        for index, number in enumerate((1, case.failed, skipped)):
            self._counts[index] += number
        if case.seconds is not None:
            self._seconds = min((self._seconds or 0.0) + case.seconds, _LONGEST_TIME)
        if self._counts[0] > self._caps.cases:
            raise too_large(f"it holds more than {self._caps.cases} tests")
        if skipped:
            return
        if not case.test:
            self._unnamed = True
            return
        self._keep(case, self._name(case))

    def _name(self, case: _Case) -> NameOfTest:
        name = NameOfTest(self._once(case.suite), shorten(case.test, self._caps.name))
        self._room -= len(name.test)
        if self._room < 0:
            raise too_large(f"the names in it are longer than {self._caps.names} characters together")
        return name

    def _once(self, text: str) -> str:
        """A name that many cases share, kept once."""
        kept = self._known.get(text)
        if kept is None:
            kept = self._known[text] = shorten(text, self._caps.name)
            self._room -= len(text)
        return kept

    def _keep(self, case: _Case, name: NameOfTest) -> None:
        if not (case.failed or case.again):
            self._passed.append(name)
            return
        self._cases.append(
            TestCase(
                suite=name.suite,
                test=name.test,
                file=self._once(case.file),
                failures=int(case.failed),
                flaky=not case.failed,
                duration=None if case.seconds is None else timedelta(seconds=case.seconds),
                message=case.message if len(self._cases) < _MOST_MESSAGES else "",
            )
        )

    # ------------------------------------------------------------------------------------------ what it comes to

    def tests(self) -> Tests:
        """All that was heard."""
        total, failed, skipped = self._counts
        if not total:  # a summary, whose cases somebody left out
            return _summary(*self._told)
        cases, passed = gather(self._cases, self._passed)
        duration = None if self._seconds is None else timedelta(seconds=self._seconds)
        tests = Tests(total=total, failed=failed, skipped=skipped, duration=duration)
        return replace(tests, named=False) if self._unnamed else replace(tests, cases=cases, passed=passed)


def _summary(total: int, failed: int, skipped: int) -> Tests:
    return Tests(total=total, failed=min(failed, total), skipped=min(skipped, total), named=total == 0)


def _failures(attributes: Mapping[str, str]) -> int:
    return _count(attributes, "failures") + _count(attributes, "errors")


def _count(attributes: Mapping[str, str], name: str) -> int:
    number = _number(attributes.get(name, ""))
    return int(number) if number is not None and 0 <= number <= 10**9 else 0


def _seconds(text: str) -> float | None:
    number = _number(text)
    return number if number is not None and 0 <= number <= _LONGEST_TIME else None


def _number(text: str) -> float | None:
    """A number as tools write them: `0.12`, `1,234.5`, and `0,12` where a comma is the point."""
    try:
        number = float(text.replace(",", "" if "." in text else "."))
    except ValueError:
        return None
    return number if isfinite(number) else None
