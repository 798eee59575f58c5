"""`k2alert explain`: why a rule fires, or does not, from what is stored."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from k2alert.app import system_time
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Scene
from k2alert.explain.as_json import as_json
from k2alert.explain.asking import Question, Unanswerable, ask
from k2alert.explain.explanation import Explanations
from k2alert.explain.shown import as_text
from k2alert.measure.catalogue import METRICS
from k2alert.recall import fill_board, make_board
from k2alert.record import Reader, StoreError, look_into_store
from k2alert.times import parse_instant
from k2alert.universe import make_universe

__all__ = ["command"]


@click.command("explain", short_help="why a rule fires, or does not")
@click.argument("rule")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE]...")
@click.option("--at", "at_text", metavar="T", help="An earlier time (2026-01-31T08:00:00Z) instead of now.")
@click.option("--message", is_flag=True, help="Also what the rule's message says, or would say if it fired.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="K2ALERT_CONFIG",
    default=Path("k2alert.yml"),
    show_default=True,
    help="The main configuration file. [env: K2ALERT_CONFIG]",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(rule: str, labels: tuple[str, ...], at_text: str | None, message: bool, config: Path, output: str) -> None:
    """Each value of a rule's condition with its window, its samples and the runs behind it; what came of it; who
    was told, who will be and why somebody was not.

    Looks into the store of the configuration, also while a daemon runs on it; a running daemon answers the same at
    /api/v1/explain. LABEL=VALUE narrows it to the label sets with these labels, such as project=k2/app. An unknown
    rule is exit 1.
    """
    question = Question(rule, _wanted(labels), _instant(at_text))
    loaded = load(config, environ=os.environ, metrics=METRICS)
    if loaded.config is None:
        _fail(*(str(problem) for problem in loaded.problems if not problem.warning))
    try:
        answer = asyncio.run(_ask(loaded.config, question))
    except (StoreError, Unanswerable) as error:
        _fail(f"k2alert: {error}")
    click.echo(json.dumps(as_json(answer), indent=2) if output == "json" else as_text(answer, message=message))


async def _ask(config: Config, question: Question) -> Explanations:
    now = system_time().now()
    store = await asyncio.to_thread(look_into_store, config.store)
    try:
        return await ask(await _scene(config, store, now), store, question, now=now)
    finally:
        await store.close()


async def _scene(config: Config, store: Reader, now: datetime) -> Scene:
    board = make_board(config, METRICS)
    await fill_board(board, store)
    projects = await store.projects()
    return Scene(
        config=config,
        metrics=METRICS,
        measures=board,
        universe=make_universe(config, projects),
        projects=projects,
        alerts={(alert.rule, alert.identity): alert for alert in await store.alerts()},
        log=await store.log(),
        started_at=now,
        silences=await store.silences(),
    )


def _wanted(labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in labels:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"not LABEL=VALUE: {text!r}")
        pairs.append((name, value))
    return tuple(pairs)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        raise click.UsageError(f"--at takes a time like 2026-01-31T08:00:00Z, not {text!r}") from None


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
