"""Rules, the findings they come to, and the alerts that live by findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from k2alert.labels import Labels
from k2alert.model.measures import Selection, Window

__all__ = [
    "FAILING_ALERT",
    "NOWHERE",
    "STALE_ALERT",
    "Alert",
    "AlertState",
    "EndReason",
    "Finding",
    "NoDataPolicy",
    "Place",
    "Problem",
    "Rule",
    "Severity",
    "Transition",
    "Truth",
    "alert_key",
]

# ------------------------------------------------------------------------------------ rules, findings


class Severity(StrEnum):
    """How much an alert matters, the least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class NoDataPolicy(StrEnum):
    """What a firing alert does when its condition has no data (contract §2)."""

    KEEP = "keep"
    RESOLVE = "resolve"
    ALERT = "alert"


class Place(NamedTuple):
    """Where something stands in a file; line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


NOWHERE = Place("", 0, 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning about a file, with its place. `code` is short and stable; `warning` is not fatal."""

    place: Place
    text: str
    code: str = "config"
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {'warning: ' if self.warning else ''}{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert rule, checked and compiled. See contract §2 for what each key means.

    `condition` and `clear` are `judge.Condition`s, `message` and the annotations `template.Template`s.
    """

    name: str
    condition: Any
    window: Window
    period: str  # as written, for templates
    severity: Severity
    message: Any
    selection: Selection
    hold: timedelta = timedelta(0)  # the key `for`
    keep_firing_for: timedelta = timedelta(0)
    clear: Any = None
    min_samples: int = 1
    no_data: NoDataPolicy = NoDataPolicy.KEEP
    exclude_during: tuple[str, ...] = ()
    labels: Labels = field(default_factory=Labels)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    look_back: timedelta = timedelta(0)
    place: Place = NOWHERE


STALE_ALERT = "K2AlertSourceStale"
FAILING_ALERT = "K2AlertNotificationsFailing"
"""The names of the built-in rules, which no other may have: one for who is not read, one for who is not told."""


class Truth(StrEnum):
    """What judging one label set came to."""

    TRUE = "true"
    FALSE = "false"
    NO_DATA = "no_data"
    UNKNOWN = "unknown"  # not judged: its data is not complete, or the rule failed


class Finding(NamedTuple):
    """One rule judged for one label set at one time.

    `identity` is the alert's: `source` and the `by` labels. `value` and `threshold` are those of the condition's
    first metric and what it is compared with. `clears` is the truth of `clear` (None where the rule has none).
    `error` is the text of a bug met while judging, "" otherwise.
    """

    rule: Rule
    identity: Labels
    labels: Labels
    truth: Truth
    clears: Truth | None = None
    value: float | int | str | None = None
    threshold: float | int | None = None
    samples: int | None = None
    error: str = ""


# --------------------------------------------------------------------------------------------- alerts


class AlertState(StrEnum):
    """Where an alert is in its life. INACTIVE is kept too: it says that this label set has been judged."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why an alert ended; only RECOVERED is told as "resolved"."""

    RECOVERED = "recovered"
    NO_DATA = "no_data"
    RULE_CHANGED = "rule_changed"
    PROJECT_GONE = "project_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: a rule and a label set, through one life from pending to ended.

    Identity is `rule` and `identity`; everything else may change. `labels` are what routes and people see
    (alertname, severity, source, `by` labels, project_labels, rule's, global). `by` is its selection's shape: an
    identity alone cannot tell `by: [project]` from a further label that is empty. `initial`: it was already true
    when its label set was first judged. `quiet_since`: since when the condition of a firing alert is not true any
    more (`keep_firing_for` counts from it). `no_data_since`: since when a firing alert has had no data. `unknown`:
    held as it is, for its data is not complete.
    """

    rule: str
    identity: Labels
    labels: Labels
    severity: Severity
    state: AlertState
    by: tuple[str, ...] = ()
    active_at: datetime | None = None  # pending since
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    reason: EndReason | None = None
    value: float | int | str | None = None
    threshold: float | int | None = None
    samples: int | None = None
    initial: bool = False
    quiet_since: datetime | None = None
    no_data_since: datetime | None = None
    unknown: bool = False

    @property
    def key(self) -> str:
        """The fingerprint of its identity: stable over restarts and edits of the rule."""
        return alert_key(self.rule, self.identity)


@lru_cache(maxsize=100_000)  # asked for every alert in every round
def alert_key(rule: str, identity: Labels) -> str:
    """The key of the alert that a rule makes for an identity."""
    return identity.merged({"alertname": rule}).fingerprint


@dataclass(frozen=True, slots=True)
class Transition:
    """An edge in an alert's life, kept as history."""

    at: datetime
    rule: str
    identity: Labels
    before: AlertState
    after: AlertState
    reason: EndReason | None
    value: float | int | str | None
