"""`k2alert flaky`: the flaky tests, with rates, when they were seen, jobs and links."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from k2alert.app import system_time
from k2alert.cli.client import table
from k2alert.config.load import load
from k2alert.flaky import FLAKY_LABELS, Flaky, FlakyAnswer, FlakyQuestion, flaky_json, list_flaky, read_question
from k2alert.measure.catalogue import METRICS
from k2alert.record import StoreError, look_into_store
from k2alert.times import from_ms

__all__ = ["command"]

_HEADS = ("STATE", "RATE", "FAILED", "COMMITS", "LAST SEEN", "PROJECT", "JOB", "TEST", "LINK")


@click.command("flaky", short_help="the flaky tests, with rates, last seen, jobs and links")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE]...")
@click.option("--period", default="30d", show_default=True, help="Over how long.")
@click.option(
    "--clean", default="7d", show_default=True, help="A test that has not been flaky for so long has recovered."
)
@click.option("--suspects", is_flag=True, help="Also tests that fail now and then, on whatever commits.")
@click.option("--limit", default="100", show_default=True, help="At most so many.")
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
    labels: tuple[str, ...], period: str, clean: str, suspects: bool, limit: str, config: Path, output: str
) -> None:
    """Every test that failed and passed in the same job on the same commit, the most often flaky first.

    Looks into the store of the configuration, also while a daemon runs on it; a running daemon answers the same at
    /api/v1/flaky. LABEL=VALUE narrows it down by source, project, branch, ref_type, workflow, job, suite or test.
    """
    options = {"period": period, "clean": clean, "limit": limit, "suspects": str(suspects).lower()}
    question = _question(labels, options)
    loaded = load(config, environ=os.environ, metrics=METRICS)
    if loaded.config is None:
        _fail(*(str(problem) for problem in loaded.problems if not problem.warning))
    try:
        answer = asyncio.run(_ask(loaded.config.store, question))
    except StoreError as error:
        _fail(f"k2alert: {error}")
    click.echo(json.dumps(flaky_json(answer), indent=2) if output == "json" else _text(answer))


async def _ask(url: str, question: FlakyQuestion) -> FlakyAnswer:
    store = await asyncio.to_thread(look_into_store, url)
    try:
        return await list_flaky(store, question, now=system_time().now())
    finally:
        await store.close()


def _question(labels: tuple[str, ...], options: dict[str, str]) -> FlakyQuestion:
    pairs = [text.partition("=") for text in labels]
    if wrong := [text for text, (name, equals, _) in zip(labels, pairs, strict=True) if not name or not equals]:
        raise click.UsageError(f"not LABEL=VALUE: {wrong[0]!r}; there are {', '.join(FLAKY_LABELS)}")
    try:
        return read_question([(name, value) for name, _, value in pairs], options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _text(answer: FlakyAnswer) -> str:
    if not answer.tests:
        return "No test is flaky."
    more = answer.total - len(answer.tests)
    return table(_HEADS, [_row(one) for one in answer.tests]) + (f"\nand {more} more" if more else "")


def _row(one: Flaky) -> tuple[str, ...]:
    test, shown = one.test, one.shown
    name = f"{shown.suite} › {shown.test}" if shown.suite else shown.test
    return (
        one.state,
        f"{test.rate:.1%}",
        f"{test.failed} of {test.executed}",
        str(test.commits),
        f"{from_ms(test.last):%Y-%m-%d %H:%M}",
        test.place.project,
        test.job,
        name,
        shown.web_url,
    )


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
