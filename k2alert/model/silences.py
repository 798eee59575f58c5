"""What keeps alerts quiet, and where they would be heard: silences, hushes, alert groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from k2alert.labels import Labels, Matcher, matches_all
from k2alert.model.rules import Alert, AlertState
from k2alert.times import to_ms

__all__ = ["AlertGroup", "Hush", "Refusal", "Silence", "SilenceDraft", "SilenceState"]


class SilenceState(StrEnum):
    """Where a silence is in its life, in Alertmanager's words."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What somebody asked not to hear: alerts whose labels match all matchers, from `starts_at` until `ends_at`.

    `until_resolved` are the alerts that fired when it was made, by `Alert.key`, with the instants at which they began
    to fire, where it lasts as long as those do; empty where it lasts until `ends_at` whatever happens. Author and
    comment are anybody's text: escape it wherever it is shown.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    author: str
    comment: str
    until_resolved: Mapping[str, datetime] = field(default_factory=dict)

    def state(self, now: datetime) -> SilenceState:
        """Where it is in its life; at `ends_at` it is over."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if now < self.starts_at else SilenceState.ACTIVE

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about an alert with these labels."""
        return matches_all(self.matchers, labels)

    def outlives(self, alerts: Mapping[str, Alert]) -> bool:
        """Whether an alert that it waits for still fires, as it did when it was made; `alerts` by `Alert.key`."""
        return not self.until_resolved or any(
            key in alerts and _fires_since(alerts[key], since) for key, since in self.until_resolved.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceDraft:
    """A silence as somebody asks for it. `id` is that of the one to change, "" for a new one.

    `until_resolved`: it is to last as long as what fires now, and `ends_at` is only the latest it may.
    """

    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    id: str = ""
    until_resolved: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something that was asked for is not done: an HTTP status, and a sentence."""

    status: int
    text: str


def _fires_since(alert: Alert, since: datetime) -> bool:
    """To the millisecond, as the store has it."""
    return alert.state is AlertState.FIRING and alert.fired_at is not None and to_ms(alert.fired_at) == to_ms(since)


@dataclass(frozen=True, slots=True)
class Hush:
    """Why an alert is not heard now.

    `silenced_by` are ids of silences, `inhibited_by` keys of alerts that fire, `muted_by` names of time intervals
    (those of its routes, where none of them may speak). It is heard where all are empty.
    """

    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()

    @property
    def is_suppressed(self) -> bool:
        """Whether the alert itself is quiet, on whatever route."""
        return bool(self.silenced_by or self.inhibited_by)


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """What one route tells one receiver in one message: alerts that fire. `muted_by`: time intervals of the route."""

    route: str
    receiver: str
    labels: Labels
    alerts: tuple[Alert, ...]
    muted_by: tuple[str, ...] = ()
