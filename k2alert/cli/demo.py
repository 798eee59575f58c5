"""`k2alert demo`: the whole thing on one machine, with nothing to configure."""

import asyncio
import os
import shutil
import signal
import sys

import click

from k2alert.app import NotRunnable, system_time
from k2alert.cli.progress import Progress
from k2alert.expose.server import ListenError
from k2alert.logs import Secrets, set_up_logging
from k2alert.record import StoreError
from k2alert.rehearse.demo import Demo, DemoOptions
from k2alert.rehearse.terminal import Terminal

__all__ = ["command"]

_WIDEST = 110  # longer lines are hard to read


@click.command("demo", short_help="the whole thing on one machine, with nothing to configure")
@click.option("--keep", is_flag=True, help="Go on after the story, until Ctrl-C.")
@click.option("--speed", type=click.FloatRange(0.1, 10), default=1.0, hidden=True)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="error", show_default=True
)
def command(keep: bool, speed: float, log_format: str, log_level: str) -> None:
    """Shows the real daemon at work, on this machine only, and ends after about a minute.

    It collects over HTTP from a stand-in GitLab with a week of made-up history, judges the rules that everybody starts
    with, and tells a stand-in Slack and mail server. The terminal shows what they get: two incidents, and how they end.
    """
    secrets = Secrets()
    set_up_logging("json" if log_format == "json" else "text", log_level, secrets)
    try:
        with Progress(sys.stderr) as progress:
            asyncio.run(
                _show(
                    DemoOptions(
                        time=system_time(), secrets=secrets, on_progress=progress.report, keep=keep, speed=speed
                    )
                )
            )
    except (NotRunnable, StoreError, ListenError) as error:
        click.echo(f"k2alert: {error}", err=True)
        sys.exit(1)


async def _show(options: DemoOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await Demo(options, _terminal()).show(stop)


def _terminal() -> Terminal:
    """Colours and links for a person at a terminal (https://no-color.org), plain whole lines for a pipe."""
    is_person = sys.stdout.isatty()
    styled = is_person and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = min(shutil.get_terminal_size().columns, _WIDEST) if is_person else None
    return Terminal(_write, styled=styled, width=width)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
