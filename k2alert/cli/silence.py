"""`k2alert silence`: silences on a running daemon, added, listed and ended."""

import getpass
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from k2alert.app import system_time
from k2alert.cli.client import Client, ago, fail, table, to_daemon
from k2alert.labels import Matcher, parse_matcher
from k2alert.times import iso, parse_duration

__all__ = ["command"]

_HEADS = ("ID", "STATE", "MATCHERS", "UNTIL", "BY", "COMMENT")
_AS_LONG_AS_IT_TAKES = timedelta(days=3650)


@click.group("silence", short_help="silences: add, list, expire")
def command() -> None:
    """Silences on a running daemon: what matches them is not told to anybody while they last."""


@command.command("add")
@click.argument("matchers", nargs=-1, required=True)
@click.option("--for", "length", metavar="DURATION", help="How long: 30m, 2h, 1d.")
@click.option("--comment", required=True, help="Why.")
@click.option("--author", help="Who; default: the user who runs this.")
@click.option("--until-resolved", is_flag=True, help="End it as soon as what it matches and fires now has ended.")
@to_daemon
def add(
    matchers: tuple[str, ...],
    length: str | None,
    comment: str,
    author: str | None,
    until_resolved: bool,
    url: str,
    token_file: Path | None,
    output: str,
) -> None:
    """Silence the alerts that all MATCHERS match, such as 'project="k2/app"' or 'alertname=~"slow.*"'. Prints its ID.

    With --until-resolved, --for is the longest it may last.
    """
    if length is None and not until_resolved:
        raise click.UsageError("say how long: --for 2h, or --until-resolved")
    now = system_time().now()
    body = {
        "matchers": [_as_json(_matcher(text)) for text in matchers],
        "startsAt": iso(now),
        "endsAt": iso(now + (_length(length) if length is not None else _AS_LONG_AS_IT_TAKES)),
        "createdBy": author if author is not None else _user(),
        "comment": comment,
        "untilResolved": until_resolved,
    }
    found = Client(url, token_file).post("/api/v2/silences", body)
    click.echo(json.dumps(found) if output == "json" else found["silenceID"])


@command.command("list")
@click.option("--expired", is_flag=True, help="Those that are over too.")
@to_daemon
def list_(expired: bool, url: str, token_file: Path | None, output: str) -> None:
    """The silences that last or will begin."""
    found = Client(url, token_file).get(f"/api/v2/silences?expired={'true' if expired else 'false'}")
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo(table(_HEADS, [_row(silence) for silence in found]))
    else:
        click.echo("There are no silences.")


@command.command("expire")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@to_daemon
def expire(ids: tuple[str, ...], url: str, token_file: Path | None, output: str) -> None:
    """End silences now."""
    client = Client(url, token_file)
    for id in ids:
        if id in (".", ".."):
            fail(f"not the ID of a silence: {id}")
        client.delete(f"/api/v2/silence/{quote(id, safe='')}")
    if output == "json":
        click.echo(json.dumps({"expired": list(ids)}))


def _row(silence: dict[str, Any]) -> tuple[str, ...]:
    matchers = " ".join(f"{one['name']}{_op(one)}{json.dumps(one['value'])}" for one in silence["matchers"])
    until = "resolved" if silence["untilResolved"] else ago(silence["endsAt"])
    return (
        silence["id"],
        silence["status"]["state"],
        matchers,
        until,
        silence["createdBy"],
        silence["comment"],
    )


def _op(matcher: dict[str, Any]) -> str:
    equal = matcher.get("isEqual", True)
    return ("=~" if equal else "!~") if matcher["isRegex"] else ("=" if equal else "!=")


def _matcher(text: str) -> Matcher:
    try:
        return parse_matcher(text)
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from None


def _as_json(matcher: Matcher) -> dict[str, Any]:
    return {
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matcher.op in ("=~", "!~"),
        "isEqual": matcher.op in ("=", "=~"),
    }


def _length(text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError as wrong:
        raise click.UsageError(f"--for: {wrong}") from None
    if not length:
        raise click.UsageError("--for: must be longer than 0s")
    return length


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "k2alert silence"
