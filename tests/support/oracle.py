"""The metrics of the contract, computed the plainest way there is: from a list of all entries, every time anew.

It shares nothing with `k2alert.measure` but the nouns. Where the two disagree, one of them is wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from fractions import Fraction
from functools import cache

from k2alert.labels import Labels
from k2alert.model import (
    RESULTS,
    Entry,
    EvidenceRefs,
    Kind,
    Measured,
    OpenEntry,
    Result,
    RunState,
    Selection,
    Stream,
    Window,
)

Facts = list[Entry]
FAILURES = (Result.FAILURE, Result.ERROR, Result.TIMEOUT)


class Oracle:
    """All facts as lists; `kinds` of entries are told apart by their streams."""

    def __init__(self, streams: Iterable[Stream], project_labels: Callable[[Mapping[str, str]], Labels]) -> None:
        self.streams = {stream.id: stream for stream in streams}
        self.project_labels = project_labels
        self.entries: dict[Kind, Facts] = {Kind.RUN: [], Kind.JOB: []}
        self.opens: dict[Kind, list[OpenEntry]] = {Kind.RUN: [], Kind.JOB: []}
        self.is_in = cache(self._is_in)

    def labels(self, stream: int, result: str) -> dict[str, str]:
        own = self.streams[stream].labels
        return {**self.project_labels(own), **own, "result": result}

    def series(self, selection: Selection, labels: Labels, kind: Kind) -> Facts:
        return [e for e in self.entries[kind] if self.is_in(selection, labels, e.stream, str(RESULTS[e.result]))]

    def _is_in(self, selection: Selection, labels: Labels, stream: int, result: str) -> bool:
        all_labels = self.labels(stream, result)
        by = {"source", *selection.by}
        return all(m.matches(all_labels) for m in selection.match) and labels == Labels(
            {name: value for name, value in all_labels.items() if name in by}
        )

    def open_ones(self, selection: Selection, labels: Labels, kind: Kind, at: int) -> list[OpenEntry]:
        return [o for o in self.opens[kind] if o.created <= at and self.is_in(selection, labels, o.stream, "")]

    def label_sets(self, selection: Selection, window: Window, at: int, kind: Kind) -> set[Labels]:
        by = {"source", *selection.by}
        facts = [(e.stream, str(RESULTS[e.result])) for e in self.entries[kind]] + [
            (o.stream, "") for o in self.opens[kind]
        ]
        candidates = {Labels({n: v for n, v in self.labels(*fact).items() if n in by}) for fact in facts}
        return {
            labels
            for labels in candidates
            if self.counted(self.series(selection, labels, kind), window, at, kind)
            or self.open_ones(selection, labels, kind, at)
        }

    # ------------------------------------------------------------------------------------------- windows

    def lane(self, entry: Entry) -> tuple[str, ...]:
        labels = self.streams[entry.stream].labels
        return tuple(labels.get(name, "") for name in ("source", "project", "workflow", "branch"))

    def counted(self, series: Facts, window: Window, at: int, kind: Kind, everything: bool = False) -> Facts:
        """What counts in the window; `everything`: every execution that finished in it."""
        counting = sorted((e for e in series if counts(e, at)), key=lambda e: (e.finished, e.ref))
        pool = [e for e in series if e.finished <= at] if everything else counting
        if window.length is not None:
            return [e for e in pool if e.finished > at - window.length // timedelta(milliseconds=1)]
        assert window.runs is not None
        deciding = [e for e in counting if is_decided(e)]
        if kind is Kind.RUN:
            if len(deciding) < window.runs:
                return pool
            first = deciding[-window.runs]
            return [e for e in pool if (e.finished, e.ref) >= (first.finished, first.ref)]
        runs: list[object] = []
        for entry in reversed(deciding):
            if (self.lane(entry), entry.created) not in runs and len(runs) < window.runs:
                runs.append((self.lane(entry), entry.created))
        return [e for e in pool if (self.lane(e), e.created) in runs]

    def worst_streak(self, series: Facts, in_window: Facts, at: int) -> tuple[Facts, Entry | None] | None:
        """The worst streak's entries, newest first, and the green before them."""
        found = []
        for lane in {self.lane(e) for e in in_window if is_decided(e)}:
            runs = [e for e in series if self.lane(e) == lane and is_decided(e) and counts(e, at)]
            runs.sort(key=lambda e: (e.created, e.ref), reverse=True)
            greens = [index for index, e in enumerate(runs) if RESULTS[e.result] is Result.SUCCESS]
            length = greens[0] if greens else len(runs)
            found.append((runs[:length], runs[length] if greens else None))
        return max(
            found, key=lambda s: (len(s[0]), s[0][-1].created, s[0][-1].ref) if s[0] else (0, 0, 0), default=None
        )

    # ----------------------------------------------------------------------------------------- the metrics

    def measure(
        self, kind: Kind, selection: Selection, metric: str, labels: Labels, window: Window, at: int
    ) -> Measured:
        series = self.series(selection, labels, kind)
        counted = self.counted(series, window, at, kind)
        decided = [e for e in counted if is_decided(e)]
        if metric in SIMPLE:
            return SIMPLE[metric](counted, decided)
        if metric in LENGTHS:
            field, how = LENGTHS[metric]
            known = sorted(length for e in decided if (length := getattr(e, field)) is not None and length >= 0)
            return Measured(how(known) if known else None, len(known))
        if metric == "health_score":
            known = [e.duration for e in decided if e.duration is not None and e.duration >= 0]
            if not known:
                return Measured(None, 0)
            rate = count(decided, Result.SUCCESS) / len(decided)
            return Measured(0.7 * rate + 0.3 * min(1, max(0, 1 - (mean(known) - 10) / 50)), len(decided))
        if metric == "consecutive_failures":
            worst = self.worst_streak(series, counted, at)
            return Measured(None, 0) if worst is None else Measured(len(worst[0]), len(decided))
        if metric.startswith("minutes_since"):
            results = (Result.SUCCESS,) if metric == "minutes_since_success" else tuple(Result)
            ages = [at - e.finished for e in series if counts(e, at) and RESULTS[e.result] in results]
            return Measured(min(ages) / 60_000, 1) if ages else Measured(None, 0)
        if metric == "runner_minutes":
            executed = self.counted(series, window, at, kind, everything=True)
            return Measured(sum(max(e.duration or 0, 0) for e in executed) / 60_000, len(executed))
        state = RunState.RUNNING if metric.startswith("running") else RunState.PENDING
        waiting = [o for o in self.open_ones(selection, labels, kind, at) if o.state is state]
        if metric.startswith("oldest"):
            return Measured(max((at - o.created for o in waiting), default=0) / 60_000, len(waiting))
        return Measured(len(waiting), len(waiting))

    def evidence(
        self, kind: Kind, selection: Selection, metric: str, labels: Labels, window: Window, at: int, limit: int
    ) -> EvidenceRefs:
        series = self.series(selection, labels, kind)
        counted = self.counted(series, window, at, kind)
        decided = [e for e in counted if is_decided(e)]
        faults, samples = [e for e in decided if RESULTS[e.result] in FAILURES], decided
        streak = self.worst_streak(series, counted, at) if kind is Kind.RUN else None
        if metric in LENGTHS or metric == "runner_minutes":
            field = LENGTHS[metric][0] if metric in LENGTHS else "duration"
            rows = decided if metric in LENGTHS else self.counted(series, window, at, kind, everything=True)
            faults = [e for e in rows if getattr(e, field) is not None and getattr(e, field) >= 0]
            samples = faults if metric in LENGTHS else rows
            faults.sort(key=lambda e: (getattr(e, field), e.finished, e.ref), reverse=True)
        elif metric == "consecutive_failures":
            faults = streak[0] if streak else []
            samples = max(decided, faults, key=len)
        else:
            if metric in ("total_pipelines", "minutes_since_run"):
                faults, samples = counted, counted
            elif metric == "successful_pipelines":
                faults = [e for e in decided if RESULTS[e.result] is Result.SUCCESS]
            elif metric == "cancelled_pipelines":
                faults, samples = [e for e in counted if RESULTS[e.result] is Result.CANCELLATION], counted
            elif metric == "error_rate":
                faults = [e for e in decided if RESULTS[e.result] is Result.ERROR]
            elif metric == "job_retry_rate":
                faults, samples = [e for e in counted if e.retry], counted
            elif metric.startswith(("running", "pending", "oldest")):
                faults, samples = [], []
            faults = sorted(faults, key=lambda e: (e.finished, e.ref), reverse=True)
        refs = tuple(e.ref for e in faults[:limit])
        if streak is None or not streak[0]:
            return EvidenceRefs(kind, refs, len(faults), len(samples), None, None)
        green = streak[1].ref if streak[1] else None
        return EvidenceRefs(kind, refs, len(faults), len(samples), streak[0][-1].ref, green)


def counts(entry: Entry, at: int) -> bool:
    return entry.finished <= at and (entry.superseded is None or at < entry.superseded)


def is_decided(entry: Entry) -> bool:
    result = RESULTS[entry.result]
    return result is Result.SUCCESS or (result in FAILURES and not entry.allowed)


def count(entries: Facts, *results: Result) -> int:
    return sum(RESULTS[entry.result] in results for entry in entries)


def ratio(part: int, whole: int) -> Measured:
    return Measured(part / whole if whole else None, whole)


def mean(known: list[int]) -> float:
    return float(Fraction(sum(known), len(known)) / 60_000)


def quantile(percent: int) -> Callable[[list[int]], float]:
    def interpolate(known: list[int]) -> float:
        rank = Fraction(percent, 100) * (len(known) - 1)
        low = int(rank)
        high = min(low + 1, len(known) - 1)
        return float((known[low] + (rank - low) * (known[high] - known[low])) / 60_000)

    return interpolate


SIMPLE: Mapping[str, Callable[[Facts, Facts], Measured]] = {
    "total_pipelines": lambda counted, _: Measured(len(counted), len(counted)),
    "successful_pipelines": lambda _, decided: Measured(count(decided, Result.SUCCESS), len(decided)),
    "failed_pipelines": lambda _, decided: Measured(count(decided, *FAILURES), len(decided)),
    "cancelled_pipelines": lambda counted, _: Measured(count(counted, Result.CANCELLATION), len(counted)),
    "success_rate": lambda _, decided: ratio(count(decided, Result.SUCCESS), len(decided)),
    "error_rate": lambda _, decided: ratio(count(decided, Result.ERROR), len(decided)),
    "job_success_rate": lambda _, decided: ratio(count(decided, Result.SUCCESS), len(decided)),
    "failed_jobs": lambda _, decided: Measured(count(decided, *FAILURES), len(decided)),
    "job_retry_rate": lambda counted, _: ratio(sum(e.retry for e in counted), len(counted)),
}

LENGTHS: Mapping[str, tuple[str, Callable[[list[int]], float]]] = {
    "avg_duration_minutes": ("duration", mean),
    "median_duration_minutes": ("duration", quantile(50)),
    "p95_duration_minutes": ("duration", quantile(95)),
    "p99_duration_minutes": ("duration", quantile(99)),
    "max_duration_minutes": ("duration", quantile(100)),
    "avg_queue_minutes": ("queued", mean),
    "p95_queue_minutes": ("queued", quantile(95)),
    "avg_job_duration_minutes": ("duration", mean),
    "p95_job_duration_minutes": ("duration", quantile(95)),
    "avg_job_queue_minutes": ("queued", mean),
    "p95_job_queue_minutes": ("queued", quantile(95)),
}
