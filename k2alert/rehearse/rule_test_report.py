"""What rule tests came to, for people, programs and CI: outcomes come in, text, JSON and JUnit's XML go out.

JUnit's form is that of https://github.com/testmoapp/junitxml, which GitLab and GitHub's actions read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from k2alert.model import Problem
from k2alert.rehearse.rule_tests import Difference, Outcome

__all__ = ["FileReport", "as_json", "as_junit", "as_text", "passed"]


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file: its tests that ran, or what is wrong with it."""

    file: str
    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> int:
        """How many tests failed; a file that cannot be read is one."""
        return sum(not outcome.passed for outcome in self.outcomes) + bool(self.problems)


def passed(reports: Sequence[FileReport]) -> bool:
    """Whether everything came true."""
    return not any(report.failed for report in reports)


def as_text(reports: Sequence[FileReport]) -> str:
    """A line for each test, its differences below it, and one that counts."""
    lines: list[str] = []
    for report in reports:
        lines += [str(problem) for problem in report.problems]
        lines += [line for outcome in report.outcomes for line in _outcome_lines(report.file, outcome)]
    ran = sum(len(report.outcomes) for report in reports)
    wrong = sum(report.failed for report in reports)
    return "\n".join([*lines, f"{ran} {'test' if ran == 1 else 'tests'}, {wrong} failed"])


def _outcome_lines(file: str, outcome: Outcome) -> list[str]:
    if outcome.passed:
        return [f"ok    {file}: {outcome.test.name}"]
    differences = [line for difference in outcome.differences for line in _difference_lines(difference)]
    return [f"FAIL  {file}: {outcome.test.name}", *differences]


def _difference_lines(difference: Difference) -> list[str]:
    got = difference.got or ("there is no such alert",)
    return [
        f"      {difference.expected.place}",
        f"        expected  {difference.wanted}",
        *(f"        {'got' if not place else '':8}  {line}" for place, line in enumerate(got)),
    ]


def as_json(reports: Sequence[FileReport]) -> str:
    """The same for programs."""
    found = [
        {
            "file": report.file,
            "problems": [str(problem) for problem in report.problems],
            "tests": [
                {
                    "name": outcome.test.name,
                    "line": outcome.test.place.line,
                    "passed": outcome.passed,
                    "differences": [_as_dict(difference) for difference in outcome.differences],
                }
                for outcome in report.outcomes
            ],
        }
        for report in reports
    ]
    return json.dumps({"passed": passed(reports), "files": found}, indent=2, ensure_ascii=False)


def _as_dict(difference: Difference) -> dict[str, Any]:
    place = difference.expected.place
    where = {"file": place.file, "line": place.line, "column": place.column}
    return {**where, "expected": difference.wanted, "got": list(difference.got)}


def as_junit(reports: Sequence[FileReport]) -> bytes:
    """JUnit's XML: a suite for each file, a case for each test; a file that is wrong is a case with an error."""
    top = Element("testsuites", name="k2alert test")
    for report in reports:
        cases = len(report.outcomes) + bool(report.problems)
        failures = sum(not outcome.passed for outcome in report.outcomes)
        counts = {"tests": str(cases), "failures": str(failures), "errors": str(int(bool(report.problems)))}
        suite = SubElement(top, "testsuite", {"name": _xml(report.file), **counts})
        for outcome in report.outcomes:
            case = SubElement(
                suite,
                "testcase",
                name=_xml(outcome.test.name),
                classname=_xml(report.file),
                file=_xml(report.file),
                line=str(outcome.test.place.line),
            )
            if not outcome.passed:
                text = "\n".join(line for found in outcome.differences for line in _difference_lines(found))
                SubElement(case, "failure", message=_xml(outcome.differences[0].wanted)).text = _xml(text)
        if report.problems:
            case = SubElement(suite, "testcase", name="the file", classname=_xml(report.file))
            SubElement(case, "error", message=_xml(str(report.problems[0]))).text = _xml(
                "\n".join(map(str, report.problems))
            )
    content: bytes = tostring(top, encoding="utf-8", xml_declaration=True)
    return content


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(char if char in "\n\t" or char.isprintable() else "�" for char in text)
