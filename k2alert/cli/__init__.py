"""The commands. Each lives in a module of its own, imported only when it is called for."""

import errno
import os
import sys
from importlib import import_module
from typing import Any

import click

from k2alert import __version__

__all__ = ["main"]

_COMMANDS = {
    "alerts": "what fires now on a running daemon, and what keeps it quiet",
    "backtest": "rules against history",
    "check": "config and rules: every error and warning, with places",
    "demo": "the whole thing on one machine, with nothing to configure",
    "explain": "why a rule fires, or does not",
    "flaky": "the flaky tests, with rates, last seen, jobs and links",
    "gate": "quality gates inside a pipeline: coverage, flaky tests, benchmarks",
    "metrics": "the catalogue of names that conditions can use",
    "run": "the daemon",
    "schema": "JSON Schema of the configuration, for editors",
    "silence": "silences on a running daemon: add, list, expire",
    "test": "unit tests of rules",
}


class _Commands(click.Group):
    """A click group whose commands are modules: `k2alert check` does not pay for the HTTP server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"k2alert.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def main(self, *args: Any, **extra: Any) -> Any:
        """The command line; where what it says cannot be written (a disk is full), that is said in one line."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail at the exit again
            click.echo(f"k2alert: cannot write: {error.strerror}", err=True)
            sys.exit(1)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="k2alert")
def main() -> None:
    """Alerts on what GitLab CI and GitHub Actions really did, by rules in YAML, told once.

    Start with `k2alert demo`, then `k2alert check` on a configuration of your own, then `k2alert run`.
    """
