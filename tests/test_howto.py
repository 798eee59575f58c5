"""The how-tos: each file that they show is written where it says, checked, and run."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from k2alert.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "howto.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files of the page, in which somebody types."""
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
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
    shells = "".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    return [line for line in shells.splitlines() if line.startswith(starting)]


def test_rules_and_their_tests_hold(folder: Path) -> None:
    (check,), (test,) = lines("k2alert check"), lines("k2alert test")
    type_line(check)
    assert "1 test, 0 failed" in type_line(test)


def test_the_main_file_has_nothing_wrong(folder: Path) -> None:
    type_line("k2alert check --strict k2alert.yml")


def test_commands_and_options_of_the_page_exist() -> None:
    for line in lines("k2alert"):
        words = [word for word in shlex.split(line, comments=True)[1:] if re.fullmatch(r"-{0,2}[a-z-]+", word)]
        names = [word for word in words if not word.startswith("-")]
        depth = 2 if names[0] == "silence" else 1
        usage = CliRunner().invoke(main, [*names[:depth], "--help"])
        assert usage.exit_code == 0, line
        for option in words:
            assert not option.startswith("--") or option in usage.output, line
