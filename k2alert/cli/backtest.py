"""`k2alert backtest`: rules against history."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import click

from k2alert.app import system_time
from k2alert.cli import interruptible
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.history import HistoryError
from k2alert.measure.catalogue import METRICS
from k2alert.model import Rule
from k2alert.record import Reader, StoreError, look_into_store
from k2alert.rehearse.backtest_report import as_json, as_markdown, as_text, counted
from k2alert.rehearse.backtest_source import WithEvidence, Wrong, read_rules, rehearse, span
from k2alert.rehearse.history_source import fetch_history, is_url, read_history
from k2alert.rehearse.listeners import heard_by_one
from k2alert.times import parse_asked, parse_duration

__all__ = ["command"]

Rules = tuple[Rule, ...]
_SHOWN = {"table": as_text, "json": as_json, "markdown": as_markdown}


@click.command("backtest", short_help="rules against history")
@click.option("--since", "since_text", required=True, metavar="LENGTH", help="How far back to begin: 30d.")
@click.option(
    "--until", "until_text", metavar="T", help="Where to end (2026-01-31T08:00:00Z) instead of at the last look."
)
@click.option("--rules", "rule_files", multiple=True, type=click.Path(path_type=Path), help="These rules instead.")
@click.option("--compare", "old_files", multiple=True, type=click.Path(path_type=Path), help="Show what these did.")
@click.option(
    "--history",
    metavar="FILE|URL",
    help="The history in a file, or of a running daemon (http://host:port), instead of the store.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the daemon's web.read_token, instead of $K2ALERT_TOKEN.",
)
@click.option("--max-alerts", type=click.IntRange(min=0), help="Exit with 1 where there are more incidents than this.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="K2ALERT_CONFIG",
    default=Path("k2alert.yml"),
    show_default=True,
    help="The main configuration file; with --rules and --history there need be none. [env: K2ALERT_CONFIG]",
)
@click.option("--output", type=click.Choice(sorted(_SHOWN)), default="table", show_default=True)
def command(
    since_text: str,
    until_text: str | None,
    rule_files: tuple[Path, ...],
    old_files: tuple[Path, ...],
    history: str | None,
    token_file: Path | None,
    max_alerts: int | None,
    config: Path,
    output: str,
) -> None:
    """What rules would have done in the past: incidents, how long they lasted, and the messages after `for`, grouping
    and repeats.

    Reads the store of the configuration, also while a daemon runs on it, and changes nothing; with --history it reads
    what a daemon serves at /api/v1/history, or a file of that. Every rule is judged by the daemon's own code from when
    all that it looks back on lies inside the history. --rules and --compare take rule files or main files, and may be
    given several times.

    Exits with 0, or 1 where --max-alerts is exceeded or a file is wrong.
    """
    length, until = _length(since_text), _instant(until_text)
    if history is not None and (not history or ("://" in history and not is_url(history))):
        raise click.UsageError(
            "--history takes a file or an http(s) address, such as --history https://k2alert.example.com"
        )
    try:
        loaded = _config(config, needed=not (rule_files and history))
        new = read_rules(rule_files, loaded, os.environ) if rule_files else loaded.rules
        old = read_rules(old_files, loaded, os.environ) if old_files else None
        opened = _open(loaded, history, _token(token_file))
        found, before = interruptible.run(_rehearse(loaded, new, old, length, until, opened))
    except (StoreError, HistoryError, Wrong) as error:
        _fail(error.lines if isinstance(error, Wrong) else [f"k2alert: {error}"])
    click.echo(_SHOWN[output](found, before).rstrip("\n"))
    incidents = len(found.rehearsed.incidents)
    if max_alerts is not None and incidents > max_alerts:
        _fail([f"{counted(incidents, 'incident')}: more than the {max_alerts} of --max-alerts"])


async def _rehearse(
    config: Config,
    new: Rules,
    old: Rules | None,
    since: timedelta,
    until: datetime | None,
    opened: Callable[[], Awaitable[Reader]],
) -> tuple[WithEvidence, WithEvidence | None]:
    store = await opened()
    try:
        grid = span(config, await store.projects(), since=since, until=until, now=system_time().now())
        before = await rehearse(config, old, store, grid) if old is not None else None
        return await rehearse(config, new, store, grid), before
    finally:
        await store.close()


def _open(config: Config, history: str | None, token: str) -> Callable[[], Awaitable[Reader]]:
    """How to get at what was recorded; a daemon is asked for all that it keeps, for rules look back."""

    async def opened() -> Reader:
        if history is None:
            return await asyncio.to_thread(look_into_store, config.store)
        if is_url(history):
            return await fetch_history(history, token=token)
        return await asyncio.to_thread(read_history, Path(history))

    return opened


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get("K2ALERT_TOKEN", "")
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise Wrong([f"k2alert: {file}: {getattr(error, 'strerror', None) or 'not a text'}"]) from None


def _config(path: Path, *, needed: bool) -> Config:
    """The configuration; where none is needed and there is none, one with a receiver who hears everything."""
    if not needed and not path.exists():
        return heard_by_one(Config())
    loaded = load(path, environ=os.environ, metrics=METRICS)
    if loaded.config is None:
        raise Wrong(problem for problem in loaded.problems if not problem.warning)
    return loaded.config


def _length(text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError:
        length = timedelta(0)
    if not length:
        raise click.UsageError(f"--since takes a length of time like 30d, not {text!r}")
    return length


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_asked(text)
    except ValueError:
        raise click.UsageError(f"--until takes a time like 2026-01-31T08:00:00Z, not {text!r}") from None


def _fail(lines: Iterable[str]) -> NoReturn:
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
