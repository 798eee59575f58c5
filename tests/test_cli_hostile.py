"""The commands against what no honest user has: links in circles, folders, endless files, full disks, impatience."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from k2alert.cli import main
from tests.support.broken_files import RULE

LINK, OTHER = "loop.yml", "pool.yml"


def k2alert(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    """A link to a link to itself."""
    (tmp_path / LINK).symlink_to(OTHER)
    (tmp_path / OTHER).symlink_to(LINK)
    return tmp_path / LINK


def test_a_link_in_a_circle_cannot_be_read(circle: Path) -> None:
    said = f"{circle}:1:1: cannot be read: Too many levels of symbolic links"
    assert k2alert("check", circle).output.splitlines()[0] == said
    assert k2alert("test", circle).output.splitlines()[0] == said


def test_a_main_file_that_names_one_says_where(circle: Path) -> None:
    config = circle.parent / "k2alert.yml"
    config.write_text(f"rule_files: [{LINK}]\n")
    result = k2alert("check", config)
    assert f"{config}:1:14: rule_files: there is no file {circle}" in result.output.splitlines()
    assert result.exit_code == 1


def test_a_folder_without_tests_is_no_success(tmp_path: Path) -> None:
    result = k2alert("test", tmp_path)
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == f"{tmp_path}:1:1: there is no file *.yml or *.yaml in this folder"


def test_both_endings_of_files_are_tests(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yaml"):
        (tmp_path / name).write_text("- x\n")
    assert k2alert("test", tmp_path).output.splitlines()[-1] == "0 tests, 2 failed"


def test_a_files_name_breaks_no_line_and_moves_no_cursor(tmp_path: Path) -> None:
    folder = tmp_path / "a\n::error::b\x1b[2J\u202e"
    folder.mkdir()
    (folder / "r.yml").write_text(RULE.replace("warning", "warn"))
    lines = k2alert("check", folder / "r.yml").output.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{tmp_path}/a ::error::b[2J/r.yml:5:15: severity: must be")
    (line,) = k2alert("check", folder / "r.yml", "--output", "github").output.splitlines()
    assert line.startswith(f"::error file={tmp_path}/a%0A%3A%3Aerror%3A%3Ab")


HISTORIES = [
    ("", 2, "--history takes a file or an http(s) address"),
    ("ftp://user:secret@host/x", 2, "--history takes a file or an http(s) address"),
    ("http://[x", 1, "no history: not an http(s) address"),
    ("http://user:secret@127.0.0.1:99999", 1, "no history from http://127.0.0.1:99999/api/v1/history: not an http(s)"),
    ("http://user:secret@127.0.0.1:9", 1, "http://127.0.0.1:9/api/v1/history: connection refused"),
    ("http://nowhere.invalid", 1, "http://nowhere.invalid/api/v1/history: no address for this host"),
    ("/dev/zero", 1, "/dev/zero: line 1: not a line of a k2alert history"),
    ("/dev/null", 1, "the history is cut off: its last line is missing"),
    ("/", 1, "/: Is a directory"),
]


@pytest.mark.parametrize(("history", "code", "said"), HISTORIES, ids=[history for history, *_ in HISTORIES])
def test_a_history_from_nowhere_is_one_clear_line_without_secrets(
    history: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "r.yml").write_text(RULE)
    nothing = ["--config", tmp_path / "none.yml", "--rules", tmp_path / "r.yml"]
    result = k2alert("backtest", "--since", "7d", *nothing, "--history", history)
    assert (result.exit_code, result.output.count("secret")) == (code, 0)
    assert said in result.output.splitlines()[-1]


TIMES = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1969-12-31T00:00:00Z"]


@pytest.mark.parametrize("time", TIMES)
def test_a_time_at_the_ends_of_the_calendar_is_no_time(time: str, tmp_path: Path) -> None:
    (tmp_path / "k2alert.yml").write_text(RULE)
    config = ["--config", tmp_path / "k2alert.yml"]
    for command in (["explain", "red", "--at", time], ["backtest", "--since", "1d", "--until", time]):
        result = k2alert(*command, *config)
        assert result.exit_code == 2
        assert result.output.splitlines()[-1].endswith(f"takes a time like 2026-01-31T08:00:00Z, not {time!r}")


COMPUTES = """
from k2alert.cli import interruptible
async def compute():
    print("begun", flush=True)
    while True:
        pass
interruptible.run(compute())
"""


def test_ctrl_c_ends_what_computes() -> None:
    with subprocess.Popen([sys.executable, "-c", COMPUTES], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        assert made.stdout is not None
        assert made.stdout.readline() == b"begun\n"
        made.send_signal(signal.SIGINT)
        assert made.wait(60) == -signal.SIGINT


def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "k2alert", "schema"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=os.environ)
    assert (ended.returncode, ended.stderr) == (1, "k2alert: cannot write: No space left on device\n")


def test_whoever_reads_on_may_stop() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "k2alert", "metrics"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, "")
