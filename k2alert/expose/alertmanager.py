"""Alertmanager's API v2, its shapes: alerts, alert groups and silences come in, JSON-able values go out, and back.

Every answer is one of Alertmanager's own OpenAPI document
(https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml); what is ours beside it is marked so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from k2alert.expose.view import Snapshot
from k2alert.labels import Matcher, make_matcher, matches_all, parse_matcher
from k2alert.model import Alert, AlertGroup, Hush, Silence, SilenceDraft, SilenceState
from k2alert.times import from_ms, iso, parse_instant, to_ms

__all__ = [
    "Filters",
    "alert_json",
    "draft_of",
    "group_json",
    "listed_silences",
    "silence_json",
    "silence_matches",
]

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MOST_MATCHERS = 100
_LONGEST_COMMENT = 1000
_LONGEST_AUTHOR = 255
_HEARD = Hush()
_ENDS_AFTER = 4  # intervals: as Prometheus does, an alert is good for four evaluations
_ORDER = (SilenceState.ACTIVE, SilenceState.PENDING, SilenceState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which alerts somebody asked for. `receiver` is a compiled pattern, or None for all."""

    matchers: tuple[Matcher, ...] = ()
    receiver: Matcher | None = None
    active: bool = True
    silenced: bool = True
    inhibited: bool = True
    muted: bool = True

    def hears(self, receiver: str) -> bool:
        """Whether it is about this receiver."""
        return self.receiver is None or self.receiver.matches_value(receiver)

    def takes(self, alert: Alert, hush: Hush) -> bool:
        """Whether it is about this alert."""
        return (
            (self.active or hush.is_suppressed)
            and (self.silenced or not hush.silenced_by)
            and (self.inhibited or not hush.inhibited_by)
            and matches_all(self.matchers, alert.labels)
        )


def alert_json(
    alert: Alert, receivers: Iterable[str], hush: Hush, snapshot: Snapshot, external_url: str = ""
) -> dict[str, Any]:
    """One alert that fires. Its rendered message is the annotation `message`."""
    started = alert.fired_at or snapshot.now
    return {
        "labels": dict(alert.labels),
        "annotations": {**snapshot.annotations.get(alert.key, {}), "message": snapshot.messages.get(alert.key, "")},
        "receivers": [{"name": name} for name in receivers],
        "fingerprint": alert.key,
        "startsAt": iso(started),
        "updatedAt": iso(snapshot.now),
        "endsAt": iso(snapshot.now + _ENDS_AFTER * snapshot.interval),
        "generatorURL": external_url,
        "status": {
            "state": "suppressed" if hush.is_suppressed else "active",
            "silencedBy": list(hush.silenced_by),
            "inhibitedBy": list(hush.inhibited_by),
            "mutedBy": list(hush.muted_by),
        },
    }


def group_json(group: AlertGroup, alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One alert group with those of its alerts that were asked for."""
    return {
        "labels": dict(group.labels),
        "routeLabels": {"route": group.route},
        "receiver": {"name": group.receiver},
        "alerts": list(alerts),
    }


def silence_json(silence: Silence, now: datetime) -> dict[str, Any]:
    """One silence. Ours: `untilResolved`."""
    return {
        "id": silence.id,
        "status": {"state": silence.state(now).value},
        "updatedAt": iso(silence.updated_at),
        "matchers": [_matcher_json(matcher) for matcher in silence.matchers],
        "startsAt": iso(silence.starts_at),
        "endsAt": iso(silence.ends_at),
        "createdBy": silence.author,
        "comment": silence.comment,
        "annotations": {},
        "untilResolved": bool(silence.until_resolved),
    }


def _matcher_json(matcher: Matcher) -> dict[str, Any]:
    return {
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matcher.op in ("=~", "!~"),
        "isEqual": matcher.op in ("=", "=~"),
    }


def silence_matches(silence: Silence, matchers: Iterable[Matcher]) -> bool:
    """Whether a silence is one of those asked for, as Alertmanager sees it: its own matchers stand in for labels."""
    return matches_all(matchers, {matcher.name: matcher.value for matcher in silence.matchers})


def listed_silences(silences: Iterable[Silence], now: datetime) -> list[Silence]:
    """In Alertmanager's order: active, the first to end first; pending, the first to begin; expired, the last."""

    def order(silence: Silence) -> tuple[int, int]:
        state = silence.state(now)
        ends, starts = to_ms(silence.ends_at), to_ms(silence.starts_at)
        at = {SilenceState.ACTIVE: ends, SilenceState.PENDING: starts, SilenceState.EXPIRED: -ends}[state]
        return (_ORDER.index(state), at)

    return sorted(silences, key=order)


# ------------------------------------------------------------------------------------------- reading


def draft_of(body: Any) -> SilenceDraft:
    """A silence as somebody posted it. Raises `ValueError` with a sentence for them."""
    if not isinstance(body, dict):
        raise ValueError("a silence must be a JSON object")
    matchers = body.get("matchers")
    if not isinstance(matchers, list) or len(matchers) > _MOST_MATCHERS:
        raise ValueError(f"matchers: must be a list of at most {_MOST_MATCHERS}")
    until_resolved = body.get("untilResolved", False)
    if not isinstance(until_resolved, bool):
        raise ValueError("untilResolved: must be true or false")
    return SilenceDraft(
        id=_text(body, "id", 64, ""),
        matchers=tuple(map(_matcher_of, matchers)),
        starts_at=_instant(body, "startsAt"),
        ends_at=_instant(body, "endsAt"),
        author=_text(body, "createdBy", _LONGEST_AUTHOR),
        comment=_text(body, "comment", _LONGEST_COMMENT),
        until_resolved=until_resolved,
    )


def _matcher_of(written: Any) -> Matcher:
    if not isinstance(written, dict):
        raise ValueError("matchers: each must be an object")
    name, value = written.get("name"), written.get("value")
    if not isinstance(name, str) or not _LABEL_NAME.fullmatch(name):
        raise ValueError("matchers: each needs the name of a label")
    if not isinstance(value, str):
        raise ValueError(f"matchers: the value of {name} must be text")
    regex, equal = written.get("isRegex", False), written.get("isEqual", True)
    if not isinstance(regex, bool) or not isinstance(equal, bool):
        raise ValueError("matchers: isRegex and isEqual must be true or false")
    made = make_matcher(name, ("=~" if equal else "!~") if regex else ("=" if equal else "!="), value)
    return parse_matcher(str(made))  # as the store will read it


def _text(body: Mapping[str, Any], key: str, longest: int, default: str | None = None) -> str:
    value = body.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{key}: must be text of at most {longest} characters")
    return value


def _instant(body: Mapping[str, Any], key: str) -> datetime:
    value = body.get(key)
    try:
        if isinstance(value, str):
            return from_ms(to_ms(parse_instant(value)))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{key}: must be a time such as 2026-01-31T08:00:00Z")
