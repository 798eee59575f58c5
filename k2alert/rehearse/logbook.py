"""A notification log in memory that finds the entries of an alert group without going through all of them.

Log entries come in; those of some groups, in the order in which they were first written, go out.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from itertools import count

from k2alert.model import LogEntry
from k2alert.notify.dues import LIST_KEY

__all__ = ["Logbook"]

_Key = tuple[str, str, str]


class Logbook:
    """The entries of a rehearsal, in which time only goes on."""

    def __init__(self) -> None:
        self._entries: dict[_Key, LogEntry] = {}
        self._numbers: dict[_Key, int] = {}
        self._next = count()
        self._closed: set[_Key] = set()
        self._open: defaultdict[str, set[_Key]] = defaultdict(set)  # by group
        self._listed: defaultdict[str, set[_Key]] = defaultdict(set)  # the open ones by the list that tells of them
        self._said: deque[tuple[datetime, str]] = deque()  # when something was said, and of which group

    def keep(self, entries: Iterable[LogEntry]) -> None:
        """Writes entries, over those of the same key."""
        for entry in entries:
            before = self._entries.get(entry.key)
            if before is not None:
                self._unlink(before)
            else:
                self._numbers[entry.key] = next(self._next)
            self._entries[entry.key] = entry
            self._link(entry)

    def drop(self, entry: LogEntry) -> None:
        """Forgets an entry."""
        self._unlink(entry)
        del self._entries[entry.key], self._numbers[entry.key]

    def of(self, groups: Collection[str] | None) -> tuple[LogEntry, ...]:
        """The open entries of these alert groups (None: of all), and all that are closed."""
        if groups is None:
            return tuple(self._entries.values())
        found = self._closed.union(*(self._open[group] for group in groups if group in self._open))
        return tuple(self._entries[key] for key in sorted(found, key=self._numbers.__getitem__))

    def closed(self) -> list[LogEntry]:
        """All that are closed, in no order."""
        return [self._entries[key] for key in self._closed]

    def open_groups(self) -> set[str]:
        """The alert groups with an open entry."""
        return {group for group, keys in self._open.items() if keys}

    def told_lately(self, now: datetime, span: timedelta) -> set[str]:
        """The alert groups with an open entry of which something was said in this time; always for the same span."""
        while self._said and now - self._said[0][0] > span:
            self._said.popleft()
        return {group for _, group in self._said if self._open.get(group)}

    def listed_with(self, group: str) -> set[str]:
        """The alert groups that lists tell of together with this one."""
        lists = {self._entries[key].handle.get(LIST_KEY, "") for key in self._open.get(group, ())}
        return {self._entries[key].group for one in lists for key in self._listed.get(one, ())}

    def _link(self, entry: LogEntry) -> None:
        if entry.closed:
            self._closed.add(entry.key)
            return
        self._open[entry.group].add(entry.key)
        if LIST_KEY in entry.handle:
            self._listed[entry.handle[LIST_KEY]].add(entry.key)
        if entry.last_sent_at is not None:
            self._said.append((entry.last_sent_at, entry.group))

    def _unlink(self, entry: LogEntry) -> None:
        self._closed.discard(entry.key)
        self._open[entry.group].discard(entry.key)
        if LIST_KEY in entry.handle:
            self._listed[entry.handle[LIST_KEY]].discard(entry.key)
