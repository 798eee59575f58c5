"""`k2alert metrics`: the catalogue of names that conditions can use."""

import json
from collections.abc import Sequence

import click

from k2alert.measure.catalogue import METRICS
from k2alert.model import Metric

__all__ = ["command"]

_HEADER = ("NAME", "UNIT", "COLLECTED", "GAUGE", "LABELS", "MEANING")


@click.command("metrics")
@click.option(
    "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
def command(output: str) -> None:
    """Print every metric: its name in conditions, unit, gauge on /metrics, labels for `by`, and meaning.

    Those that are not collected have no data yet.
    """
    if output == "json":
        click.echo(json.dumps([_as_json(metric) for metric in METRICS.values()], indent=2, ensure_ascii=False))
        return
    click.echo(_table([_HEADER, *(_row(metric) for metric in METRICS.values())]))


def _as_json(metric: Metric) -> dict[str, object]:
    return {
        "name": metric.name,
        "unit": metric.unit,
        "gauge": metric.gauge,
        "labels": sorted(metric.labels),
        "help": metric.help,
        "collected": metric.collected,
    }


def _row(metric: Metric) -> tuple[str, ...]:
    collected = "yes" if metric.collected else "no"
    return (metric.name, metric.unit, collected, metric.gauge, ",".join(sorted(metric.labels)), metric.help)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
