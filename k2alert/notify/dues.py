"""What a message that is due is: the values that planning gives, and that composing, sending and the log take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Protocol

from k2alert.model import Alert, AlertState, LogEntry
from k2alert.notify.route import Integration

__all__ = [
    "CLOSING",
    "ENDS",
    "LIST_KEY",
    "PARTLY_KEY",
    "TRIED_KEY",
    "Address",
    "Due",
    "Kind",
    "Part",
    "Told",
]

LIST_KEY = "*list"
"""The key in a log entry's handle that names the list it was told in; no address looks like it."""


TRIED_KEY = "*tried"
"""The key in a log entry's handle that says that somebody may have taken a message; no address looks like it."""


PARTLY_KEY = "*partly"
"""The key in a log entry's handle that says that some addresses took the last message and others did not."""


class Kind(StrEnum):
    """Why a message is due."""

    FIRING = "firing"  # the first that is heard of an incident
    CHANGED = "changed"  # alerts joined or ended, others still fire
    REPEAT = "repeat"  # nothing changed for `repeat_interval`
    RESOLVED = "resolved"  # all ended, and those that ended last recovered
    CLOSED = "closed"  # all ended, not all of the last ones because they recovered
    LIST = "list"  # several incidents in one message
    DIGEST = "digest"  # what fired and ended on a route since its last summary


ENDS = frozenset({Kind.RESOLVED, Kind.CLOSED})
CLOSING = ENDS | {Kind.DIGEST}
"""The kinds that leave nothing more to be said of their incident; a digest is one from summary to summary."""


class Told(Protocol):
    """What the plan asks of an integration's settings."""

    @property
    def send_resolved(self) -> bool:
        """Whether ends are told."""
        ...

    @property
    def edits(self) -> bool:
        """Whether a message can be edited once it is sent."""
        ...


Address = Callable[[Integration, tuple[Alert, ...]], str]
"""Where an integration would send a message about these alerts; a list never mixes addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a message says of one incident: why, of which alerts, and what the log will say once it is said.

    `news` are the alerts whose state it tells for the first time.
    """

    kind: Kind
    entry: LogEntry
    alerts: tuple[Alert, ...]
    news: tuple[Alert, ...]
    told: Mapping[str, AlertState]

    @property
    def is_remainder(self) -> bool:
        """Whether it repeats a message for those of its addresses that did not take it."""
        again = self.entry.retry_at is not None and not self.entry.gave_up
        return again and not self.news and self.kind is not Kind.REPEAT

    @property
    def was_true_at_first(self) -> bool:
        """Whether all its alerts were already true when they were first judged."""
        return all(alert.initial for alert in self.alerts)


@dataclass(frozen=True, kw_only=True)  # no slots: the mark of a storm is worked out once
class Due:
    """One message that is due. Only a LIST has more than one part.

    `rest` are alerts of the other open incidents of a list that is edited: shown, but not told now.
    `handle` is what the last message of this incident or list left. `list_id` is "" but for a LIST.
    """

    kind: Kind
    receiver: str
    integration: Integration
    parts: tuple[Part, ...]
    rest: tuple[Alert, ...] = ()
    handle: Mapping[str, str] = field(default_factory=dict)
    list_id: str = ""

    @property
    def thread(self) -> str:
        """What all messages of one incident, or of one list, have in common."""
        return self.list_id or self.parts[0].entry.incident

    @cached_property
    def mark(self) -> str:
        """16 hex digits that tell it from every other, the same when it is tried again with the same news."""
        said = sorted(map(_said, self.parts))
        return sha256("\xff".join((self.thread, *said)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _said(part: Part) -> str:
    """What tells a part of a message from every other."""
    told = (f"{key}={state.value}" for key, state in sorted(part.told.items()))
    return "\xfe".join((part.entry.incident, str(part.entry.sent), *told))
