"""An alert as Alertmanager writes one in JSON: for its webhook's format, and for its API.

Labels are an alert's identity to machines, so they go as they are, text of a forge too; annotations are for people.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from k2alert import links
from k2alert.model import Alert
from k2alert.notify.message import Item, before
from k2alert.notify.plain import plain_details
from k2alert.notify.standing import fired_at

__all__ = ["annotations_of", "generator_url", "instant", "starts_at"]


def annotations_of(item: Item) -> dict[str, str]:
    """The rule's annotations, its message as `message`, and what k2alert knows, each under its name."""
    alert = item.alert
    ours = {
        "message": item.text.strip(),
        "value": f"{item.value_text} {item.threshold_text}".strip(),
        "before": before(item),
        "owner": item.owner,
        "evidence": plain_details(item),
        "reason": alert.reason.value if alert.reason is not None and alert.ended_at is not None else "",
    }
    merged: Mapping[str, str] = {**ours, **item.annotations}
    return {name: text for name, text in sorted(merged.items()) if text}


def generator_url(alert: Alert, external_url: str) -> str:
    """The page about the alert; "" where nobody said how k2alert is reached."""
    return links.alert_url(external_url, alert.key) if external_url else ""


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond, as Alertmanager writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def starts_at(alert: Alert) -> str:
    """When it began to fire."""
    return instant(fired_at(alert))
