"""The built-in alert that says whom messages do not reach, told by whoever they do reach.

The notification log comes in, and how pushes go; findings go out: one for each integration, true while it does not take
what it should. `notify/standing.py` sees to it that who does not hear is not the one to be told of that.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from k2alert.config.model import Config
from k2alert.labels import Labels
from k2alert.model import FAILING_ALERT, Finding, LogEntry, Rule, Selection, Severity, Truth, Window
from k2alert.notify.push import PushState
from k2alert.notify.retrying import LATE
from k2alert.notify.route import integrations_of
from k2alert.notify.unreached import Fate, Who, identity_of, unreached
from k2alert.template import compile_template
from k2alert.times import iso

__all__ = ["undelivered_findings", "undelivered_words"]

_TEXT = (
    "{% if value %}Receiver {{ labels.receiver }} does not get what it should by {{ labels.integration }}. "
    "{{ evidence }}"
    "{% else %}Nothing for receiver {{ labels.receiver }} is held up at {{ labels.integration }} any more."
    "{% endif %}"
)
_RULE = Rule(
    name=FAILING_ALERT,
    condition=None,
    window=Window(timedelta(0)),
    period="0s",
    severity=Severity.WARNING,
    message=compile_template(_TEXT, names=("value", "labels", "evidence"), functions=()),
    selection=Selection((), ("receiver", "integration")),
)
_FATES = {
    Fate.GIVEN_UP: "The last message of {} was given up: {}.",
    Fate.PARTLY: "Some addresses refused the last message of {}: {}.",
    Fate.LATE: "The last message of {} has failed for a while, and is tried again: {}.",
}


def undelivered_findings(
    config: Config, log: Sequence[LogEntry], pushed: Mapping[Who, PushState | None], *, now: datetime
) -> Iterator[Finding]:
    """One finding for each integration; the value is of how many incidents it did not take the last message.

    `pushed` is of those that are pushed to: None where nobody knows yet. Their value is 1.
    """
    found = unreached(log, config.receivers)
    for who in integrations_of(config.receivers):
        state = pushed.get(who, PushState())
        late = state is not None and _is_late(state, now)
        incidents = found[who].incidents if who in found else int(late)
        truth = Truth.UNKNOWN if state is None else Truth.TRUE if incidents else Truth.FALSE
        identity = identity_of(who)
        own = {"alertname": FAILING_ALERT, "severity": _RULE.severity.value}
        labels: Labels = config.labels.merged(identity).merged(own)
        yield Finding(rule=_RULE, identity=identity, labels=labels, truth=truth, value=incidents, threshold=0)


def undelivered_words(config: Config, log: Sequence[LogEntry], pushed: Mapping[Who, PushState | None], who: Who) -> str:
    """What an integration does not take and why, as it said so itself; no secret is in it. "" where it takes all."""
    state = pushed.get(who)
    if state is not None and state.failing_since is not None:
        return f"Alerts cannot be pushed since {iso(state.failing_since)}: {state.error}."
    found = unreached(log, config.receivers).get(who)
    if found is None:
        return ""
    incidents = f"{found.incidents} incident{'' if found.incidents == 1 else 's'}"
    return _FATES[found.fate].format(incidents, found.error)


def _is_late(state: PushState, now: datetime) -> bool:
    return state.failing_since is not None and now - state.failing_since >= LATE
