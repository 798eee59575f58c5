"""`k2alert check`: every error and warning of the configuration and the rules, with places."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from k2alert.cli.annotations import FORMATS
from k2alert.config.load import Loaded, LoadedRules, is_rule_file, load, load_rules
from k2alert.config.watch import real
from k2alert.measure.catalogue import METRICS
from k2alert.model import Problem
from k2alert.text import visible

__all__ = ["command"]

_DEFAULT_FILE = "k2alert.yml"


@click.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit with 3 where there are warnings.")
@click.option(
    "--output",
    type=click.Choice(["table", "json", "github", "gitlab"]),
    default="table",
    show_default=True,
    help="How to print: github is workflow commands, gitlab a Code Quality report.",
)
@click.option("--live", "asked", is_flag=True, help="Ask each source what its token may read.")
def command(files: tuple[Path, ...], strict: bool, output: str, asked: bool) -> None:
    """Check main files and rule files, and print every error and warning with its place.

    FILES default to $K2ALERT_CONFIG, then ./k2alert.yml. A file that holds only `alert_rules` and `defaults` is
    checked as a rule file, unless a main file among FILES names it. Without --live nothing is contacted, and nothing is
    ever sent.

    --live asks each source, with its own token, for the token's scopes, for how many projects each group has, and of
    each project (and one of each group) whether pipelines, jobs, deployments and schedules may be read. What may not is
    an error where the project cannot be read at all, else a warning.

    Each warning has a code: a comment `# k2alert: ignore CODE` on its line, or alone on the line above, silences it.

    Exits with 0, 1 where there are errors, or 3 where there are warnings and --strict is given.
    """
    checked = _check(files or (Path(os.environ.get("K2ALERT_CONFIG") or _DEFAULT_FILE),), os.environ, asked=asked)
    shown = {"table": checked.as_text, "json": checked.as_json}.get(output)
    click.echo(shown() if shown is not None else FORMATS[output](checked.problems))
    sys.exit(checked.exit_code(strict=strict))


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a check came to."""

    files: tuple[str, ...]
    rules: int
    problems: tuple[Problem, ...]
    answers: tuple[Any, ...] | None = None  # of the sources, as `live` has them; None: nobody was asked

    @property
    def errors(self) -> int:
        """How many problems are errors."""
        return sum(not problem.warning for problem in self.problems)

    @property
    def warnings(self) -> int:
        """How many problems are warnings."""
        return len(self.problems) - self.errors

    def exit_code(self, *, strict: bool) -> int:
        """What the shell is told."""
        return 1 if self.errors else 3 if strict and self.warnings else 0

    def as_text(self) -> str:
        """A line for each problem and one that counts."""
        counts = [
            _count(len(self.files), "file"),
            _count(self.rules, "rule"),
            _count(self.errors, "error"),
            _count(self.warnings, "warning"),
        ]
        answers = _live().as_text(self.answers) if self.answers else ()
        return "\n".join([*answers, *(visible(str(problem)) for problem in self.problems), ", ".join(counts)])

    def as_json(self) -> str:
        """The same for programs."""
        problems = [
            {
                "file": problem.place.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "severity": "warning" if problem.warning else "error",
                "code": problem.code,
                "text": problem.text,
            }
            for problem in self.problems
        ]
        counts = {"rules": self.rules, "errors": self.errors, "warnings": self.warnings}
        asked = {} if self.answers is None else {"live": _live().as_json(self.answers)}
        found = {"files": self.files, **counts, "problems": problems, **asked}
        return json.dumps(found, indent=2, ensure_ascii=False)


def _check(files: Sequence[Path], environ: Mapping[str, str], *, asked: bool) -> _Checked:
    """Main files with what they name, then the rule files that no main file named; the sources, if they are asked."""
    alone = [file for file in files if is_rule_file(file)]
    loaded: list[Loaded | LoadedRules] = [
        load(file, environ=environ, metrics=METRICS) for file in files if file not in alone
    ]
    seen = {real(path) for one in loaded for path in one.watched}
    answers, refused = _live().ask(loaded) if asked else (None, ())
    left = [file for file in alone if real(file) not in seen]
    if left:
        loaded.append(load_rules(left, metrics=METRICS))
    return _Checked(
        files=tuple(dict.fromkeys(name for one in loaded for name in one.files)),
        rules=sum(one.rule_count for one in loaded),
        problems=tuple(dict.fromkeys([*(problem for one in loaded for problem in one.problems), *refused])),
        answers=answers,
    )


def _live() -> ModuleType:
    """All that talks, imported by those who ask for it: without it a check takes half as long."""
    return import_module("k2alert.cli.live")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
