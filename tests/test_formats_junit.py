"""Test reports of every dialect: what they say, and one line for what is none."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.formats import Caps, Reason, Tests, Unreadable, all_tests, read_tests
from k2alert.model import Execution, NameOfTest, TestCase

HEAD = '<testsuites><testsuite name="suite">'
TAIL = "</testsuite></testsuites>"


def read(text: str, caps: Caps | None = None) -> Tests:
    found = read_tests([text.encode()], caps)
    assert isinstance(found, Tests), found
    return found


def refused(text: str | bytes, caps: Caps | None = None) -> Unreadable:
    found = read_tests([text if isinstance(text, bytes) else text.encode()], caps)
    assert isinstance(found, Unreadable)
    assert "\n" not in found.line
    assert len(found.line) < 200
    return found


def outcomes(tests: Tests) -> dict[str, str]:
    """Each test, and what became of it: `+` passed, `-` failed, `~` both."""
    cases = {case.test: "~" if case.both else "-" for case in tests.cases}
    return {name.test: "+" for name in tests.passed} | cases


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        pytest.param('<testcase name="t"/>', "+", id="nothing inside"),
        pytest.param('<testcase name="t"><system-out>error</system-out></testcase>', "+", id="output"),
        pytest.param('<testcase name="t"><failure/></testcase>', "-", id="failure"),
        pytest.param('<testcase name="t"><error message="m"/></testcase>', "-", id="error"),
        pytest.param('<testcase name="t"><skipped/><failure/></testcase>', "-", id="failed and skipped"),
        pytest.param('<testcase name="t" status="failed"/>', "-", id="failed by a word"),
        pytest.param('<testcase name="t"/><testcase name="t"><failure/></testcase>', "~", id="twice"),
        pytest.param('<testcase name="t"><flakyFailure message="m"/></testcase>', "~", id="flaky"),
        pytest.param('<testcase name="t"><flakyError/><flakyError/></testcase>', "~", id="flaky, errors"),
        pytest.param('<testcase name="t"><failure/><rerunFailure/></testcase>', "-", id="failed again"),
        pytest.param('<testcase name="t"><failure/><flakyFailure/></testcase>', "-", id="failed in the end"),
        pytest.param('<testcase name="t"><x><failure/></x></testcase>', "+", id="a failure of something else"),
        pytest.param('<a:testcase xmlns:a="u" name="t"><a:failure/></a:testcase>', "-", id="with a prefix"),
    ],
)
def test_a_case_says_what_became_of_its_test(case: str, outcome: str) -> None:
    assert outcomes(read(HEAD + case + TAIL)) == {"t": outcome}


@pytest.mark.parametrize(
    "attributes", ['status="notrun"', 'status="disabled"', 'result="suppressed"', 'result="skipped" status="run"']
)
def test_a_disabled_test_was_not_executed(attributes: str) -> None:
    tests = read(f'{HEAD}<testcase name="t" {attributes}/>{TAIL}')
    assert (tests.total, tests.skipped, tests.passed, tests.cases) == (1, 1, (), ())


def test_a_suite_is_the_class_or_else_the_suite() -> None:
    tests = read(
        '<testsuites><testsuite name="outer"><testsuite name="inner">'
        '<testcase name="a" classname="pkg.Class"/><testcase name="b" classname=""/><testcase name="c" class="Php"/>'
        '</testsuite><testcase name="d"/></testsuite></testsuites>'
    )
    assert tests.passed == (
        NameOfTest("pkg.Class", "a"),
        NameOfTest("inner", "b"),
        NameOfTest("Php", "c"),
        NameOfTest("outer", "d"),
    )


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("1.5", 1.5), ("1,234.5", 1234.5), ("0,25", 0.25), ("", None), ("-1", None), ("NaN", None), ("1e999", None)],
)
def test_times_are_read_as_tools_write_them(told: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert read(f'{HEAD}<testcase name="t" time="{told}"/>{TAIL}').duration == expected


def test_what_a_test_said_is_kept_and_cut() -> None:
    tests = read(
        f'{HEAD}<testcase name="a" file="a.py" time="2"><failure message="said">text</failure></testcase>'
        f'<testcase name="b"><failure><message>in</message> text {"x" * 5000}</failure></testcase>{TAIL}'
    )
    assert tests.cases[0] == TestCase(
        suite="suite", test="a", file="a.py", duration=timedelta(seconds=2), message="said"
    )
    assert tests.cases[1].message.startswith("in text xxx")
    assert len(tests.cases[1].message) == 1000


def test_a_rerun_that_looks_like_a_pass_is_none() -> None:
    """pytest-rerunfailures: the suite says 3 tests and holds 6 cases."""
    tests = read(
        '<testsuites><testsuite name="pytest" tests="3">'
        '<testcase name="flaky"/><testcase name="flaky"/><testcase name="fine"/>'
        '<testcase name="broken"/><testcase name="broken"/><testcase name="broken"><failure/></testcase>' + TAIL
    )
    assert outcomes(tests) == {"fine": "+", "flaky": "~", "broken": "-"}
    assert (tests.total, tests.failed) == (3, 1)


def test_tests_of_one_name_stay_when_the_suite_counts_them() -> None:
    tests = read(f'<testsuites><testsuite name="s" tests="2"><testcase name="t"/><testcase name="t"/>{TAIL}')
    assert (tests.total, len(tests.passed)) == (2, 2)


def test_a_summary_without_cases_gives_totals_only() -> None:
    tests = read('<testsuite name="s" tests="6" failures="1" errors="1" skipped="2"/>')
    assert (tests.total, tests.failed, tests.skipped, tests.named) == (6, 2, 2, False)


def test_tests_without_names_are_counted_and_not_told_apart() -> None:
    tests = read(f'{HEAD}<testcase name="t"/><testcase><failure/></testcase>{TAIL}')
    assert (tests.total, tests.failed, tests.named, tests.cases, tests.passed) == (2, 1, False, (), ())


def test_nunit_and_xunit_are_read_too() -> None:
    nunit = read(
        '<test-run><test-suite name="A"><test-case name="ok" classname="N.C" result="Passed" duration="0.5"/>'
        '<test-case name="bad" classname="N.C" result="Failed"><failure><message>no</message></failure></test-case>'
        '<test-case name="not" classname="N.C" result="Inconclusive"/></test-suite></test-run>'
    )
    xunit = read(
        '<assemblies><assembly name="a.dll"><collection><test name="N.C.ok" type="N.C" result="Pass"/>'
        '<test name="N.C.bad" type="N.C" result="Fail"><failure><message>no</message></failure></test>'
        "</collection></assembly></assemblies>"
    )
    assert outcomes(nunit) == {"ok": "+", "bad": "-"}
    assert (nunit.skipped, nunit.cases[0].message) == (1, "no")
    assert outcomes(xunit) == {"N.C.ok": "+", "N.C.bad": "-"}


def test_files_of_one_execution_are_one_report() -> None:
    first = read(f'{HEAD}<testcase name="a" time="1"/><testcase name="b"><failure/></testcase>{TAIL}')
    second = read(f'{HEAD}<testcase name="b" time="1"/><testcase name="c"/>{TAIL}')
    both = all_tests([first, second])
    assert both is not None
    assert outcomes(both) == {"a": "+", "b": "~", "c": "+"}
    assert (both.total, both.failed, both.cases[0].executions) == (4, 1, 2)
    by = Execution(source="s", project="p", run="1", finished_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert both.report(by).passed == (NameOfTest("suite", "a"), NameOfTest("suite", "c"))
    assert all_tests([]) is None


def test_long_names_stay_different() -> None:
    long = "x" * 5000
    tests = read(f'{HEAD}<testcase name="{long}1"/><testcase name="{long}2"/>{TAIL}')
    assert len(set(tests.passed)) == 2
    assert all(len(name.test) == 1000 for name in tests.passed)


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        pytest.param("", Reason.MALFORMED, "empty", id="empty"),
        pytest.param("   \n", Reason.MALFORMED, "empty", id="blank"),
        pytest.param(HEAD, Reason.MALFORMED, "no element found", id="cut off"),
        pytest.param("<html><body>404</body></html>", Reason.MALFORMED, "its root is <html>", id="a page"),
        pytest.param("{}", Reason.MALFORMED, "no XML", id="JSON"),
        pytest.param('<?xml version="1.0" encoding="klingon"?><a/>', Reason.MALFORMED, "no XML", id="encoding"),
        pytest.param(b"\xff\xfe<\x00", Reason.MALFORMED, "no XML", id="half of UTF-16"),
        pytest.param('<!DOCTYPE a [<!ENTITY b "c">]><testsuites/>', Reason.ENTITIES, "document type", id="entity"),
        pytest.param(
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><testsuites>&b;</testsuites>',
            Reason.ENTITIES,
            "document type",
            id="external entity",
        ),
        pytest.param("<testsuites>&who;</testsuites>", Reason.MALFORMED, "undefined entity", id="unknown entity"),
        pytest.param("<testsuite>" * 101, Reason.TOO_LARGE, "deeper", id="deep"),
    ],
)
def test_what_is_no_report_is_refused_with_one_line(text: str | bytes, reason: Reason, says: str) -> None:
    found = refused(text)
    assert found.reason is reason
    assert says in found.line


def test_a_type_declared_elsewhere_is_passed_over() -> None:
    assert read('<!DOCTYPE testsuites SYSTEM "http://127.0.0.1:9/x.dtd"><testsuites/>').total == 0


@pytest.mark.parametrize(
    ("caps", "says"),
    [
        (Caps(size=100), "larger than"),
        (Caps(cases=1), "more than 1 tests"),
        (Caps(names=10), "names in it"),
        (Caps(depth=2), "deeper than 2"),
    ],
)
def test_what_is_too_large_is_refused(caps: Caps, says: str) -> None:
    found = refused(f'{HEAD}<testcase name="one"/><testcase name="another"/>{TAIL}' + " " * 100, caps)
    assert found.reason is Reason.TOO_LARGE
    assert says in found.line


def test_a_file_cut_into_any_pieces_says_the_same() -> None:
    text = f'\n {HEAD}<testcase name="ä" classname="c"><failure message="&lt;é">x</failure></testcase>{TAIL}'.encode()
    whole = read_tests([text])
    assert isinstance(whole, Tests)
    for size in (1, 2, 3, 7, 50):
        assert read_tests(text[start : start + size] for start in range(0, len(text), size)) == whole


@given(st.data())
def test_no_file_is_an_error(data: st.DataObject) -> None:
    text = f'{HEAD}<testcase name="a" time="1"><failure message="m">t</failure></testcase>{TAIL}'.encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    changed = text[:start] + data.draw(st.binary(max_size=20)) + text[end:]
    found = read_tests([changed])
    assert isinstance(found, Tests | Unreadable)


EXPECTED = {
    "pytest_9.2_xunit1_with_rerunfailures.xml": (11, 3, 2, True),
    "pytest_9.2_xunit2_with_rerunfailures.xml": (11, 3, 2, True),
    "jest__jest-junit.xml": (2, 0, 0, True),
    "junit.multiresult.xml": (4, 2, 1, True),
    "minimal-attributes.xml": (4, 2, 1, True),
    "no-attributes.xml": (4, 2, 1, False),
    "no-cases-but-tests.xml": (6, 1, 2, False),
    "pytest__junit.fail.xml": (5, 1, 1, True),
    "pytest__junit.mpi.integration.xml": (3, 0, 0, True),
    "surefire_TEST-org.acme.FlakyTest.xml": (2, 0, 0, True),
    "testsuite-in-testsuite.xml": (5, 0, 0, True),
    "testsuite-root.xml": (5, 0, 0, True),
    "with-xml-entities.xml": (4, 2, 2, True),
}
"""Of each recorded file: tests, failed, skipped, and whether all are named."""


@pytest.mark.parametrize("name", EXPECTED)
def test_the_dialects_that_were_recorded_are_read(name: str, shared_data: Path) -> None:
    tests = read_tests(_chunks(shared_data, name))
    assert isinstance(tests, Tests)
    assert (tests.total, tests.failed, tests.skipped, tests.named) == EXPECTED[name]


def test_the_flaky_tests_of_recorded_files_are_known(shared_data: Path) -> None:
    surefire = read_tests(_chunks(shared_data, "surefire_TEST-org.acme.FlakyTest.xml"))
    pytest_ = read_tests(_chunks(shared_data, "pytest_9.2_xunit2_with_rerunfailures.xml"))
    assert isinstance(surefire, Tests)
    assert isinstance(pytest_, Tests)
    assert [case.test for case in surefire.cases if case.both] == ["testFlaky"]
    assert [case.test for case in pytest_.cases if case.both] == ["test_flaky"]


def test_the_corrupt_recorded_file_is_refused_with_one_line(shared_data: Path) -> None:
    found = read_tests(_chunks(shared_data, "pytest__corrupt-xml.xml"))
    assert found == Unreadable(Reason.MALFORMED, "it is no XML: no element found: line 11, column 21")


def _chunks(shared_data: Path, name: str) -> Iterator[bytes]:
    (path,) = (shared_data / "fixtures/formats").rglob(name)
    yield path.read_bytes()
