"""What was sent to whom: one row for each message tried, appended and never changed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from k2alert.labels import Labels

__all__ = ["Telling", "TellingOutcome", "TellingQuery", "ToldAlert"]


class TellingOutcome(StrEnum):
    """How a try went."""

    SENT = "sent"  # taken
    RETRY = "retry"  # failed, and will be tried again
    GIVEN_UP = "given_up"  # refused for good, or failed for too long


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAlert:
    """An alert that a message was about. Texts are the forge's, cut: escape them wherever they are shown."""

    key: str
    rule: str
    identity: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One message that was tried, and how that went.

    `id` is its place in the history, 0 before it is stored. `kind` is why it was due (`firing`, `resolved`, `list`…).
    `incident` is that of the message, or the list's name. `alerts` are the first twenty of `total`. `reason` is the
    label of `k2alert_notifications_failed_total`, `error` says more; neither holds an address or a secret. `error`
    without `reason`: some of the addresses refused.
    """

    id: int = 0
    at: datetime
    receiver: str
    integration: str
    kind: str
    incident: str
    alerts: tuple[ToldAlert, ...]
    total: int
    outcome: TellingOutcome
    reason: str = ""
    error: str = ""
    took: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingQuery:
    """Which of the history: the newest `limit` before an id, of a receiver, incident or alert's key ("": of all)."""

    limit: int = 100
    before: int | None = None
    receiver: str = ""
    incident: str = ""
    alert: str = ""
