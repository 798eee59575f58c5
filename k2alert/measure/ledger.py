"""Ledgers: the reports, deployments or schedules with the same `by` labels, in the order in which they finished.

There are far fewer of these than of runs and jobs, and nothing supersedes them, so a sorted list does: a window is a
stretch of it, found by two binary searches, and what costs more than that is kept until the stretch changes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from k2alert.labels import Labels
from k2alert.measure.timeline import NEVER
from k2alert.model import FactEntry, Window

__all__ = ["Ledger", "Place", "StreamInfo"]

_MILLISECOND = timedelta(milliseconds=1)
_ORDER = attrgetter("finished", "ref")
_FINISHED = attrgetter("finished")
_Answer = TypeVar("_Answer")


class Place(NamedTuple):
    """A project, by source and path."""

    source: str
    project: str


class StreamInfo(NamedTuple):
    """What a stream's labels say, ready to be grouped by."""

    place: Place
    ref_type: str
    branch: str
    workflow: str
    job: str
    environment: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> "StreamInfo":
        """Those of these labels."""
        place = Place(labels.get("source", ""), labels.get("project", ""))
        names = ("ref_type", "branch", "workflow", "job", "environment")
        return cls(place, *(labels.get(name, "") for name in names))


@dataclass(slots=True, eq=False)
class Ledger:
    """Entries of one kind by (finished, ref). `streams` tells of the streams they are of."""

    streams: Mapping[int, StreamInfo]
    entries: list[Any] = field(default_factory=list)  # of one kind of FactEntry: each formula knows which
    labels: Labels = field(default_factory=Labels)
    _memory: dict[Hashable, tuple[tuple[int, int], Any]] = field(default_factory=dict)

    def insert(self, entry: FactEntry) -> None:
        """Take one entry in, wherever it belongs."""
        self.entries.insert(bisect_left(self.entries, _ORDER(entry), key=_ORDER), entry)
        self._memory.clear()

    def remove(self, entry: FactEntry) -> None:
        """Take one entry out, by when it finished and its number."""
        index = bisect_left(self.entries, _ORDER(entry), key=_ORDER)
        if index < len(self.entries) and self.entries[index].ref == entry.ref:
            del self.entries[index]
            self._memory.clear()

    def extend(self, entries: Iterable[FactEntry]) -> None:
        """Take many entries in, of any order."""
        self.entries.extend(entries)
        self.entries.sort(key=_ORDER)
        self._memory.clear()

    def until(self, at: int) -> int:
        """How many entries had finished at `at`."""
        return bisect_right(self.entries, at, key=_FINISHED)

    def span(self, window: Window, at: int) -> tuple[int, int]:
        """The stretch of entries that finished in (at − length, at]; a window of runs is as long as its look-back."""
        high = self.until(at)
        since = at - window.look_back // _MILLISECOND
        return bisect_right(self.entries, since, 0, high, key=_FINISHED), high

    def steady_until(self, window: Window, at: int) -> int:
        """The first instant after `at` at which an entry comes into the window or leaves it, if nothing is saved."""
        low, high = self.span(window, at)
        until = [entry.finished for entry in self.entries[high : high + 1]]
        leaving = [entry.finished + window.look_back // _MILLISECOND for entry in self.entries[low:high][:1]]
        return min((*until, *leaving), default=NEVER)

    def within(self, span: tuple[int, int]) -> Sequence[Any]:
        """The entries of a stretch."""
        return self.entries[span[0] : span[1]]

    def remember(self, key: Hashable, span: tuple[int, int], compute: Callable[[], _Answer]) -> _Answer:
        """A costly answer about a stretch, computed again only when the entries or the stretch changed."""
        held = self._memory.get(key)
        if held is None or held[0] != span:
            held = self._memory[key] = (span, compute())
        answer: _Answer = held[1]
        return answer

    def info(self, entry: FactEntry) -> StreamInfo:
        """What is known of an entry's stream."""
        return self.streams[entry.stream]
