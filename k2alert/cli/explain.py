"""`k2alert explain`: why a rule fires, or does not, from what is stored."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import chain, count
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
from k2alert.explain.messages import write_messages
from k2alert.explain.shown import as_text
from k2alert.measure.catalogue import METRICS
from k2alert.recall import fill_board, make_board
from k2alert.record import Reader, StoreError, look_into_store
from k2alert.times import parse_asked
from k2alert.universe import make_universe

__all__ = ["command"]

_FOLDER = "k2alert-messages"


@click.command("explain", short_help="why a rule fires, or does not")
@click.argument("rule")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE]...")
@click.option("--at", "at_text", metavar="T", help="An earlier time (2026-01-31T08:00:00Z) instead of now.")
@click.option(
    "--message",
    "folder",
    is_flag=False,
    flag_value=_FOLDER,
    metavar="[DIR]",
    help="Also what would be said: the rule's message, and every message that it would be sent with, as files to open. "
    f"[DIR: a new ./{_FOLDER}]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="K2ALERT_CONFIG",
    default=Path("k2alert.yml"),
    show_default=True,
    help="The main configuration file. [env: K2ALERT_CONFIG]",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    rule: str, labels: tuple[str, ...], at_text: str | None, folder: str | None, config: Path, output: str
) -> None:
    """Each value of a rule's condition with its window, its samples and the runs behind it; what came of it; who
    was told, who will be and why somebody was not.

    Looks into the store of the configuration, also while a daemon runs on it; a running daemon answers the same at
    /api/v1/explain. LABEL=VALUE narrows it to the label sets with these labels, such as project=k2/app. An unknown
    rule is exit 1.
    """
    if folder is not None and "=" in folder:  # the label that follows --message
        labels, folder = (folder, *labels), _FOLDER
    question = Question(rule, _wanted(labels), _instant(at_text))
    loaded = load(config, environ=os.environ, metrics=METRICS)
    if loaded.config is None:
        _fail(*(str(problem) for problem in loaded.problems if not problem.warning))
    try:
        answer, files = asyncio.run(_ask(loaded.config, question, _new_folder(folder)))
    except (StoreError, Unanswerable) as error:
        _fail(f"k2alert: {error}")
    except OSError as error:
        _fail(f"k2alert: {folder} cannot be written: {error.strerror or error}")
    click.echo(_json(answer, files) if output == "json" else _text(answer, files, message=folder is not None))


_Files = tuple[tuple[Path, ...], ...]


async def _ask(config: Config, question: Question, folder: Path | None) -> tuple[Explanations, _Files]:
    """The answer, and for each of its explanations the files that were written."""
    now = system_time().now()
    store = await asyncio.to_thread(look_into_store, config.store)
    try:
        scene = await _scene(config, store, now)
        answer = await ask(scene, store, question, now=now)
    finally:
        await store.close()
    return answer, () if folder is None else write_messages(scene, answer.found, folder)


def _new_folder(folder: str | None) -> Path | None:
    """The folder that was given, or a new one beside those of before."""
    if folder is None or folder != _FOLDER:
        return Path(folder) if folder is not None else None
    names = chain([_FOLDER], (f"{_FOLDER}-{number}" for number in count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def _text(answer: Explanations, files: _Files, *, message: bool) -> str:
    written = [str(path) for paths in files for path in paths]
    return "\n".join([as_text(answer, message=message), *(["", "messages as files:"] if written else []), *written])


def _json(answer: Explanations, files: _Files) -> str:
    found = as_json(answer)
    for one, paths in zip(found["explanations"], files, strict=False):
        one["files"] = [str(path) for path in paths]
    return json.dumps(found, indent=2)


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
        return parse_asked(text)
    except ValueError:
        raise click.UsageError(f"--at takes a time like 2026-01-31T08:00:00Z, not {text!r}") from None


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
