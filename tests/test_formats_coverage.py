"""Coverage reports of four tools: shares of lines, branches apart, and the files they hold."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.formats import Caps, Coverage, Reason, Unreadable, all_coverage, read_coverage

COBERTURA = """<?xml version="1.0"?>
<!DOCTYPE coverage SYSTEM "http://127.0.0.1:9/coverage-04.dtd">
<coverage line-rate="0.6667" {counts}><packages><package name="p"><classes>
<class name="A" filename="a.py"><methods><method name="m"><lines><line number="1" hits="1"/></lines></method></methods>
<lines><line number="1" hits="1"/><line number="2" hits="0" branch="true" condition-coverage="50% (1/2)"/>
</lines></class>
<class name="A$1" filename="a.py"><lines><line number="2" hits="3"/><line number="3" hits="0"/></lines></class>
</classes></package></packages></coverage>"""
JACOCO = """<!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report name="r"><group name="g">
<package name="com/acme"><class name="com/acme/A"><counter type="LINE" missed="9" covered="9"/></class>
<sourcefile name="A.java"><line nr="1" mi="0" ci="2"/><counter type="LINE" missed="1" covered="3"/></sourcefile>
<counter type="LINE" missed="1" covered="3"/></package></group>
<counter type="INSTRUCTION" missed="50" covered="50"/><counter type="BRANCH" missed="3" covered="1"/>
<counter type="LINE" missed="1" covered="3"/></report>"""
CLOVER = """<coverage generated="1"><project timestamp="1"><file name="A.php" path="/src/A.php"><metrics statements="9"
coveredstatements="1"/></file><metrics files="1" statements="8" coveredstatements="6" conditionals="2"
coveredconditionals="1"/></project></coverage>"""
LCOV = """TN:one
SF:src/a.js
DA:1,1
DA:2,0
DA:3,0
BRF:4
BRH:1
LF:3
LH:1
end_of_record
TN:two
SF:src/a.js
DA:2,5
DA:3,0
end_of_record
SF:src/b.js
LF:5
LH:4
end_of_record
"""


def read(text: str, caps: Caps | None = None) -> Coverage:
    found = read_coverage([text.encode()], caps)
    assert isinstance(found, Coverage), found
    return found


def test_counts_of_cobertura_go_before_its_rounded_rate() -> None:
    found = read(COBERTURA.format(counts='lines-covered="2" lines-valid="3" branches-covered="1" branches-valid="4"'))
    assert found.percent == pytest.approx(200 / 3)
    assert (found.lines_covered, found.lines_valid, found.branch_percent, found.files) == (2, 3, 25, ("a.py",))


def test_lines_of_cobertura_are_counted_once_where_the_root_has_no_counts() -> None:
    found = read(COBERTURA.format(counts=""))
    assert (found.lines_covered, found.lines_valid, found.branch_percent) == (2, 3, 50)


def test_a_rate_is_better_than_nothing() -> None:
    found = read('<coverage line-rate="0.5" branch-rate="0.2"/>')
    assert (found.percent, found.lines_valid, found.branch_percent) == (50, None, None)


def test_jacoco_and_clover_give_the_totals_of_their_roots() -> None:
    jacoco, clover = read(JACOCO), read(CLOVER)
    assert (jacoco.percent, jacoco.branch_percent, jacoco.files) == (75, 25, ("com/acme/A.java",))
    assert (clover.percent, clover.branch_percent, clover.files) == (75, 50, ("/src/A.php",))


def test_a_line_that_any_test_ran_is_covered_in_lcov() -> None:
    found = read(LCOV)
    assert (found.lines_covered, found.lines_valid) == (2 + 4, 3 + 5)
    assert (found.branch_percent, found.files) == (25, ("src/a.js", "src/b.js"))


def test_reports_of_modules_are_added_up() -> None:
    both = all_coverage([read(JACOCO), read(CLOVER)])
    assert both is not None
    assert (both.lines_covered, both.lines_valid, both.percent) == (9, 12, 75)
    assert both.branch_percent == pytest.approx(100 * 2 / 6)
    assert len(both.files) == 2
    rate = all_coverage([read('<coverage line-rate="0.5"/>'), read(JACOCO)])
    assert rate is not None
    assert (rate.percent, rate.lines_valid) == (62.5, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("hello", "neither XML nor LCOV"),
        ("<html/>", "its root is <html>"),
        ("<coverage", "no XML"),
        ("<coverage/>", "no lines"),
        ('<coverage lines-covered="0" lines-valid="0"/>', "no lines"),
        ('<coverage lines-covered="7" lines-valid="3"/>', "more was covered"),
        ('<coverage line-rate="7"/>', "line-rate"),
        ("SF:a.js\nDA:1,1\n", "in the middle"),
        ("SF:a.js\nDA:99999999,1\nend_of_record", "impossible"),
        ("SF:a.js\nLF:1\nLH:2\nend_of_record", "more was covered"),
    ],
)
def test_what_is_no_report_is_refused_with_one_line(text: str, says: str) -> None:
    found = read_coverage([text.encode()])
    assert isinstance(found, Unreadable)
    assert found.reason is Reason.MALFORMED
    assert says in found.line


@pytest.mark.parametrize("text", [LCOV, COBERTURA.format(counts="")])
def test_what_is_too_large_is_refused(text: str) -> None:
    caps = [Caps(size=50), Caps(files=0)]
    for cap in caps:
        found = read_coverage([text.encode()], cap)
        assert isinstance(found, Unreadable)
        assert found.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("text", [LCOV, JACOCO, COBERTURA.format(counts="")])
def test_a_file_cut_into_any_pieces_says_the_same(text: str) -> None:
    whole, size = text.encode(), 5
    assert read_coverage(whole[at : at + size] for at in range(0, len(whole), size)) == read(text)


@given(st.sampled_from([LCOV, JACOCO, CLOVER]), st.data())
def test_no_file_is_an_error(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    changed = text[:start].encode() + data.draw(st.binary(max_size=20)) + text[end:].encode()
    found = read_coverage([changed])
    assert isinstance(found, Unreadable) or 0 <= found.percent <= 100


def test_recorded_reports_of_coverage_py_are_read(shared_data: Path) -> None:
    for name, branches in (("coverage_py_7.17_line.xml", None), ("coverage_py_7.17_branch.xml", 50)):
        found = read_coverage([(shared_data / "fixtures/formats/generated" / name).read_bytes()])
        assert isinstance(found, Coverage)
        assert found.percent == pytest.approx(100 * 5 / 6)
        assert (found.branch_percent, found.files) == (branches, ("__init__.py", "calc.py"))
