"""The tests in suites and parts, for pipelines: each file is in exactly one, and the parts are about equally long."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.split import DURATIONS, SUITES, TESTS, parts_of, seconds_by_file, suite_of

FILES = sorted(path.name for path in TESTS.glob("test_*.py"))
SECONDS: dict[str, float] = json.loads(DURATIONS.read_text())


def printed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.split", *words]
    return subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True)


def test_every_file_is_in_one_part_of_one_suite() -> None:
    found = [name for suite in SUITES for part in ("1/2", "2/2") for name in printed(suite, part).stdout.split()]
    assert sorted(found) == [f"tests/{name}" for name in FILES]


@pytest.mark.parametrize("suite", SUITES)
def test_no_glob_of_a_suite_is_in_vain(suite: str) -> None:
    mine = [name for name in FILES if suite_of(name) == suite]
    for glob in SUITES[suite]:
        assert any(Path(name).match(f"{glob}.py") for name in mine), glob


@pytest.mark.parametrize("number", [1, 2, 4, 7])
def test_no_part_is_longer_than_a_fair_one_and_its_longest_file(number: int) -> None:
    seconds = {f"test_{letter}.py": float(7**index % 60) for index, letter in enumerate("abcdefghijklmnopq")}
    parts = parts_of(seconds, seconds, number)
    assert sorted(name for part in parts for name in part) == sorted(seconds)
    fair = sum(seconds.values()) / number
    assert all(sum(seconds[name] for name in part) <= fair + max(seconds.values()) for part in parts)


def test_a_file_that_was_never_timed_counts_as_the_usual_one() -> None:
    assert parts_of(["a", "b", "c"], {"a": 10.0, "b": 1.0, "x": 4.0}, 2) == [["a"], ["b", "c"]]


def test_what_was_timed_is_still_there() -> None:
    assert SECONDS.keys() <= set(FILES)
    assert len(SECONDS) > len(FILES) / 2, "run the suites, then `python -m scripts.split --record reports/*.xml`"


def test_durations_come_from_reports_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("class TestIt:\n    def test_a(self): ...\ndef test_b(): ...\n")
    (tmp_path / "__init__.py").touch()
    folder = tmp_path.rename(tmp_path.with_name("tests"))
    report = folder / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        f"--rootdir={folder.parent}",
    ]
    subprocess.run([*command, f"--junitxml={report}", str(folder)], check=True, capture_output=True)
    assert seconds_by_file([report]).keys() == {"test_one.py"}


@pytest.mark.parametrize("words", [("unit", "0/4"), ("unit", "5/4"), ("other", "1/1")])
def test_a_part_that_is_not_there_is_an_error(words: tuple[str, str]) -> None:
    asked = printed(*words)
    assert asked.returncode == 1
    assert f"no part {words[1]} of {words[0]}" in asked.stderr
