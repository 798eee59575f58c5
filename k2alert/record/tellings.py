"""The history of what was sent to whom: rows of `tellings` to values of `model` and back. Pure."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from k2alert.labels import Labels
from k2alert.model import Telling, TellingOutcome, TellingQuery, ToldAlert
from k2alert.record.rows import storable
from k2alert.times import from_ms, to_ms

__all__ = ["query_row", "telling_of", "telling_row"]

Row = Sequence[Any]

_EVERY = 2**62  # beyond every id


def telling_row(told: Telling) -> Row:
    """For `add_telling`."""
    alerts = [{"key": one.key, "rule": one.rule, "identity": dict(one.identity)} for one in told.alerts]
    return (
        to_ms(told.at),
        told.receiver,
        told.integration,
        told.kind,
        told.incident,
        json.dumps(alerts, separators=(",", ":")),
        told.total,
        told.outcome.value,
        storable(told.reason),
        storable(told.error),
        told.took // timedelta(milliseconds=1),
    )


def telling_of(row: Row) -> Telling:
    """From `last_tellings`."""
    number, at, receiver, integration, kind, incident, alerts, total, outcome, reason, error, took = row
    return Telling(
        id=number,
        at=from_ms(at),
        receiver=receiver,
        integration=integration,
        kind=kind,
        incident=incident,
        alerts=tuple(
            ToldAlert(key=one["key"], rule=one["rule"], identity=Labels(one["identity"])) for one in json.loads(alerts)
        ),
        total=total,
        outcome=TellingOutcome(outcome),
        reason=reason,
        error=error,
        took=timedelta(milliseconds=took),
    )


def query_row(query: TellingQuery) -> Row:
    """The arguments of `last_tellings`."""
    before = query.before if query.before is not None else _EVERY
    return (min(before, _EVERY), *(2 * [query.receiver]), *(2 * [query.incident]), *(2 * [query.alert]), query.limit)
