"""`k2alert alerts`: what fires and what is pending on a running daemon."""

import json
from pathlib import Path
from typing import Any

import click

from k2alert.cli.client import Client, ago, table, to_daemon

__all__ = ["command"]

_HEADS = ("STATE", "ALERT", "LABELS", "VALUE", "SINCE", "QUIET BY")
_SHOWN_APART = ("alertname", "severity")


@click.command("alerts", short_help="what fires now, and what keeps it quiet")
@to_daemon
def command(url: str, token_file: Path | None, output: str) -> None:
    """The firing and pending alerts of a running daemon, each with its value, since when, and what keeps it quiet.

    Exits with 1 where the daemon does not answer.
    """
    found = Client(url, token_file).get("/api/v1/alerts")["data"]["alerts"]
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo(table(_HEADS, [_row(alert) for alert in sorted(found, key=_rank)]))
    else:
        click.echo("Nothing fires, and nothing is pending.")


def _rank(alert: dict[str, Any]) -> tuple[bool, str]:
    return (alert["state"] != "firing", alert["activeAt"] or "")


def _row(alert: dict[str, Any]) -> tuple[str, ...]:
    labels, ours = alert["labels"], alert["k2alert"]
    others = " ".join(f'{name}="{value}"' for name, value in labels.items() if name not in _SHOWN_APART)
    state = alert["state"] + (" (unknown)" if ours["unknown"] else "")
    since = ago(ours["firedAt"] or alert["activeAt"])
    return (state, labels.get("alertname", ""), others, alert["value"], since, _quiet(ours))


def _quiet(ours: dict[str, Any]) -> str:
    reasons = {"silence": "silencedBy", "alert": "inhibitedBy", "interval": "mutedBy"}
    return ", ".join(f"{what} {one}" for what, key in reasons.items() for one in ours.get(key, []))
