"""The how-tos: each file that they show is written where it says, checked, and run."""

import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k2alert.cli import main
from k2alert.measure import catalogue, formulas
from k2alert.measure.columns import UNKNOWN, code_of
from k2alert.measure.series import Series
from k2alert.measure.timeline import NEVER, Row
from k2alert.model import RESULTS, Kind, Measured, Needs, Result, Window
from tests.support.pages import ROOT, fenced, files

PAGE = (ROOT / "docs" / "howto.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files of the page, in which somebody types."""
    for file in files(PAGE):
        path = tmp_path / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_line(line: str) -> str:
    """What a line of the page says; it must end well."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "k2alert"
    done = CliRunner(env={"GITLAB_TOKEN": "t" * 20, "SLACK_BOT_TOKEN": "xoxb-0"}).invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def lines(starting: str) -> list[str]:
    """The lines of the page's shell blocks that begin so."""
    shells = "".join(fenced(PAGE, "sh"))
    return [line for line in shells.splitlines() if line.startswith(starting)]


def test_rules_and_their_tests_hold(folder: Path) -> None:
    (check,), (test,) = lines("k2alert check"), lines("k2alert test")
    type_line(check)
    assert "1 test, 0 failed" in type_line(test)


def test_the_main_file_has_nothing_wrong(folder: Path) -> None:
    type_line("k2alert check --strict k2alert.yml")


def test_the_metric_that_is_added_is_one() -> None:
    written: dict[str, Any] = {}
    (code,) = fenced(PAGE, "python")
    exec(code, {**vars(catalogue), **vars(formulas)}, written)
    name, gauge, unit, needs, _ = written["catalogue"]
    assert [name] == list(written["formula"])
    assert (gauge, unit.name, needs) == ("cancellation_ratio", "ratio", Needs.RATIO)
    series = Series(Kind.RUN)
    for place, result in enumerate([Result.SUCCESS, Result.CANCELLATION, Result.SUCCESS, Result.FAILURE]):
        row = code_of(RESULTS.index(result), False, False)
        series.insert(Row(place, place, row, UNKNOWN, UNKNOWN, created=0, lane=0, superseded=NEVER))
    assert written["formula"][name](series, Window(timedelta(hours=1)), 10) == Measured(0.25, 4)
