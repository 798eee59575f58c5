"""Who is read at each source, and whose turn it is."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k2alert.collect.flow import Forge
from k2alert.collect.http import Client
from k2alert.collect.settings import SourceSettings
from k2alert.model import Kind, Project
from k2alert.times import EPOCH

__all__ = ["Place", "Source"]

_MOST_TURNS = 4  # at once at one source: enough to hide the network, few enough for any forge
_EARLY = 0.25  # of a poll interval: so much sooner a project is scanned along with others


@dataclass(slots=True)
class Place:
    """A project's place in the timetable of its source."""

    due: datetime
    busy: bool = False
    alone: bool = False  # a scan of several left it out: its next look is its own
    gone: bool = False  # it is read no more, as soon as the look that goes on has ended
    lively: bool = False  # runs went on when it was looked at last
    told: str = ""  # why it fails, as last logged
    bookmarks: Mapping[str, Any] = field(default_factory=dict)
    heard: dict[Kind, datetime] = field(default_factory=dict)  # when a webhook told of what only a look can read


@dataclass(slots=True)
class Source:
    """One source at work."""

    settings: SourceSettings
    forge: Forge
    client: Client
    places: dict[str, Place]
    going_on: int = 0  # looks and scans
    open: bool = True  # False: its last looks are being ended
    memory: Mapping[str, Any] = field(default_factory=dict)
    refs: dict[str, bool] = field(default_factory=dict)  # by `tag_key`: which names webhooks said to be tags'
    discover_at: datetime | None = None  # when its groups are read next; None: it has none, or they are being read
    unlisted: tuple[Project, ...] = ()  # its groups, as projects that cannot be read, until they were listed once
    told: str = ""  # why its groups cannot be read, as last logged
    limited_until: datetime = EPOCH  # until then its forge's limit is known to be reached, and was told
    bugs: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # report files that were not read, by reason
    refusals_told: set[tuple[str, str, str, str]] = field(default_factory=set)  # project, job, file and reason
    traced: set[str] = field(default_factory=set)  # where the bugs were that have been logged with their trace

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def may_hurry(self) -> bool:
        """Whether projects where runs go on are looked at sooner: not where webhooks tell, or requests are scarce."""
        return not self.settings.webhook_secret and not self.client.is_scarce()

    def next_due(self) -> datetime | None:
        """When the next turn may begin, or the groups are read again; None while neither can, until one ends."""
        looks = [place.due for place in self._idle().values()] if self._free() else []
        return min([*looks, *([self.discover_at] if self.open and self.discover_at else [])], default=None)

    def turns(self, now: datetime, may_be_scanned: Callable[[str], bool]) -> list[tuple[str, ...]]:
        """Whose turn it is now, the longest due first: projects to be scanned together, or one to be looked at.

        Those that may be scanned go along when they are due soon; from then on they are due together.
        """
        soon = now + self.settings.poll_interval * _EARLY
        near = {key: place for key, place in self._idle().items() if place.due <= soon}
        alone = {key for key in near if near[key].alone or self.forge.scan is None or not may_be_scanned(key)}
        row = sorted((key for key in near if key not in alone), key=lambda key: near[key].due)
        groups = [(key,) for key in alone] + [tuple(group) for group in _batched(row, self.forge.most_scanned)]
        due = {group: min(near[key].due for key in group) for group in groups}
        return sorted((group for group in groups if due[group] <= now), key=lambda group: due[group])[: self._free()]

    def start(self, keys: Iterable[str]) -> None:
        """The turn of these projects begins."""
        self.going_on += 1
        for key in keys:
            self.places[key].busy, self.places[key].alone = True, False

    def end(self, keys: Iterable[str]) -> None:
        """Their turn ends; those that are gone lose their places."""
        self.going_on -= 1
        for key in keys:
            self.places[key].busy = False
            if self.places[key].gone:
                del self.places[key]

    def leave_out(self, keys: Iterable[str], now: datetime) -> None:
        """A scan left these out: they are due, each by itself."""
        for place in (self.places[key] for key in keys if key in self.places):
            place.alone, place.due = True, min(place.due, now)

    def _idle(self) -> dict[str, Place]:
        return {key: place for key, place in self.places.items() if not place.busy}

    def _free(self) -> int:
        return max(0, _MOST_TURNS - self.going_on) if self.open else 0


def _batched(row: Sequence[str], size: int) -> list[Sequence[str]]:
    """The row in pieces of at most this size."""
    return [row[start : start + size] for start in range(0, len(row), size)]
