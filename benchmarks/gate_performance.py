"""How well two runs tell a regression: `k2alert gate performance` beside plain thresholds, on real benchmarks.

The data is not part of the project: `python benchmarks/gate_performance.py FOLDER`, where FOLDER holds
`hyper.jsonl.gz`, `labels.csv` (steps that people explained or at least saw) and
`github_action_benchmark_examples.jsonl.gz` (functions that never change: whatever fails there fails in vain).

Each point is held against the one before it. "Labelled" are regressions that have a label; "elsewhere" are pairs of
hyper more than one point away from any label: some of what is told there may be true.
"""

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.formats import Benchmarks
from k2alert.gate.performance import judge_performance
from k2alert.model import BenchmarkPoint

Gate = Callable[[BenchmarkPoint, BenchmarkPoint], bool]  # the new point and the old one: whether it fails
Name = tuple[str, str]


class Counted(NamedTuple):
    """What a gate said of the pairs of one kind."""

    failed: int
    pairs: int

    def __str__(self) -> str:
        return f"{self.failed} of {self.pairs} ({self.failed / max(1, self.pairs):.0%})"


def read_series(path: Path) -> dict[Name, list[BenchmarkPoint]]:
    """Every series of a file, in the order of its points."""
    series: dict[Name, list[BenchmarkPoint]] = {}
    with gzip.open(path, "rt") as lines:
        for row in map(json.loads, lines):
            point = BenchmarkPoint(
                name="b",
                value=row["value"],
                unit=row["unit"],
                lower_is_better="/s" not in row["unit"],
                spread=row.get("stddev"),
            )
            series.setdefault((row["suite"], row["benchmark"]), []).append(point)
    return series


def read_labels(path: Path) -> dict[Name, dict[int, bool]]:
    """The steps of hyper's series: their index, and whether they were for the worse."""
    labels: dict[Name, dict[int, bool]] = {}
    with path.open() as lines:
        for row in csv.DictReader(lines):
            if row["dataset"] == "hyper" and row["kind"] != "documented_outlier":
                worse = row["direction_if_lower_is_better"] == "regression"
                labels.setdefault((row["suite"], row["benchmark"]), {})[int(row["index"])] = worse
    return labels


def ours(threshold: float) -> Gate:
    """k2alert's gate."""

    def fails(new: BenchmarkPoint, old: BenchmarkPoint) -> bool:
        verdict = judge_performance(Benchmarks((new,)), Benchmarks((old,)), threshold=threshold)
        return verdict is not None and not verdict.passed

    return fails


def plain(threshold: float) -> Gate:
    """Worse by more than so much of the baseline."""

    def fails(new: BenchmarkPoint, old: BenchmarkPoint) -> bool:
        ratio = new.value / old.value if new.lower_is_better else old.value / max(new.value, 1e-300)
        return ratio > 1 + threshold

    return fails


def _pairs(series: dict[Name, list[BenchmarkPoint]]) -> Iterator[tuple[Name, int, BenchmarkPoint, BenchmarkPoint]]:
    for name, points in series.items():
        for at, (old, new) in enumerate(pairwise(points), 1):
            if old.value > 0:
                yield name, at, new, old


def judge(gate: Gate, folder: Path) -> str:
    """A row of the table."""
    hyper, labels = read_series(folder / "hyper.jsonl.gz"), read_labels(folder / "labels.csv")
    examples = read_series(folder / "github_action_benchmark_examples.jsonl.gz")
    vain = [gate(new, old) for _, _, new, old in _pairs(examples)]
    found, elsewhere = [], []
    for name, at, new, old in _pairs(hyper):
        steps = labels.get(name, {})
        if steps.get(at):
            found.append(gate(new, old))
        elif not any(at + near in steps for near in (-1, 0, 1)):
            elsewhere.append(gate(new, old))
    counted = (Counted(sum(told), len(told)) for told in (found, elsewhere, vain))
    return " | ".join(map(str, counted))


def main(folder: Path) -> None:
    """Prints the table."""
    print("| gate | labelled regressions of hyper | elsewhere in hyper | examples, in vain |\n|---|---|---|---|")
    for name, gate in (
        ("`k2alert gate performance`, 10%", ours(0.1)),
        ("10% over one baseline", plain(0.1)),
        ("200% (github-action-benchmark's default)", plain(1.0)),
    ):
        print(f"| {name} | {judge(gate, folder)} |")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        print("needs labelled series, which are not part of the project: python benchmarks/gate_performance.py FOLDER")
