"""The nouns of an explanation. Text of forges stands in them as it came: it is made safe where it is shown."""

from dataclasses import dataclass, field
from datetime import datetime

from k2alert.judge.clauses import Clause
from k2alert.judge.condition import Condition
from k2alert.model import Alert, AlertState, Evidence, EvidenceRefs, Finding, Rule, Telling
from k2alert.universe import Target

__all__ = ["Explanation", "Explanations", "Figure", "Hearing", "Reason"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is as it is: a short stable code for programs, and a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric or metric call of the condition, as written.

    `value` None is no data, and `missing` says why. `window` says over what, in words (`24h, 7d ago`); `refs` number
    the rows behind it, and `evidence` is what the store knows of those. `before` is its value before that, in words.
    """

    text: str
    metric: str
    window: str
    samples: int
    needed: int
    value: float | int | str | bool | None
    shown: str
    missing: Reason | None
    refs: EvidenceRefs | None = None
    evidence: Evidence = field(default_factory=Evidence)
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How one integration stands to the alert.

    `route` is "" where the alert is not routed there any more, but was told of; `integration` is "" for a receiver
    that says nothing. `due_at` is when the next message goes if nothing changes until then, and `due` why.
    """

    route: str
    receiver: str
    integration: str
    reason: Reason
    messages: int = 0
    last_at: datetime | None = None
    error: str = ""
    due_at: datetime | None = None
    due: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One rule and one label set at one time.

    `clause` is the condition taken apart, `clear` likewise where the rule has one and the alert fires. `reason` says
    why it is in its state, `quiet` what keeps it from being heard on whatever route. `told` is what was sent to whom
    since the alert began, the newest first; None where nobody looked. `message` is what the rule says, or would say if
    it fired.
    """

    at: datetime
    rule: Rule
    target: Target
    finding: Finding
    alert: Alert | None
    clause: Clause
    clear: Clause | None
    figures: tuple[Figure, ...]
    reason: Reason
    quiet: tuple[Reason, ...]
    hearings: tuple[Hearing, ...]
    told: tuple[Telling, ...] | None = None
    message: str = ""

    @property
    def state(self) -> AlertState | None:
        """The alert's state; None where the label set has never been judged."""
        return self.alert.state if self.alert is not None else None

    @property
    def since(self) -> datetime | None:
        """Since when it has been in its state, where that is known."""
        alert = self.alert
        if alert is None:
            return None
        times = {
            AlertState.PENDING: alert.active_at,
            AlertState.FIRING: alert.fired_at,
            AlertState.ENDED: alert.ended_at,
        }
        return times.get(alert.state)

    @property
    def evidence(self) -> Evidence:
        """What the rule's messages show: the facts behind the value that they show."""
        condition: Condition = self.rule.condition
        first = condition.first
        shown = (figure.evidence for figure in self.figures if first is not None and figure.metric == first.metric)
        return next(shown, Evidence())


@dataclass(frozen=True, slots=True)
class Explanations:
    """The answer to a question: the label sets that matter most, and how many more there are."""

    found: tuple[Explanation, ...]
    more: int = 0
