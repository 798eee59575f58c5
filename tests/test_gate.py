"""The gates, as a pipeline runs them: report files in, a verdict, an exit code and reports out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from k2alert.cli import main
from k2alert.formats import Tests, read_tests
from tests.support.archives import cobertura, junit


def gate(*words: object) -> Result:
    result = CliRunner().invoke(main, ["gate", *map(str, words)])
    assert "Traceback" not in result.output
    return result


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def benchmarks(folder: Path, name: str, **values: float | tuple[float, float, int]) -> Path:
    """A file of pytest-benchmark: of each benchmark its median, or that with its spread and rounds."""
    found = []
    for test, told in values.items():
        median, spread, rounds = told if isinstance(told, tuple) else (told, None, None)
        found.append({"fullname": test, "stats": {"median": median, "stddev": spread, "rounds": rounds}})
    return write(folder, name, {"machine_info": {}, "benchmarks": found})


# ------------------------------------------------------------------------------------------------ coverage


@pytest.mark.parametrize(
    ("covered", "words", "code"),
    [
        (750, [], 0),
        (749, [], 1),
        (749, ["--minimum", "74.9"], 0),
        (800, ["--previous", "82"], 0),
        (800, ["--previous", "82.1%"], 1),
        (803, ["--previous", "82.3"], 0),  # 82.3 - 80.3 is more than 2 for a computer
        (800, ["--previous", "85", "--max-drop", "5"], 0),
        (900, ["--previous", "80"], 0),
        (800, ["--previous", ""], 0),
    ],
)
def test_coverage_must_be_enough_and_not_much_less_than_before(
    covered: int, words: list[str], code: int, tmp_path: Path
) -> None:
    report = write(tmp_path, "coverage.xml", cobertura(covered, 1000))
    result = gate("coverage", report, *words)
    assert result.exit_code == code
    assert result.output.splitlines()[-1] == ("gate coverage: failed (1)" if code else "gate coverage: passed")


def test_the_coverage_before_may_be_a_report(tmp_path: Path) -> None:
    now, before = (write(tmp_path, f"{n}.xml", cobertura(n, 100)) for n in (80, 90))
    result = gate("coverage", now, "--previous", before)
    assert result.exit_code == 1
    assert result.output == (
        "ok    lines  80.00%        at least 75.00%   80 of 100 lines\n"
        "FAIL  drop   10.00 points  at most 2 points  from 90.00%\n"
        "gate coverage: failed (1)\n"
    )


def test_coverage_just_below_the_minimum_does_not_look_as_if_it_reached_it(tmp_path: Path) -> None:
    result = gate("coverage", write(tmp_path, "c.xml", cobertura(749_999, 1_000_000)))
    assert result.exit_code == 1
    assert "74.99%" in result.output


def test_a_shrunken_report_is_said_to_be_one(tmp_path: Path) -> None:
    whole = "".join(f"SF:{n}.js\nDA:1,1\nend_of_record\n" for n in range(10))
    before, now = write(tmp_path, "all.info", whole), write(tmp_path, "one.info", whole[:30])
    result = gate("coverage", now, "--previous", before)
    assert "it holds 1 of the 10 source files of the report before" in result.output


# ------------------------------------------------------------------------------------------------- flaky


def test_flaky_tests_are_those_with_both_outcomes(tmp_path: Path) -> None:
    tries = [write(tmp_path, f"{n}.xml", junit(outcomes)) for n, outcomes in enumerate(["++--", "+++-"])]
    result = gate("flaky", *tries)
    assert result.exit_code == 1
    assert result.output == (
        "FAIL  flaky tests  25.00%  at most 5.00%  1 of 4 tests\n      unit: t2     flaky\ngate flaky: failed (1)\n"
    )
    assert gate("flaky", *tries, "--max-rate", "0.25").exit_code == 0


def test_a_report_that_broke_down_makes_nothing_flaky(tmp_path: Path) -> None:
    tries = [write(tmp_path, f"{n}.xml", junit(outcomes)) for n, outcomes in enumerate(["-" * 15, "+" * 15])]
    assert gate("flaky", *tries, "--max-rate", "0").exit_code == 0


def test_nothing_executed_is_no_pass(tmp_path: Path) -> None:
    result = gate("flaky", write(tmp_path, "a.xml", junit("ss")))
    assert (result.exit_code, result.output) == (2, "no test was executed\n")


def test_files_without_names_are_said(tmp_path: Path) -> None:
    totals = write(tmp_path, "a.xml", '<testsuite tests="9" failures="1"/>')
    result = gate("flaky", totals, write(tmp_path, "b.xml", junit("++")))
    assert result.exit_code == 0
    assert "1 of 2 files name no tests" in result.output


# -------------------------------------------------------------------------------------------- performance


@pytest.mark.parametrize(
    ("now", "before", "code"),
    [
        pytest.param(1.10, 1.0, 0, id="at the threshold"),
        pytest.param(1.11, 1.0, 1, id="beyond it"),
        pytest.param(0.5, 1.0, 0, id="faster"),
        pytest.param((1.2, 0.01, 100), (1.0, 0.01, 100), 1, id="little noise"),
        pytest.param((1.2, 0.3, 5), (1.0, 0.3, 5), 0, id="within the noise"),
        pytest.param((3.0, 0.3, 5), (1.0, 0.3, 5), 1, id="far beyond the noise"),
        pytest.param(1.0, 0.0, 0, id="a baseline of nothing"),
    ],
)
def test_a_benchmark_must_not_be_worse_than_the_threshold_and_its_noise(
    now: Any, before: Any, code: int, tmp_path: Path
) -> None:
    files = benchmarks(tmp_path, "now.json", t=now), benchmarks(tmp_path, "before.json", t=before)
    assert gate("performance", *files).exit_code == code


@pytest.mark.parametrize(("now", "code"), [(115, 0), (125, 1)])
def test_a_spread_of_unknown_rounds_is_the_noise_itself(now: int, code: int, tmp_path: Path) -> None:
    def line(value: int) -> str:
        return f"test a ... bench: {value} ns/iter (+/- 15)\n"

    assert gate("performance", write(tmp_path, "now", line(now)), write(tmp_path, "old", line(100))).exit_code == code


def test_more_operations_a_second_are_better(tmp_path: Path) -> None:
    def rate(value: float) -> list[dict[str, object]]:
        return [{"name": "b", "unit": "ops/s", "value": value}]

    slow, fast = write(tmp_path, "slow.json", rate(80)), write(tmp_path, "fast.json", rate(100))
    assert gate("performance", slow, fast).exit_code == 1
    assert gate("performance", fast, slow).exit_code == 0


def test_the_worst_comes_first_and_what_has_no_pair_last(tmp_path: Path) -> None:
    now = benchmarks(tmp_path, "now.json", a=1.0, b=3.0, c=1.2, new=1.0)
    before = benchmarks(tmp_path, "before.json", a=1.0, b=1.0, c=1.0, gone=1.0)
    result = gate("performance", now, before, "--output", "json")
    found = json.loads(result.output)
    assert [(line["what"], line["passed"]) for line in found["lines"]] == [
        ("b", False),
        ("c", False),
        ("a", True),
        ("new", None),
        ("gone", None),
    ]
    assert (found["passed"], found["lines"][0]["value"]) == (False, "+200.0%")


def test_the_form_in_which_scripts_keep_benchmarks_is_read(tmp_path: Path) -> None:
    def by_name(mean: float) -> dict[str, object]:
        return {"benchmarks": {"test_it": {"stats": {"mean": mean}}}}

    files = write(tmp_path, "now.json", by_name(1.2)), write(tmp_path, "before.json", by_name(1.0))
    assert gate("performance", *files).exit_code == 1
    assert gate("performance", *files, "--threshold", "0.25").exit_code == 0


def test_files_of_other_machines_are_said(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{cpu}.txt", f"cpu: {cpu}\nBenchmarkA 1 5 ns/op\n") for cpu in ("fast", "slow")]
    assert "the processors differ: fast, before slow" in gate("performance", *files).output


# --------------------------------------------------------------------------------------- what is the same


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coverage", "{folder}/missing.xml"], "missing.xml: No such file or directory"),
        (["coverage", "{folder}"], "Is a directory"),
        (["coverage", "{folder}/broken"], "broken: its root is <html>, and neither <coverage> nor <report>"),
        (["coverage", "{folder}/good.xml", "--previous", "{folder}/broken"], "broken: its root is"),
        (["coverage", "{folder}/good.xml", "--previous", "120"], "--previous 120: not between 0 and 100"),
        (["flaky", "{folder}/broken"], "broken: its root is <html>"),
        (["performance", "{folder}/broken", "{folder}/broken"], "broken: it holds no benchmark that can be read"),
        (["performance", "{folder}/a.json", "{folder}/b.json"], "have no benchmark in common"),
        (["coverage", "{folder}/good.xml", "--junit", "{folder}/no/such/folder.xml"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(words: list[str], said: str, tmp_path: Path) -> None:
    write(tmp_path, "broken", "<html></html>")
    write(tmp_path, "good.xml", cobertura(9, 10))
    benchmarks(tmp_path, "a.json", a=1.0)
    benchmarks(tmp_path, "b.json", b=1.0)
    result = gate(*(word.format(folder=tmp_path) for word in words))
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.stderr.splitlines()) == 1


def test_a_verdict_is_a_comment_and_a_test_report_too(tmp_path: Path) -> None:
    now, before = benchmarks(tmp_path, "now.json", a=2.0, b=1.0), benchmarks(tmp_path, "before.json", a=1.0, b=1.0)
    summary, report = write(tmp_path, "summary.md", "before\n"), tmp_path / "gate.xml"
    result = gate("performance", now, before, "--summary", summary, "--junit", report)
    assert result.exit_code == 1
    assert summary.read_text().startswith("before\n### ❌ gate performance: failed (1)\n\n|  |  | value | limit |  |\n")
    assert "| FAIL | `a` | `+100.0%` | `at most 10.0% worse` | `from 1 s, now 2 s` |" in summary.read_text()
    cases = ElementTree.parse(report).getroot().findall("testsuite/testcase")
    assert [(case.get("name"), case.find("failure") is not None) for case in cases] == [("a", True), ("b", False)]
    read = read_tests([report.read_bytes()])
    assert isinstance(read, Tests)
    assert (read.total, read.failed) == (2, 1)


def test_names_of_others_are_neither_markup_nor_escape_sequences(tmp_path: Path) -> None:
    evil = "`@all` | <img src=x> [x](http://evil)\x1b[2J"
    slow, fast = (write(tmp_path, f"{n}.json", [{"name": evil, "value": n, "unit": "s"}]) for n in (2, 1))
    text = gate("performance", slow, fast).output
    assert "\x1b" not in text
    markdown = gate("performance", slow, fast, "--output", "markdown").output
    assert "| FAIL | `'@all' ¦ <img src=x> [x](http://evil)[2J` |" in markdown


def test_a_long_table_is_cut_but_not_in_json(tmp_path: Path) -> None:
    many = {f"b{n}": 1.0 for n in range(150)}
    files = benchmarks(tmp_path, "now.json", **many), benchmarks(tmp_path, "before.json", **many)
    assert "and 50 more" in gate("performance", *files).output
    assert len(json.loads(gate("performance", *files, "--output", "json").output)["lines"]) == 150


# ---------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "-1", "much"])
@pytest.mark.parametrize(
    "words",
    [
        ("coverage", "c.xml", "--minimum"),
        ("coverage", "c.xml", "--max-drop"),
        ("coverage", "c.xml", "--previous"),
        ("flaky", "c.xml", "--max-rate"),
        ("performance", "c.xml", "c.xml", "--threshold"),
    ],
    ids=lambda words: words[-1],
)
def test_a_limit_that_nothing_can_be_held_against_is_refused(
    words: tuple[str, ...], number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "c.xml", cobertura(80, 100))
    result = gate(*words, number)
    assert result.exit_code == 2
    assert number in result.output


def test_reports_are_written_whoever_stops_reading_the_table(tmp_path: Path) -> None:
    report, summary = write(tmp_path, "c.xml", cobertura(80, 100)), tmp_path / "s.md"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        words = [sys.executable, "-m", "k2alert", "gate", "coverage", report, "--summary", summary]
        subprocess.run(words, stdout=closed, stderr=subprocess.PIPE, check=False, timeout=60)
    assert "gate coverage: passed" in summary.read_text()
