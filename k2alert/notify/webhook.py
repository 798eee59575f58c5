"""A webhook in Alertmanager's format, version "4": for the many programs that read it.

A `Message` comes in, a `Delivery` goes out. Each change of an incident is one POST of the whole alert group as it
stands. The format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import Field, SecretStr

from k2alert.loops import beside
from k2alert.model import Alert, Delivery, Sent
from k2alert.notify.alert_json import annotations_of, generator_url, instant, starts_at
from k2alert.notify.message import Message
from k2alert.notify.pace import Wire
from k2alert.notify.posting import PostSettings, as_file, post_json

# ------------------------------------------------------------------------------------------ settings


class Settings(PostSettings):
    """`webhook:` of a receiver (contract §1). The URL may hold a password, so it is never shown."""

    url: SecretStr = Field(description="Where to post; may hold a user and a password.")


# ------------------------------------------------------------------------------------------ build

SHOWS = 500
"""So many alerts go with their annotations; what a message is about beyond them goes with its labels only."""

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: how Alertmanager writes the end of what has not ended


def build(message: Message) -> dict[str, Any]:
    """The payload. Only "firing" and "resolved" exist there: why an alert ended is its annotation `reason`."""
    annotations = {item.alert.key: annotations_of(item) for item in message.items}
    alerts = (*(item.alert for item in message.items), *message.unshown)
    return {
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": 0,
        "status": "firing" if message.firing else "resolved",
        "receiver": message.receiver,
        "groupLabels": dict(message.group_labels),
        "commonLabels": _common(alert.labels for alert in alerts),
        "commonAnnotations": _common(annotations.get(alert.key, {}) for alert in alerts),
        "externalURL": message.external_url,
        "alerts": [_alert(alert, annotations.get(alert.key, {}), message) for alert in alerts],
    }


def _alert(alert: Alert, annotations: Mapping[str, str], message: Message) -> dict[str, Any]:
    fires = message.states[alert.key] == "firing"
    return {
        "status": "firing" if fires else "resolved",
        "labels": dict(alert.labels),
        "annotations": dict(annotations),
        "startsAt": starts_at(alert),
        "endsAt": _NEVER if fires else instant(alert.ended_at or message.now),
        "generatorURL": generator_url(alert, message.external_url),
        "fingerprint": alert.key,
    }


def _common(all_pairs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The pairs that all have."""
    common: dict[str, str] | None = None
    for pairs in all_pairs:
        common = (
            dict(pairs) if common is None else {key: text for key, text in common.items() if pairs.get(key) == text}
        )
    return common or {}


def files(settings: Settings, message: Message, render: Callable[[str], str]) -> dict[str, bytes]:
    """What is posted, as a file."""
    return as_file(build(message))


# ------------------------------------------------------------------------------------------ send

_TAKEN = "webhook"


async def send(
    settings: Settings,
    message: Message,
    *,
    wire: Wire,
    render: Callable[[str], str],
) -> Delivery:
    """Posts the message."""
    delivery = await post_json(
        settings.url.get_secret_value(),
        await beside(message.total, lambda: build(message)),
        who="the webhook",
        ca_file=settings.ca_file,
        session=wire.session,
        now=message.now,
        within=wire.within,
    )
    return Sent({_TAKEN: message.mark}) if isinstance(delivery, Sent) else delivery
