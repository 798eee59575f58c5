"""`k2alert test`: unit tests of rules."""

import os
import re
import sys
from pathlib import Path

import click

from k2alert.cli import interruptible
from k2alert.rehearse.rule_test_file import TestedFile, read_test_file
from k2alert.rehearse.rule_test_report import FileReport, as_json, as_junit, as_text, passed
from k2alert.rehearse.rule_tests import run_test

__all__ = ["command"]


@click.command("test", short_help="unit tests of rules")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", "pattern", metavar="REGEX", help="Only the tests whose names it matches somewhere.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write a report in JUnit's XML.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(files: tuple[Path, ...], pattern: str | None, junit: Path | None, output: str) -> None:
    """Run the tests of rules in FILES: what ran when is written there, and who is told what is compared.

    The rules are judged by the daemon's own cycle at simulated times. Nothing is contacted, and nothing is sent.

    A folder stands for the files *.yml and *.yaml in it. Exits with 0, or 1 where a test fails or a file is wrong.
    """
    wanted = _compiled(pattern)
    read = [read_test_file(file, os.environ) for path in files for file in _files_of(path)]
    reports = interruptible.run(_run(read, wanted))
    click.echo(as_json(reports) if output == "json" else as_text(reports))
    if junit is not None:
        _write(junit, as_junit(reports))
    sys.exit(0 if passed(reports) else 1)


async def _run(files: list[TestedFile], wanted: re.Pattern[str]) -> list[FileReport]:
    reports = []
    for file in files:
        tests = [test for test in file.tests if wanted.search(test.name)] if file.config is not None else []
        outcomes = [await run_test(test, file.config) for test in tests if file.config is not None]
        reports.append(FileReport(file.file, tuple(outcomes), file.problems if file.config is None else ()))
    return reports


def _files_of(path: Path) -> list[Path]:
    """The file, or those of the folder; a folder without any is as wrong as a file that is not there."""
    if not path.is_dir():
        return [path]
    return sorted([*path.glob("*.yml"), *path.glob("*.yaml")]) or [path]


def _compiled(pattern: str | None) -> re.Pattern[str]:
    try:
        return re.compile(pattern or "")
    except re.error as error:
        raise click.UsageError(f"--run is no regular expression: {error}") from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        click.echo(f"{path}: cannot be written: {error.strerror or error}", err=True)
        sys.exit(2)
