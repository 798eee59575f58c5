"""Who is read at each source, and whose turn it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k2alert.collect.flow import Forge
from k2alert.collect.http import Client
from k2alert.collect.settings import SourceSettings
from k2alert.model import Project
from k2alert.times import EPOCH

__all__ = ["Place", "Source"]

_MOST_LOOKS = 4  # at once at one source: enough to hide the network, few enough for any forge


@dataclass(slots=True)
class Place:
    """A project's place in the timetable of its source."""

    due: datetime
    busy: bool = False
    gone: bool = False  # it is read no more, as soon as the look that goes on has ended
    told: str = ""  # why it fails, as last logged
    bookmarks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Source:
    """One source at work."""

    settings: SourceSettings
    forge: Forge
    client: Client
    places: dict[str, Place]
    open: bool = True  # False: its last looks are being ended
    memory: Mapping[str, Any] = field(default_factory=dict)
    discover_at: datetime | None = None  # when its groups are read next; None: it has none, or they are being read
    unlisted: tuple[Project, ...] = ()  # its groups, as projects that cannot be read, until they were listed once
    told: str = ""  # why its groups cannot be read, as last logged
    limited_until: datetime = EPOCH  # until then its forge's limit is known to be reached, and was told
    bugs: int = 0
    traced: set[str] = field(default_factory=set)  # where the bugs were that have been logged with their trace

    @property
    def name(self) -> str:
        return self.settings.name

    def next_due(self) -> datetime | None:
        """When the next look may start, or the groups are read again; None while neither can, until one ends."""
        looks = [place.due for place in self._idle().values()] if self._free() else []
        return min([*looks, *([self.discover_at] if self.open and self.discover_at else [])], default=None)

    def due(self, now: datetime) -> list[str]:
        """The projects to look at now, the longest due first."""
        idle = self._idle()
        ready = sorted((key for key in idle if idle[key].due <= now), key=lambda key: idle[key].due)
        return ready[: self._free()]

    def _idle(self) -> dict[str, Place]:
        return {key: place for key, place in self.places.items() if not place.busy}

    def _free(self) -> int:
        return max(0, _MOST_LOOKS - sum(place.busy for place in self.places.values())) if self.open else 0
