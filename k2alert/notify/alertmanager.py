"""Alertmanagers: the alerts of a receiver, pushed to each of them (API v2, `POST /api/v2/alerts`).

A `Message` with all present alerts comes in, a `Delivery` goes out. They are pushed again and again: an Alertmanager
takes an alert for resolved when it hears no more of it. What is sent is what Prometheus sends:
https://prometheus.io/docs/alerting/latest/alerts_api/
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from k2alert.loops import beside
from k2alert.model import Alert, Delivery, Refused, Retry, Sent
from k2alert.notify import joint
from k2alert.notify.alert_json import annotations_of, generator_url, instant, starts_at
from k2alert.notify.message import Message
from k2alert.notify.pace import Wire
from k2alert.notify.posting import PostSettings, as_file, post_json
from k2alert.notify.push import PUSH_EVERY

# ------------------------------------------------------------------------------------------ settings


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


class Settings(PostSettings):
    """`alertmanager:` of a receiver (contract §1). A URL may hold a password, so none is ever shown."""

    url: Annotated[tuple[SecretStr, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = Field(
        description="One or a list of Alertmanagers; may hold a user and a password."
    )


# ------------------------------------------------------------------------------------------ build

SHOWS = 500
"""So many alerts are pushed with their annotations, the others with their labels only."""

_HOLDS_FOR = 4 * PUSH_EVERY
"""An alert that is pushed no more ends by itself after so long; Prometheus waits for four pushes too."""


def build(message: Message) -> list[dict[str, Any]]:
    """The alerts as the API takes them."""
    shown = [_alert(item.alert, annotations_of(item), message) for item in message.items]
    return shown + [_alert(alert, {}, message) for alert in message.unshown]


def _alert(alert: Alert, annotations: Mapping[str, str], message: Message) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": dict(annotations),
        "startsAt": starts_at(alert),
        "endsAt": instant(_ends_at(alert, message)),
        "generatorURL": generator_url(alert, message.external_url),
    }


def _ends_at(alert: Alert, message: Message) -> datetime:
    """When it ended, or, while it fires, when it is to end where no further push comes."""
    if message.states[alert.key] == "firing":
        return message.now + _HOLDS_FOR
    return alert.ended_at or message.now


def files(settings: Settings, message: Message, render: Callable[[str], str]) -> dict[str, bytes]:
    """What is posted, as a file."""
    return as_file(build(message))


# ------------------------------------------------------------------------------------------ send


async def send(
    settings: Settings,
    message: Message,
    *,
    wire: Wire,
    render: Callable[[str], str],
) -> Delivery:
    """Pushes the alerts to every Alertmanager at once."""
    body = await beside(message.total, lambda: build(message))

    async def push(number: int, url: str) -> Delivery:
        who = "the Alertmanager" if len(settings.url) == 1 else f"Alertmanager {number}"
        return await post_json(
            f"{url.rstrip('/')}/api/v2/alerts",
            body,
            who=who,
            ca_file=settings.ca_file,
            session=wire.session,
            now=message.now,
            within=wire.within,
        )

    pushed = await asyncio.gather(*(push(n, url.get_secret_value()) for n, url in enumerate(settings.url, start=1)))
    return _all(pushed)


def _all(pushed: list[Delivery]) -> Delivery:
    """One that refuses is an error even where the others took it: each is there to stand in for another."""
    joined = joint.join({str(number): one for number, one in enumerate(pushed)})
    if isinstance(joined, Sent) and joined.error:
        return next(one for one in pushed if isinstance(one, Refused))
    return Retry(joined.error, joined.after, joined.reason) if isinstance(joined, Retry) else joined
