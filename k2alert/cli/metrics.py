"""`k2alert metrics`: the catalogue of names and functions that conditions can use."""

import json
from collections.abc import Sequence

import click

from k2alert.judge.grammar import FUNCTIONS
from k2alert.measure.catalogue import METRICS
from k2alert.model import Metric

__all__ = ["command"]

_HEADER = ("NAME", "UNIT", "COLLECTED", "GAUGE", "LABELS", "MEANING")


@click.command("metrics")
@click.option(
    "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
@click.option("--functions", is_flag=True, help="The functions of conditions instead.")
def command(output: str, functions: bool) -> None:
    """Print every metric: its name in conditions, unit, gauge on /metrics, labels for `by`, and meaning.

    Those that are not collected have no data yet. The functions of conditions follow; --functions prints them alone.
    """
    if output == "json":
        found = _functions_json() if functions else [_as_json(metric) for metric in METRICS.values()]
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    described = _table([("FUNCTION", "MEANING"), *((one.written, one.help) for one in FUNCTIONS.values())])
    if not functions:
        click.echo(_table([_HEADER, *(_row(metric) for metric in METRICS.values())]) + "\n")
    click.echo(described)


def _functions_json() -> list[dict[str, str]]:
    return [{"name": name, "written": one.written, "help": one.help} for name, one in FUNCTIONS.items()]


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
