"""`/api/v1/notifications`: what was sent to whom. A question comes in as query parameters, JSON-able values go out."""

from collections.abc import Mapping, Sequence
from typing import Any

from k2alert.model import Telling, TellingQuery
from k2alert.times import iso

__all__ = ["MOST_NOTIFICATIONS", "notifications_json", "read_query"]

MOST_NOTIFICATIONS = 1000
_NAMES = ("limit", "before", "receiver", "incident", "alert")


def read_query(parameters: Mapping[str, str]) -> TellingQuery:
    """The question; raises `ValueError` with what is wrong with it."""
    for name in parameters:
        if name not in _NAMES:
            raise ValueError(f"not a parameter: {name!r}; there are {', '.join(_NAMES)}")
    before = _number(parameters, "before", 2**62)
    return TellingQuery(
        limit=_number(parameters, "limit", MOST_NOTIFICATIONS) or 100,
        before=before,
        receiver=parameters.get("receiver", ""),
        incident=parameters.get("incident", ""),
        alert=parameters.get("alert", ""),
    )


def _number(parameters: Mapping[str, str], name: str, most: int) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:20]) <= most:
        raise ValueError(f"not a number from 1 to {most}: {name} {text[:40]!r}")
    return int(text)


def notifications_json(tellings: Sequence[Telling], query: TellingQuery) -> dict[str, Any]:
    """The newest first; `next` is the `before` of the following page, null on the last."""
    return {
        "notifications": [_notification(told) for told in tellings],
        "next": tellings[-1].id if len(tellings) == query.limit else None,
    }


def _notification(told: Telling) -> dict[str, Any]:
    return {
        "id": told.id,
        "at": iso(told.at),
        "receiver": told.receiver,
        "integration": told.integration,
        "kind": told.kind,
        "incident": told.incident,
        "alerts": [{"fingerprint": one.key, "labels": {"alertname": one.rule, **one.identity}} for one in told.alerts],
        "total": told.total,
        "outcome": told.outcome.value,
        "reason": told.reason,
        "error": told.error,
        "seconds": told.took.total_seconds(),
    }
