"""What is said, before any vendor's markup.

A `Due` and the rendered alerts come in; a `Message` goes out, and from it lines of spans that every integration
turns into its own markup. Spans hold plain text that others may have written: whoever shows one cleans and
escapes it there, in one place for each integration.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from k2alert.labels import Labels
from k2alert.model import FAILING_ALERT, Alert, AlertState, EndReason, Evidence, Severity
from k2alert.notify.chart import Chart
from k2alert.notify.dues import Due, Kind
from k2alert.notify.standing import fired_at, recovered
from k2alert.times import human_duration

__all__ = [
    "LIST_LINES",
    "Item",
    "Line",
    "Message",
    "Span",
    "before",
    "compose",
    "facts",
    "heading",
    "headline",
    "list_line",
    "news_lines",
    "rule_counts",
    "shown",
    "stem",
    "subject",
    "summary",
]

LIST_LINES = 30
"""A list names so many alerts, then "and N more"."""

ITEMS = 10
"""A message about one incident shows so many alerts whole, then "and N more"."""

_CLOSED_FOR: Mapping[EndReason | None, str] = {
    EndReason.NO_DATA: "no new runs",
    EndReason.RULE_CHANGED: "the rule has changed",
    EndReason.PROJECT_GONE: "the project is not watched any more",
}
_SEVERITIES = tuple(Severity)
_RULES = 5  # a list that leaves alerts out counts those of so many rules


class Span(NamedTuple):
    """A piece of a line: plain text, linked where there is a URL."""

    text: str
    url: str = ""


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One alert as a message shows it.

    `text` is the rule's message rendered with this integration's escape, `html` the same rendered for HTML (mail
    only); both are shown as they are. `value_text` is the value with its unit ("92.3%"), `threshold_text` what it
    is compared with ("< 95%"), `noun` what the evidence counts. `before_text` is the value in the window
    before, of which `before_span` is the length ("97.4%", "24h"). `owner` is who is to look after it, as the
    configuration says. `chart` has the values that led here, where the integration shows them. `annotations` are
    rendered with `text.clean`, for they are escaped where they are shown.
    """

    alert: Alert
    text: str = ""
    html: str = ""
    value_text: str = ""
    threshold_text: str = ""
    noun: str = "runs"
    before_text: str = ""
    before_span: str = ""
    owner: str = ""
    chart: Chart | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one integration.

    `thread` is common to all messages of an incident (or a list), `mark` to all tries of this one; `handle` is
    what earlier messages left, address by address. `states` says firing, resolved or closed of each alert's key;
    `firing`, `resolved` and `closed` count all alerts, of which `items` shows some and `more` counts the rest; `news`
    are the keys of those whose state is told for the first time. `unshown` are the alerts that `items` leaves out.
    `group_key` is that of the alert group, or the list's own.
    """

    kind: Kind
    receiver: str
    group_labels: Labels
    thread: str
    mark: str
    handle: Mapping[str, str]
    states: Mapping[str, str]
    items: tuple[Item, ...]
    news: frozenset[str]
    firing: int
    resolved: int
    closed: int
    now: datetime
    external_url: str = ""
    group_key: str = ""
    unshown: tuple[Alert, ...] = ()

    @property
    def total(self) -> int:
        """How many alerts it is about."""
        return self.firing + self.resolved + self.closed

    @property
    def more(self) -> int:
        """How many alerts it is about but does not show."""
        return self.total - len(self.items)

    @property
    def is_list(self) -> bool:
        """Whether each alert has but a line: a list of incidents, or a digest."""
        return self.kind in (Kind.LIST, Kind.DIGEST)

    @property
    def alone(self) -> Item | None:
        """The one alert that it is about, where it is about one and shows it whole."""
        return self.items[0] if self.total == 1 and self.items and not self.is_list else None

    @property
    def is_over(self) -> bool:
        """Whether nothing fires any more."""
        return not self.firing

    @property
    def severity(self) -> Severity:
        """The worst severity of what is shown."""
        return max((item.alert.severity for item in self.items), key=_SEVERITIES.index, default=Severity.INFO)


# ---------------------------------------------------------------------------------------- composing


def shown(due: Due, most: int | None = None) -> tuple[Alert, ...]:
    """The alerts that the message will show: those to render and to look up the evidence for.

    At most `most`; None: as many as people can read.
    """
    states = _states(due)
    ranked = sorted(_alerts(due), key=lambda alert: _rank(alert, states))
    return tuple(ranked[: most or (LIST_LINES if due.kind in (Kind.LIST, Kind.DIGEST) else ITEMS)])


def compose(due: Due, items: Iterable[Item], *, now: datetime, external_url: str = "") -> Message:
    """The message of a Due; `items` are those of `shown(due)`, in any order."""
    states = _states(due)
    words = list(states.values())
    ranked = tuple(sorted(items, key=lambda item: _rank(item.alert, states)))
    here = {item.alert.key for item in ranked}
    return Message(
        kind=due.kind,
        receiver=due.receiver,
        group_labels=due.parts[0].entry.group_labels if due.kind is not Kind.LIST else Labels(),
        thread=due.thread,
        mark=due.mark,
        handle=due.handle,
        states=states,
        items=ranked,
        news=frozenset(alert.key for part in due.parts for alert in part.news),
        firing=words.count("firing"),
        resolved=words.count("resolved"),
        closed=words.count("closed"),
        now=now,
        external_url=external_url,
        group_key=due.list_id or due.parts[0].entry.group,
        unshown=tuple(alert for alert in _alerts(due) if alert.key not in here),
    )


def _alerts(due: Due) -> tuple[Alert, ...]:
    return (*(alert for part in due.parts for alert in part.alerts), *due.rest)


def _states(due: Due) -> dict[str, str]:
    """What the message says of each alert: what the log will say, not what is not known for sure."""
    told = {key: state for part in due.parts for key, state in part.told.items()}
    return {alert.key: _state(alert, told.get(alert.key, alert.state)) for alert in _alerts(due)}


def _state(alert: Alert, told: AlertState) -> str:
    if told is AlertState.FIRING:
        return "firing"
    return "resolved" if recovered(alert) else "closed"


def _rank(alert: Alert, states: Mapping[str, str]) -> tuple[bool, int, datetime, str, str]:
    """What fires first, then what is worse, then what is older, then by name."""
    fires = states[alert.key] == "firing"
    return (not fires, -_SEVERITIES.index(alert.severity), fired_at(alert), alert.rule, subject(alert))


# --------------------------------------------------------------------------------------- the words


def heading(message: Message) -> str:
    """The state in Alertmanager's form: `FIRING:2`, `RESOLVED`, `CLOSED`; `DIGEST` of what is of several."""
    if message.kind is Kind.DIGEST:
        return "DIGEST"
    if message.firing:
        return f"FIRING:{message.firing}"
    return "RESOLVED" if message.resolved and not message.closed else "CLOSED"


def stem(message: Message) -> str:
    """What the message is about, the same for all messages of a thread."""
    labels = message.group_labels
    named = [labels[name] for name in ("alertname", "project") if name in labels]
    others = [f"{name}={value}" for name, value in labels.items() if name not in ("alertname", "project", "source")]
    return " ".join([*named, *others]) or f"alerts for {message.receiver}"


def summary(message: Message) -> Line:
    """One line for a phone: state and subject, and the facts where it is about one alert."""
    if message.alone is not None:
        return headline(message.alone, message)
    counts = (("firing", message.firing), ("resolved", message.resolved), ("closed", message.closed))
    return (Span(stem(message)), Span(": " + ", ".join(f"{count:,} {word}" for word, count in counts if count)))


def headline(item: Item, message: Message) -> Line:
    """One alert in one line: rule, subject, value against threshold, how many of how many, since when."""
    alert = item.alert
    known = [*_facts(item), _since(alert, message)]
    about = subject(alert)
    return (Span(f"{alert.rule} · {about}" if about else alert.rule), Span(": " + ", ".join(known)))


def list_line(item: Item, message: Message) -> Line:
    """One alert of a list: its headline and a link to the newest run that did it."""
    run = next(iter(item.evidence.runs), None)
    link = (Span(" "), Span(f"#{run.number or run.id}", run.web_url)) if run is not None and run.web_url else ()
    return (*headline(item, message), *link)


def rule_counts(message: Message) -> str:
    """How many of each rule fire, where a list leaves some out: `main_is_red 9,200 · slow 800`; "" elsewhere."""
    if not message.unshown:
        return ""
    alerts = (*(item.alert for item in message.items), *message.unshown)
    counts = Counter(alert.rule for alert in alerts if message.states[alert.key] == "firing")
    named = [f"{rule} {count:,}" for rule, count in counts.most_common(_RULES)]
    return " · ".join([*named, *([f"and {len(counts) - _RULES} more rules"] if len(counts) > _RULES else [])])


def subject(alert: Alert) -> str:
    """The project, and what else tells the alert from others of its rule."""
    others = [
        f"{name}={value}" for name, value in alert.identity.items() if name not in ("project", "source", "alertname")
    ]
    named = [alert.identity["project"]] if "project" in alert.identity else []
    return " ".join([*named, *others]) or alert.identity.get("source", "")


def _facts(item: Item) -> Iterator[str]:
    if item.alert.no_data_since is not None:
        yield "no new runs"
    elif item.value_text:
        was = f" (was {item.before_text} the {item.before_span} before)" if item.before_text else ""
        yield f"{item.value_text} {item.threshold_text}".strip() + was
    if item.evidence.samples:
        yield f"{item.evidence.faults} of {item.evidence.samples} {item.noun}"


def facts(item: Item, message: Message) -> tuple[tuple[str, str], ...]:
    """What is known of one alert, by name: for integrations that show it as a table. Texts are plain."""
    alert = item.alert
    found = (
        ("Value", "no new runs" if alert.no_data_since else f"{item.value_text} {item.threshold_text}".strip()),
        (item.noun.capitalize(), f"{item.evidence.faults} of {item.evidence.samples}" if item.evidence.samples else ""),
        ("Before", before(item)),
        ("Lasted" if message.states[alert.key] != "firing" else "Since", _since(alert, message).removeprefix("since ")),
        ("Owner", item.owner),
    )
    return tuple((name, text) for name, text in found if text)


def before(item: Item) -> str:
    """The value in the window before: `97.4% (the 24h before)`; "" where there was none."""
    return f"{item.before_text} (the {item.before_span} before)" if item.before_text else ""


def _since(alert: Alert, message: Message) -> str:
    since = alert.active_at or fired_at(alert)
    until = alert.ended_at if message.states[alert.key] != "firing" else None
    if until is not None:
        lasted = f"from {_instant(since)} to {_instant(until)} ({human_duration(until - since)})"
        return lasted if recovered(alert) else f"{_closed_for(alert)}, {lasted}"
    return f"since {_instant(since)} ({human_duration(message.now - since)})"


def _closed_for(alert: Alert) -> str:
    if alert.rule == FAILING_ALERT and alert.reason is EndReason.PROJECT_GONE:
        return "the receiver is not told any more"
    return _CLOSED_FOR.get(alert.reason, "")


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def news_lines(message: Message) -> tuple[tuple[str, Line], ...]:
    """What changed, alert by alert: (state, headline). All alerts where nothing did."""
    changed = [item for item in message.items if item.alert.key in message.news]
    return tuple((message.states[item.alert.key], headline(item, message)) for item in changed or message.items)
