"""What the rest of the program hands to `expose`: one frozen picture a round, and a few questions."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from k2alert.expose.packing import Packed
from k2alert.model import (
    Alert,
    AlertGroup,
    Curve,
    Finding,
    Hush,
    Refusal,
    Rule,
    Silence,
    SilenceDraft,
    SourceStatus,
    Telling,
    TellingQuery,
)

__all__ = ["PageView", "Quiet", "Snapshot", "Unavailable", "View"]


ReadHistory = Callable[[datetime | None, str], AsyncIterator[bytes]]
"""Since when, and the path of one project or "" for all: chunks of whole lines. Raises `Unavailable`."""


class Unavailable(Exception):
    """It cannot be answered now; the text says why, in a line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the last round came to.

    `messages` are the rendered texts of pending and firing alerts by `Alert.key`; `annotations` likewise.
    `alert_series` say how many alerts are in which state, the same in both formats; `series` are the others, of CI and
    of rules, in Prometheus's text format, `series_openmetrics` the same in OpenMetrics (without its `# EOF`). All
    are rendered and packed once a round, not once a scrape; until its own are drawn, a picture has the `series` of the
    round before.
    """

    now: datetime
    interval: timedelta
    took: timedelta
    rules: Sequence[Rule] = ()
    findings: Sequence[Finding] = ()
    alerts: Sequence[Alert] = ()
    messages: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    alert_series: Packed = field(default_factory=Packed)
    series: Packed = field(default_factory=Packed)
    series_openmetrics: Packed = field(default_factory=Packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Silences, and who is told of what: as things are at the moment it is asked.

    `hushes` says by `Alert.key` why an alert is not heard; `groups` are the alert groups of what fires; `receivers` all
    that are configured, by name. `save` and `expire` have stored what they return; a refusal says what status it is.
    """

    started_at: datetime
    now: Callable[[], datetime]
    external_url: Callable[[], str]
    silences: Callable[[], Sequence[Silence]]
    hushes: Callable[[], Mapping[str, Hush]]
    groups: Callable[[], Sequence[AlertGroup]]
    receivers: Callable[[], Sequence[str]]
    save: Callable[[SilenceDraft], Awaitable[Silence | Refusal]]
    expire: Callable[[str], Awaitable[Silence | Refusal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """What the status page asks beyond the snapshot. What awaits may raise `Unavailable`.

    `value_text` shows a value of the metric of this name ("": of none) as people read it, with its unit. `curve` takes
    a finding and how much of the past to show (None: what suits its rule); None where there is nothing to draw. `sent`
    is the history of what was sent to whom.
    """

    value_text: Callable[[str, float | int | str | None], str]
    sources: Callable[[], Sequence[SourceStatus]]
    curve: Callable[[Finding, timedelta | None], Awaitable[Curve | None]]
    sent: Callable[[TellingQuery], Awaitable[Sequence[Telling]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the server asks. All of it is answered from memory.

    `ready` gives the reason why not, or None. `reload` gives the errors, none when it worked. `explain` takes a rule's
    name, label values and a time (None: now), and gives a status with the explanations (200) or why there are none.
    `flaky` takes labels and options, raises `ValueError` for wrong ones, and gives why the store can't say.
    `webhook` takes one: the kind of forge, the name of a source or "", the headers (names in lower case) and the raw
    body; it gives the status to answer with, and why.
    `notifications` gives what was sent to whom, or why it can't be said. The tokens are asked for at every request,
    since a reload may change them.
    """

    snapshot: Callable[[], Snapshot | None]
    self_metrics: Callable[[str], tuple[bytes, str]]
    ready: Callable[[], Awaitable[str | None]]
    reload: Callable[[], Awaitable[Sequence[str]]]
    history: ReadHistory
    explain: Callable[[str, Sequence[tuple[str, str]], datetime | None], Awaitable[tuple[int, dict[str, Any] | str]]]
    flaky: Callable[[Sequence[tuple[str, str]], Mapping[str, str]], Awaitable[dict[str, Any] | str]]
    webhook: Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, str]]]
    quiet: Quiet
    notifications: Callable[[TellingQuery], Awaitable[Sequence[Telling] | str]]
    admin_token: Callable[[], str | None]
    read_token: Callable[[], str | None]
    page: PageView
