"""Figures that others published of the same runs, worked out again from what k2alert recorded of them.

What goes in is what stands in the store after a history was collected over HTTP; what comes out is a `Comparison`.
Where a published figure has another definition than our metric, it is worked out by theirs here, from our rows, and
docs/real-data.md says what the difference is.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.model import RESULTS, Entry, Kind, Result, Selection, Stream, Window
from k2alert.times import from_ms, to_ms
from tests.support.replay import Comparison, Replay

__all__ = ["DATADOG_OURS", "measure_datadog", "reproduce_bitcoin", "reproduce_datadog"]

_WORDS = {Result.SUCCESS: "completed", Result.FAILURE: "failed", Result.CANCELLATION: "aborted"}
_RANKS = {"median": 50, "p90": 90, "p99": 99}
_EVERYTHING = Window(timedelta(days=7))
_ALL = Selection((), ("source", "project"))

DATADOG_OURS = {
    "p50": "median_duration_minutes",
    "p95": "p95_duration_minutes",
    "p99": "p99_duration_minutes",
    "max": "max_duration_minutes",
}
"""The published percentiles that the catalogue has, and its names for them (there is no p75)."""


async def reproduce_bitcoin(data: Path, replay: Replay) -> Comparison:
    """Every daily and weekly figure of the days and weeks of which the history has all runs.

    They count by the UTC day (ISO week) of a run's creation, each job execution once; a quantile is the value at the
    rank below, and what failed and aborted jobs took was wasted. The last day of the history breaks off.
    """
    stats = json.loads((data / "pipelines/published_aggregates/bitcoin_published_stats.json").read_text())
    runs, jobs = await replay.entries(Kind.RUN), await replay.entries(Kind.JOB)
    done = Comparison()
    for periods, period_of in (("daily", _day), ("weekly", _week)):
        whole = period_of(replay.history.ends)
        ours = _by_period(runs, jobs, period_of)
        published = {each["period"]: each for each in stats[periods]}
        for period in sorted(ours.keys() - {whole}):
            names = sorted(published[period].keys() - {"period"})
            done.take(period, [ours[period][name] for name in names], [published[period][name] for name in names])
    return done


async def reproduce_datadog(data: Path, replay: Replay) -> Comparison:
    """Counts and success rate by our metrics as they are; the percentiles by our metrics over their population."""
    published = json.loads((data / "pipelines/published_aggregates/datadog_published_stats.json").read_text())
    done = Comparison()
    measured = measure_datadog(replay.board, replay)
    names = ("total_pipelines", "running_pipelines", "successful_pipelines", "failed_pipelines", "cancelled_pipelines")
    finished, running, success, failed, cancelled = (measured[name] or 0 for name in names)
    counts = (finished + running, running, success, failed, cancelled)
    done.take("counts", counts, [published[name] for name in ("pipelines", "running", "success", "failed", "canceled")])
    rate = 100 * success / (finished + running)
    done.take("success rate of all", [rate], [published["success_rate_pct_of_all"]])
    entries = await replay.entries(Kind.RUN)
    theirs = measure_datadog(_board_with_cancelled(entries, replay), replay)
    wanted = published["duration_minutes"]
    found = {each: round(theirs[name] or 0, 1) for each, name in DATADOG_OURS.items()}
    found["p75"] = round(_interpolated([entry.duration or 0 for entry in entries], 75) / 60_000, 1)
    done.take("durations of all finished", [found[each] for each in wanted], list(wanted.values()))
    return done


def measure_datadog(board: Board, replay: Replay) -> Mapping[str, float | int | None]:
    """Our metrics over the whole history."""
    labels = Labels({"source": "forge", "project": replay.history.projects[0]})
    names = ("success_rate", "avg_duration_minutes", *DATADOG_OURS.values())
    counts = ("total_pipelines", "running_pipelines", "successful_pipelines", "failed_pipelines", "cancelled_pipelines")
    at = to_ms(replay.history.ends)
    return {name: board.measure(_ALL, name, labels, _EVERYTHING, at).value for name in (*names, *counts)}


def _by_period(
    runs: Iterable[Entry], jobs: Iterable[Entry], period_of: Callable[[datetime], str]
) -> dict[str, dict[str, int]]:
    of: defaultdict[str, list[Entry]] = defaultdict(list)
    for job in jobs:
        of[period_of(from_ms(job.created))].append(job)
    counts = Counter(period_of(from_ms(run.created)) for run in runs)
    return {period: {"runs": counts[period], **_figures(of[period])} for period in counts}


def _figures(jobs: Sequence[Entry]) -> dict[str, int]:
    words = Counter(_WORDS[RESULTS[job.result]] for job in jobs)
    found = {"tasks": len(jobs)} | {word: words[word] for word in _WORDS.values()}
    queued = [job.queued // 1000 for job in jobs if job.queued is not None]
    durations = [job.duration // 1000 for job in jobs if job.duration is not None]
    for name, percent in _RANKS.items():
        found[f"{name}QueueDuration"] = _at_rank(queued, percent)
        found[f"{name}ExecutionDuration"] = _at_rank(durations, percent)
    wasted = (job.duration or 0 for job in jobs if RESULTS[job.result] is not Result.SUCCESS)
    return found | {"wastedRunnerDuration": sum(wasted) // 1000}


def _at_rank(values: Iterable[int], percent: int) -> int:
    ordered = sorted(values)
    return ordered[percent * (len(ordered) - 1) // 100]


def _interpolated(values: Iterable[int], percent: int) -> float:
    ordered = sorted(values)
    index, part = divmod(percent * (len(ordered) - 1), 100)
    return ordered[index] + (ordered[min(index + 1, len(ordered) - 1)] - ordered[index]) * part / 100


def _board_with_cancelled(entries: Iterable[Entry], replay: Replay) -> Board:
    """A board where cancelled runs count as decided: their population."""
    cancelled, failed = RESULTS.index(Result.CANCELLATION), RESULTS.index(Result.FAILURE)
    board = Board(lambda known: Labels())
    board.require(_ALL, frozenset({Kind.RUN}))
    labels = Labels({"source": "forge", "project": replay.history.projects[0]})
    board.add_streams([Stream(0, Kind.RUN, labels)])
    changed = (
        entry._replace(stream=0, result=failed if entry.result == cancelled else entry.result) for entry in entries
    )
    board.load(Kind.RUN, changed)
    return board


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _week(at: datetime) -> str:
    return f"{at:%G-W%V}"
