"""The built-in alert that says whom messages do not reach, told by whoever they do reach.

The notification log comes in, findings go out: one for each integration, true from a message that was given up, or
refused by some of its addresses, until the integration takes one again. `notify/standing.py` sees to it that who does
not hear is not the one to be told of that.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from k2alert.labels import Labels
from k2alert.model import FAILING_ALERT, Finding, LogEntry, Rule, Selection, Severity, Truth, Window
from k2alert.notify.route import Receiver, integrations_of
from k2alert.notify.unreached import Who, identity_of, unreached
from k2alert.template import compile_template

__all__ = ["undelivered_findings", "undelivered_words"]

_TEXT = (
    "{% if value %}The last message of {{ value }} incident(s) did not reach receiver {{ labels.receiver }} by "
    "{{ labels.integration }}, and is not tried again: {{ evidence }}."
    "{% else %}No message to receiver {{ labels.receiver }} by {{ labels.integration }} is given up any more."
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


def undelivered_findings(
    log: Sequence[LogEntry], receivers: Mapping[str, Receiver], labels: Labels
) -> Iterator[Finding]:
    """One finding for each integration that is told of incidents; the value is of how many it did not hear the last.

    `labels` are those of every alert.
    """
    found = unreached(log, receivers)
    for who, integration in integrations_of(receivers).items():
        if not integration.pushes:
            incidents = found[who].incidents if who in found else 0
            identity = identity_of(who)
            yield Finding(
                rule=_RULE,
                identity=identity,
                labels=labels.merged(identity).merged({"alertname": FAILING_ALERT, "severity": _RULE.severity.value}),
                truth=Truth.TRUE if incidents else Truth.FALSE,
                value=incidents,
                threshold=0,
            )


def undelivered_words(log: Sequence[LogEntry], receivers: Mapping[str, Receiver], who: Who) -> str:
    """Why the integration did not take its last message, as it said so itself; no secret is in it."""
    found = unreached(log, receivers).get(who)
    if found is None:
        return ""
    return f"some of its addresses refused it: {found.error}" if found.partly else found.error
