"""A message that was tried, as the history keeps it."""

from datetime import datetime, timedelta

from k2alert.labels import Labels
from k2alert.model import Alert, Delivery, Refused, Retry, Telling, TellingOutcome, ToldAlert
from k2alert.notify.dues import Due
from k2alert.notify.text import cut

__all__ = ["telling_of"]

MOST_ALERTS = 20
_LONGEST_VALUE = 200
_LONGEST_ERROR = 500


def telling_of(due: Due, delivery: Delivery, *, gave_up: bool, took: timedelta, now: datetime) -> Telling:
    """What the history says of a message; `gave_up`: it will not be tried again."""
    alerts = {alert.key: alert for part in due.parts for alert in part.alerts}
    failed = isinstance(delivery, Retry | Refused)
    return Telling(
        at=now,
        receiver=due.receiver,
        integration=due.integration.name,
        kind=due.kind.value,
        incident=due.thread,
        alerts=tuple(_told(alert) for alert in list(alerts.values())[:MOST_ALERTS]),
        total=len(alerts),
        outcome=_outcome(failed, gave_up),
        reason=delivery.reason if isinstance(delivery, Retry | Refused) else "",
        error=cut(delivery.error, _LONGEST_ERROR),
        took=took,
    )


def _outcome(failed: bool, gave_up: bool) -> TellingOutcome:
    if not failed:
        return TellingOutcome.SENT
    return TellingOutcome.GIVEN_UP if gave_up else TellingOutcome.RETRY


def _told(alert: Alert) -> ToldAlert:
    identity = Labels({name: cut(value, _LONGEST_VALUE) for name, value in alert.identity.items()})
    return ToldAlert(key=alert.key, rule=alert.rule, identity=identity)
