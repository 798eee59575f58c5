"""The catalogue of metrics as a page of the docs: `make docs` writes it, a test holds it to the code."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from k2alert.judge.grammar import FUNCTIONS
from k2alert.measure.catalogue import METRICS
from k2alert.model import Metric

_HEAD = """# Metrics

Every name that conditions, messages and `value()` can use. This page is written by `make docs` from the catalogue that
`k2alert metrics` prints too.

**Unit** is the unit in conditions; the gauge on `/metrics` is in base units (seconds, ratios). **Kind** says what
`min_samples` means for it: *ratio*, *mean* and *quantile* metrics have no data with fewer samples; counts, streaks,
ages and states are never short. All can be grouped `by` the labels of their section, and by your `project_labels`.

What counts when, to the last run, is in [collecting.md](collecting.md), and of tests, coverage, deployments and
schedules in [reports.md](reports.md); what conditions can do with these names, in [rules.md](rules.md).
"""
_UNCOLLECTED = """## Not collected yet

These names are reserved. A rule on one is valid, `k2alert check` warns that nothing collects it, and it has no data.
"""


def page(metrics: Iterable[Metric] = METRICS.values()) -> str:
    """The whole page."""
    known = list(metrics)
    collected = [metric for metric in known if metric.collected]
    later = [metric for metric in known if not metric.collected]
    parts = [_HEAD, *_sections(collected, 2), *_functions(), *([_UNCOLLECTED, *_sections(later, 3)] if later else [])]
    return "\n".join(parts).rstrip("\n") + "\n"


def _functions() -> Iterator[str]:
    yield "## Functions\n"
    yield "| written | meaning |\n|---|---|"
    yield "".join(f"| `{one.written}` | {one.help} |\n" for one in FUNCTIONS.values())


def _sections(metrics: Iterable[Metric], level: int) -> Iterator[str]:
    """A table for each run of metrics that can be grouped by the same labels."""
    for labels, alike in groupby(metrics, key=lambda metric: metric.labels):
        names = ", ".join(f"`{name}`" for name in sorted(labels))
        yield f"{'#' * level} By {names}\n"
        yield "| name | unit | kind | gauge | meaning |\n|---|---|---|---|---|"
        yield "".join(_row(metric) for metric in alike)


def _row(metric: Metric) -> str:
    return f"| `{metric.name}` | {metric.unit} | {metric.needs.value} | `{metric.gauge}` | {metric.help} |\n"


if __name__ == "__main__":
    print(page(), end="")
