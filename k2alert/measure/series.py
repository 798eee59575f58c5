"""One series: the facts with the same `by` labels, and which of them a window at a time holds.

Most outcomes are never superseded and live in a timeline. Those that a re-run or a retry superseded live beside it
in a short sorted list, and are looked at only for times before the last of them was superseded. So asking about
now costs two binary searches, and asking about the past gives what was true then.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import timedelta
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

from k2alert.labels import Labels
from k2alert.measure.columns import DECIDED, Column, Lengths
from k2alert.measure.narrow import inserted, narrow
from k2alert.measure.streaks import Lanes, Streak
from k2alert.measure.timeline import NEVER, Pile, Row, Span, Timeline
from k2alert.model import Kind, OpenEntry, RunState, Window

__all__ = ["Series"]

_MILLISECOND = timedelta(milliseconds=1)
_ORDER = attrgetter("finished", "ref")
_UNLABELLED = Labels()
_SHORT = 64  # rows that are sorted sooner than brought up to date
_NONE = array("q")
_Answer = TypeVar("_Answer")


class Series:
    """Rows of one kind, and the open runs or jobs by their key."""

    __slots__ = ("_counted", "_lanes", "_memory", "_ordered", "_past", "_settled", "jobs", "labels", "line", "opens")

    def __init__(self, kind: Kind, labels: Labels = _UNLABELLED) -> None:
        self.labels = labels
        self.jobs = kind is Kind.JOB
        self.line = Timeline()
        self.opens: dict[str, OpenEntry] = {}
        self._past: list[Row] = []  # superseded rows, by (finished, ref)
        self._settled = 0  # from here on none of them counts
        self._lanes: Lanes | None = None
        self._memory: dict[Hashable, tuple[Span, Any]] = {}
        self._counted: dict[Window, tuple[int, Span]] = {}  # what was asked last of each window
        self._ordered: dict[tuple[Lengths, Window], tuple[Span, array[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self.line or self._past or self.opens)

    # ------------------------------------------------------------------------------------- what changes

    def insert(self, row: Row) -> None:
        """Take one row in, wherever it belongs."""
        place = None
        if row.superseded == NEVER:
            place = self.line.insert(row)
        else:
            insort(self._past, row)
            self._settled = max(self._settled, row.superseded)
        if self._lanes is not None and not self._lanes.insert(row, place):
            self._lanes = None
        self._forget()

    def remove(self, row: Row) -> None:
        """Take one row out."""
        place = None
        if row.superseded == NEVER:
            place = self.line.remove(row.finished, row.ref)
        else:
            self._past = [other for other in self._past if other.ref != row.ref]
            self._settle()
        if self._lanes is not None and not self._lanes.remove(row, place):
            self._lanes = None
        self._forget()

    def extend(self, pile: Pile) -> None:
        """Take many rows in; fast where they finished after all that is here."""
        line = self.line
        self._lanes = None
        if line and (line.finished[-1], line.refs[-1]) >= (pile.finished[0], pile.refs[0]):
            for row in pile.rows():
                self.insert(row)
        else:
            line.extend(pile)
            self._forget()

    def _forget(self) -> None:
        self._memory.clear()
        self._counted.clear()
        self._ordered.clear()

    def _settle(self) -> None:
        self._settled = max((row.superseded for row in self._past), default=0)

    # -------------------------------------------------------------------------------- what is asked of it

    def counted(self, window: Window, at: int) -> Span:
        """What counts in the window that ends at `at`: each run (each job of a run) once, with its latest
        outcome finished by `at`, where that one finished inside (at − length, at].

        A window of N runs begins with the Nth last decided run that counts at `at`, by finishing order; where
        fewer are held it has all. For jobs it has the jobs of the N runs whose decided jobs finished last.
        """
        last = self._counted.get(window)
        if last is not None and last[0] == at:  # another metric, or another rule
            return last[1]
        counting = self._counting(at)
        span = self._window(window, at, counting, counting)
        self._counted[window] = (at, span)
        return span

    def executed(self, window: Window, at: int) -> Span:
        """Every execution that finished in the window, superseded or not."""
        past = self._past[: bisect_right(self._past, at, key=lambda row: row.finished)]
        return self._window(window, at, self._counting(at), past)

    def newest(self, column: Column, at: int) -> int | None:
        """When the newest marked row that counts at `at` finished, however long ago."""
        line, marks = self.line, self.line.marks(column)
        marked = marks.between(0, line.finished.place_after(at))
        found = [line.finished[marks.place(marked)]] if marked else []
        found.extend(row.finished for row in self._counting(at) if row.worth(column))
        return max(found, default=None)

    def worst_streak(self, window: Window, at: int) -> Streak | None:
        """The worst present streak of the lanes with a decided run in the window; None where there is none.

        The streak itself reaches back as far as rows are held.
        """
        span = self.counted(window, at)
        if at < self._settled:  # a streak before the window may change while the window's rows do not
            return self._worst(span, at)
        return self.remember(("streak", window), span, lambda: self._worst(span, at))

    def waiting(self, state: RunState, at: int) -> list[int]:
        """When the open ones in a state were created, of those created by `at`."""
        return [entry.created for entry in self.opens.values() if entry.state is state and entry.created <= at]

    def seen(self, window: Window, at: int) -> bool:
        """Whether it has a fact in the window: a row that counts, or one that is open."""
        return bool(self.counted(window, at).size) or any(entry.created <= at for entry in self.opens.values())

    def steady_until(self, window: Window, at: int) -> int:
        """The first instant after `at` at which the window may hold other rows, or another open one be there.

        That is, if nothing is saved until then; `at` itself where it cannot be said.
        """
        if at < self._settled:
            return at
        finished, span = self.line.finished, self.counted(window, at)
        until = finished[span.high] if span.high < len(finished) else NEVER
        if window.length is not None:
            length = window.length // _MILLISECOND
            if span.low < span.high:
                until = min(until, finished[span.low] + length)
            if self._past:  # none of them counts, but each was executed
                place = bisect_right(self._past, at - length, key=lambda row: row.finished)
                if place < len(self._past):
                    until = min(until, self._past[place].finished + length)
        if self.opens:
            until = min([until, *(entry.created for entry in self.opens.values() if entry.created > at)])
        return until

    def moments(self) -> Iterator[int]:
        """The instants at which what counts changes, in no order: where a row finished, or was superseded."""
        yield from self.line.finished
        for row in self._past:
            yield from (row.finished, row.superseded)

    def remember(self, key: Hashable, span: Span, compute: Callable[[], _Answer]) -> _Answer:
        """A costly answer about a span, computed again only when the rows or the span changed."""
        held = self._memory.get(key)
        if held is None or held[0] != span:
            held = self._memory[key] = (span, compute())
        answer: _Answer = held[1]
        return answer

    def ordered(self, lengths: Lengths, window: Window, span: Span) -> Sequence[int]:
        """The known lengths of a window's rows, shortest first; good until the next question.

        A long window that has moved on a little lets go of a few and takes a few in, rather than being sorted anew.
        """
        if span.size < _SHORT:
            return sorted(span.lengths(lengths))
        before, found = self._ordered.get((lengths, window), (None, _NONE))
        if before is None or before.extra or span.extra or not before.low <= span.low <= before.high <= span.high:
            found = narrow(sorted(span.lengths(lengths)))
        elif before != span:
            for gone in Span(self.line, before.low, span.low).lengths(lengths):
                del found[bisect_left(found, gone)]
            for come in Span(self.line, before.high, span.high).lengths(lengths):
                found = inserted(found, bisect_right(found, come), come)
        self._ordered[lengths, window] = (span, found)
        return found

    # --------------------------------------------------------------------------------------- how it is found

    def _counting(self, at: int) -> Sequence[Row]:
        """The rows superseded later than `at` that count then."""
        return [row for row in self._past if row.counts(at)] if at < self._settled else ()

    def _window(self, window: Window, at: int, counting: Sequence[Row], past: Sequence[Row]) -> Span:
        """The window's rows: its stretch of the timeline, and those of `past` that lie in it."""
        line = self.line
        high = line.finished.place_after(at)
        if window.length is not None:
            since = at - window.length // _MILLISECOND
            low = line.finished.place_after(since, 0, high)
            return Span(line, low, high, tuple(row for row in past if row.finished > since) if past else ())
        if self.jobs:
            return self._jobs_of(self._latest_runs(window.runs or 0, high, counting), high, past)
        return self._last_runs(window.runs or 0, high, past)

    def _last_runs(self, runs: int, high: int, past: Sequence[Row]) -> Span:
        decided = self.line.marks(DECIDED)
        first = decided.between(0, high) - runs + 1
        low = decided.place(first) if first > 0 else 0
        if not past:
            return Span(self.line, low, high)
        tail = Span(self.line, low, high, tuple(past)).newest(DECIDED, runs)
        if len(tail) < runs:
            return Span(self.line, 0, high, tuple(past))
        oldest = tail[-1]
        extra = tuple(row for row in past if row >= oldest)
        return Span(self.line, self.line.place(oldest.finished, oldest.ref), high, extra)

    def _latest_runs(self, runs: int, high: int, counting: Sequence[Row]) -> set[tuple[int, int]]:
        """The runs whose decided jobs finished last.

        A job's row does not name its run, but holds the run's lane and creation: together they tell runs apart,
        save two runs of one workflow on one branch that the forge says were created in the same instant.
        """
        latest: set[tuple[int, int]] = set()
        newest_first = (self.line.row(index) for index in range(high - 1, -1, -1))
        for row in merge(newest_first, sorted(counting, reverse=True), reverse=True):
            if len(latest) == runs:
                break
            if row.worth(DECIDED):
                latest.add((row.lane, row.created))
        return latest

    def _jobs_of(self, runs: set[tuple[int, int]], high: int, past: Sequence[Row]) -> Span:
        """The jobs of some runs: none of them finished before the first of these was created."""
        since = min((created for _, created in runs), default=NEVER) - self.line.skew
        low = self.line.finished.place(since, 0, high)
        rows = chain(self.line.rows(low, high), past)
        return Span(self.line, high, high, tuple(row for row in rows if (row.lane, row.created) in runs))

    def _worst(self, span: Span, at: int) -> Streak | None:
        if self._lanes is None:
            self._lanes = Lanes(self.line, self._past)
        return self._lanes.worst(span.lanes(DECIDED), at)
