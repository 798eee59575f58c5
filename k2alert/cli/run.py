"""`k2alert run`: the daemon."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from k2alert.app import Options

__all__ = ["command"]


@click.command("run", short_help="the daemon")
@click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    envvar="K2ALERT_CONFIG",
    default=Path("k2alert.yml"),
    show_default=True,
    help="The main configuration file. [env: K2ALERT_CONFIG]",
)
@click.option("--listen", envvar="K2ALERT_LISTEN", help="host:port, before `web.listen`. [env: K2ALERT_LISTEN]")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def command(config: Path, listen: str | None, log_format: str, log_level: str) -> None:
    """Collects, judges and tells until it is stopped.

    SIGTERM and SIGINT end it after the round that is going on (exit 0); SIGHUP has it read its files again. A
    configuration with errors is exit 1, each error on a line of its own.
    """
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(0))  # until the daemon takes over, there is nothing to finish
    # What the daemon is made of takes a second to import; a signal must find us ready before.
    from k2alert.app import NotRunnable, Options
    from k2alert.cli.progress import Progress
    from k2alert.expose.server import ListenError
    from k2alert.logs import Secrets, set_up_logging
    from k2alert.record import StoreError

    secrets = Secrets()
    set_up_logging("json" if log_format == "json" else "text", log_level, secrets)
    with Progress(sys.stderr) as progress:
        options = Options(
            config=config, environ=os.environ, listen=listen, secrets=secrets, on_progress=progress.report
        )
        try:
            _run(options)
        except NotRunnable as refused:
            for line in refused.lines:
                click.echo(line, err=True)
            sys.exit(1)
        except (StoreError, ListenError) as error:
            click.echo(f"k2alert: {error}", err=True)
            sys.exit(1)


def _run(options: "Options") -> None:
    import asyncio

    from k2alert.app import serve

    async def run() -> None:
        stop, reload = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        await serve(options, stop, reload)

    asyncio.run(run())
