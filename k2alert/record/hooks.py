"""Webhooks on their way to become facts, as rows.

In: an open transaction and events, or what is asked of them. Out: events. A body is JSON text; nothing else of what a
forge sent is kept.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from k2alert.model import HookEvent
from k2alert.record.connection import Connection
from k2alert.record.rows import clean
from k2alert.record.statements import QUERIES
from k2alert.times import from_ms, to_ms

__all__ = ["accept_hooks", "drop_old_hooks", "end_hooks", "hooks_of_runs", "waiting_hooks"]

RunId = tuple[str, str, str]
"""A run by source, and the forge's ids of its project and itself."""


def accept_hooks(con: Connection, events: Sequence[HookEvent]) -> list[bool]:
    """Keeps the events; for each whether it is new."""
    return [con.execute(QUERIES["add_hook"], _row(event)).fetchone() is not None for event in events]


def waiting_hooks(con: Connection, limit: int) -> list[HookEvent]:
    """The oldest events that no facts were made of yet."""
    return [_event(row) for row in con.execute(QUERIES["waiting_hooks"], (limit,))]


def hooks_of_runs(con: Connection, runs: Sequence[RunId]) -> dict[RunId, list[HookEvent]]:
    """All events of each run that are kept."""
    return {run: [_event(row) for row in con.execute(QUERIES["hooks_of_run"], run)] for run in runs}


def end_hooks(con: Connection, ids: Iterable[int], keep: bool) -> None:
    """Facts were made of the events; `keep` their bodies for others of the same run."""
    con.executemany(QUERIES["end_hook" if keep else "empty_hook"], [(number,) for number in ids])


def drop_old_hooks(con: Connection, before_ms: int) -> None:
    """Forgets what was received before a time, ids and all."""
    con.execute(QUERIES["drop_old_hooks"], (before_ms,))


def _row(event: HookEvent) -> tuple[Any, ...]:
    body = json.dumps(event.body, separators=(",", ":"))  # ASCII: no text of a forge's can be unstorable
    return (event.source, clean(event.delivery), event.project, event.run, to_ms(event.received_at), body)


def _event(row: Sequence[Any]) -> HookEvent:
    number, source, delivery, project, run, received, body = row
    return HookEvent(
        id=number,
        source=source,
        delivery=delivery,
        project=project,
        run=run,
        received_at=from_ms(received),
        body=json.loads(body),
    )
