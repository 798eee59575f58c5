"""`k2alert gate`: coverage, flaky tests and benchmarks as quality gates inside a pipeline."""

import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from k2alert.formats import Coverage, Unreadable, read_benchmarks, read_coverage, read_tests
from k2alert.formats.caps import Chunks
from k2alert.gate.coverage import judge_coverage
from k2alert.gate.flaky import judge_flaky
from k2alert.gate.performance import judge_performance
from k2alert.gate.verdict import Verdict, as_json, as_junit, as_markdown, as_text

__all__ = ["command"]

_T = TypeVar("_T")
_CHUNK = 64 * 1024
_OUTPUTS: dict[str, Callable[[Verdict], str]] = {"table": as_text, "json": as_json, "markdown": as_markdown}
_FILE = click.Path(path_type=Path, dir_okay=False)


class _Limit(click.FloatRange):
    """A number that something can be held against: `nan` is above and below nothing, and nothing reaches `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return number if isfinite(number) else self.fail(f"{value} is not a finite number", param, ctx)


@click.group("gate", short_help="quality gates inside a pipeline")
def command() -> None:
    """Judge report files of this pipeline, as the daemon does, and fail the job where they are not good enough.

    Exits with 0 where the gate is passed, 1 where it is not, 2 where a file cannot be read.
    """


def _shown(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every gate."""
    for option in (
        click.option("--summary", type=_FILE, help="Append Markdown to this file, such as $GITHUB_STEP_SUMMARY."),
        click.option("--junit", type=_FILE, help="Also write a report in JUnit's XML."),
        click.option("--output", type=click.Choice(list(_OUTPUTS)), default="table", show_default=True),
    ):
        function = option(function)
    return function


@command.command("coverage")
@click.argument("files", nargs=-1, required=True, metavar="COVERAGE.xml...", type=click.Path(path_type=Path))
@click.option("--minimum", type=_Limit(0, 100), default=75, show_default=True, help="Percent of lines.")
@click.option("--max-drop", type=_Limit(0, 100), default=2, show_default=True, help="Points below --previous.")
@click.option("--previous", default="", metavar="X", help="The coverage before: a report file, or a number in percent.")
@_shown
def coverage(files: tuple[Path, ...], minimum: float, max_drop: float, previous: str, **shown: Any) -> None:
    """Fail where too few lines are covered, or many fewer than before.

    COVERAGE.xml is a report of Cobertura, Clover, JaCoCo or LCOV; several are added up. Without --previous, or with an
    empty one, the drop is not judged. Branches are shown and not judged.
    """
    read = [_read(file, read_coverage) for file in files]
    _end(judge_coverage(read, _previous(previous), minimum=minimum, max_drop=max_drop), **shown)


@command.command("flaky")
@click.argument("reports", nargs=-1, required=True, metavar="REPORTS...", type=click.Path(path_type=Path))
@click.option("--max-rate", type=_Limit(0, 1), default=0.05, show_default=True, help="Of distinct tests.")
@_shown
def flaky(reports: tuple[Path, ...], max_rate: float, **shown: Any) -> None:
    """Fail where too many tests both failed and passed.

    REPORTS are JUnit files of one job on one commit: of all its tries. A test is flaky with both outcomes among them,
    or where a report says so itself. A report of which most failed makes nothing flaky.
    """
    verdict = judge_flaky([_read(file, read_tests) for file in reports], max_rate=max_rate)
    _end(verdict or _refuse("no test was executed"), **shown)


@command.command("performance")
@click.argument("current", type=click.Path(path_type=Path))
@click.argument("baseline", type=click.Path(path_type=Path))
@click.option("--threshold", type=_Limit(0), default=0.1, show_default=True, help="0.1: ten percent worse.")
@_shown
def performance(current: Path, baseline: Path, threshold: float, **shown: Any) -> None:
    """Fail where a benchmark of CURRENT is worse than in BASELINE by more than the threshold, and than its own noise.

    Both are files of pytest-benchmark, Google Benchmark, JMH, Go, hyperfine, BenchmarkDotNet or
    github-action-benchmark. Which way is better is the benchmark's: more operations a second are.
    """
    files = _read(current, read_benchmarks), _read(baseline, read_benchmarks)
    verdict = judge_performance(*files, threshold=threshold)
    _end(verdict or _refuse(f"{current} and {baseline} have no benchmark in common"), **shown)


def _previous(given: str) -> Coverage | float | None:
    if not given.strip():
        return None
    try:
        percent = float(given.strip().removesuffix("%"))
    except ValueError:
        return _read(Path(given), read_coverage)
    return percent if 0 <= percent <= 100 else _refuse(f"--previous {given}: not between 0 and 100")


def _read(path: Path, read: Callable[[Chunks], _T | Unreadable]) -> _T:
    """What a file says; one that cannot be read ends the command."""
    try:
        with path.open("rb") as file:
            found = read(iter(lambda: file.read(_CHUNK), b""))
    except OSError as error:
        _refuse(f"{path}: {error.strerror or error}")
    return found if not isinstance(found, Unreadable) else _refuse(f"{path}: {found.line}")


def _end(verdict: Verdict, output: str, junit: Path | None, summary: Path | None) -> None:
    try:
        if junit is not None:
            junit.write_bytes(as_junit(verdict))
        if summary is not None:
            with summary.open("a", encoding="utf-8") as file:
                file.write(as_markdown(verdict))
    except OSError as error:
        _refuse(f"{error.filename}: cannot be written: {error.strerror or error}")
    # Last: whoever stops listening (`| head`) finds the files all the same.
    click.echo(_OUTPUTS[output](verdict).rstrip("\n"))
    sys.exit(0 if verdict.passed else 1)


def _refuse(line: str) -> NoReturn:
    """Says in one line why nothing can be judged, and ends the command."""
    click.echo(line, err=True)
    sys.exit(2)
