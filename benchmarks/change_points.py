"""How well change points are found, on labelled series of real benchmarks: k2alert beside the rules that people use.

The data is not part of the project: `python benchmarks/change_points.py FOLDER`, where FOLDER holds
`hyper.jsonl.gz`, `tigerbeetle_otava.jsonl.gz`, `labels.csv` (steps that people explained or at least saw) and
`github_action_benchmark_examples.jsonl.gz` (a Fibonacci function that never changes: whatever is told there is a false
alarm or a change of the machine). apache-otava is measured too where OTAVA names a Python that has it.

A step counts as found when one is told within four points of it. "Documented" are steps with a reason in the code's
history; "all labelled" are those too that were only seen, or that came from another machine. "Unlabelled" is what was
told elsewhere on the labelled series, for better or worse; "alarms" what was told for the worse on the examples.
"""

import csv
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.measure.change_points import find_steps

_NEAR = 4

Told = tuple[int, bool]  # the index of a step's first point, and whether the level rose
Detector = Callable[[Sequence[float]], list[Told]]
Name = tuple[str, str, str]  # data set, suite, benchmark


class Line(NamedTuple):
    """A row of the series."""

    value: float
    more_is_better: bool


def read_series(folder: Path) -> dict[Name, list[Line]]:
    """Every series, in the order of its points."""
    series: dict[Name, list[Line]] = {}
    for name in ("hyper", "tigerbeetle_otava", "github_action_benchmark_examples"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt") as lines:
            for row in map(json.loads, lines):
                line = Line(row["value"], "/s" in row["unit"])
                series.setdefault((name, row["suite"], row["benchmark"]), []).append(line)
    return series


def read_labels(folder: Path) -> dict[Name, list[tuple[int, str]]]:
    """The steps of each series: index and kind. An outlier is none."""
    labels: dict[Name, list[tuple[int, str]]] = {}
    with (folder / "labels.csv").open() as lines:
        for row in csv.DictReader(lines):
            if row["kind"] != "documented_outlier":
                name = row["dataset"], row["suite"], row["benchmark"]
                labels.setdefault(name, []).append((int(row["index"]), row["kind"]))
    return labels


def ours(values: Sequence[float]) -> list[Told]:
    """k2alert's steps."""
    return [(step.at, step.after > step.before) for step in find_steps(values)]


def percent(threshold: float) -> Detector:
    """A point that differs from the one before by more than so much, as github-action-benchmark tells it."""

    def told(values: Sequence[float]) -> list[Told]:
        pairs = enumerate(pairwise(values), 1)
        ratio = 1 + threshold
        return [(at, new > old) for at, (old, new) in pairs if new > old * ratio or new < old / ratio]

    return told


_OTAVA = """
import json, sys
from otava.series import AnalysisOptions, Metric, Series
out = []
for values in json.load(sys.stdin):
    series = Series("t", None, list(range(len(values))), {"m": Metric()}, {"m": values}, {})
    points = series.analyze(AnalysisOptions()).change_points["m"]
    out.append([(int(p.index), bool(p.stats.mean_2 > p.stats.mean_1)) for p in points])
print(json.dumps(out))
"""


def otava(python: str, everything: Sequence[Sequence[float]]) -> Iterator[list[Told]]:
    """apache-otava with its defaults (window 50, p 0.001), over whole series."""
    said = subprocess.run(
        [python, "-c", _OTAVA], input=json.dumps(everything), capture_output=True, text=True, check=True
    )
    yield from json.loads(said.stdout)


def judge(
    told: dict[Name, list[Told]], series: dict[Name, list[Line]], labels: dict[Name, list[tuple[int, str]]]
) -> str:
    """A row of the table."""
    documented, found, unlabelled, alarms = 0, 0, 0, 0
    for name, steps in told.items():
        if name[0] == "github_action_benchmark_examples":
            alarms += sum(rose is not series[name][at].more_is_better for at, rose in steps)
            continue
        left = list(labels.get(name, []))
        for at, _ in steps:
            near = [label for label in left if abs(label[0] - at) <= _NEAR]
            if near:
                left.remove(near[0])
                found += 1
                documented += near[0][1] == "documented_change"
            else:
                unlabelled += 1
    kinds = [kind for some in labels.values() for _, kind in some]
    return f"{documented} of {kinds.count('documented_change')} | {found} of {len(kinds)} | {unlabelled} | {alarms}"


def main(folder: Path) -> None:
    """Prints the table, as Markdown."""
    series, labels = read_series(folder), read_labels(folder)
    points = sum(map(len, series.values()))
    print(f"{len(series)} series, {points:,} points\n")
    print("| detector | documented | all labelled | unlabelled | alarms on the examples | µs a point |")
    print("|---|--:|--:|--:|--:|--:|")
    detectors: dict[str, Any] = {
        "k2alert": ours,
        "10% over the point before": percent(0.10),
        "twice the point before (200%)": percent(1.0),
    }
    values = {name: [line.value for line in lines] for name, lines in series.items()}
    for title, detector in detectors.items():
        start = time.process_time()
        told = {name: detector(some) for name, some in values.items()}
        cost = (time.process_time() - start) * 1e6 / points
        print(f"| {title} | {judge(told, series, labels)} | {cost:.0f} |", flush=True)
    if python := os.environ.get("OTAVA"):
        start = time.perf_counter()
        told = dict(zip(values, otava(python, list(values.values())), strict=True))
        cost = (time.perf_counter() - start) * 1e6 / points
        print(f"| apache-otava, defaults | {judge(told, series, labels)} | {cost:.0f} |")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        print("needs labelled series, which are not part of the project: python benchmarks/change_points.py FOLDER")
