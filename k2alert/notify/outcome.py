"""What the log says before and after a delivery, and what no longer needs saying.

A `Due`, and then how its delivery went, come in, log entries go out; `settled` and `finished` say which incidents close
without a word and which ended alerts may be forgotten. Everything is computed from what is stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from k2alert.model import Alert, AlertState, Delivery, LogEntry, Refused, Retry, Sent
from k2alert.notify.dues import CLOSING, ENDS, LIST_KEY, PARTLY_KEY, TRIED_KEY, Due, Part, Told
from k2alert.notify.retrying import GIVE_UP_AFTER, backoff, failing_for
from k2alert.notify.route import Receiver, Route, integrations_of
from k2alert.notify.standing import Standing, standing_up
from k2alert.notify.unreached import MENDED_KEY, heard
from k2alert.pauses import Pausing, at_once

__all__ = ["finished", "in_flight", "record_outcome", "record_try", "settled", "settling"]

SHORTEST_WAIT = timedelta(seconds=1)
_SAID = frozenset(
    {TRIED_KEY, PARTLY_KEY, LIST_KEY, MENDED_KEY}
)  # keys in a handle that the next message makes out of date


def record_try(due: Due, *, now: datetime) -> tuple[LogEntry, ...]:
    """The log entries while nobody knows yet how the delivery goes: somebody may have taken it, others have not.

    Stored before the delivery, and replaced by its outcome. Whoever finds them, after a crash, says it again; and who
    may have heard of the beginning hears of the end.
    """
    tried = {TRIED_KEY: due.mark}  # once: it is computed from all parts, and a storm has thousands
    return tuple(
        replace(
            part.entry,
            told=part.told,
            first_sent_at=part.entry.first_sent_at or now,
            last_sent_at=now,
            handle=_merged(part.entry, tried, due.list_id),
            retry_at=now,
        )
        for part in due.parts
    )


def in_flight(due: Due) -> bool:
    """Whether it was being delivered when the process that tried died."""
    return any(TRIED_KEY in part.entry.handle for part in due.parts)


def record_outcome(due: Due, delivery: Delivery, *, now: datetime, chance: float = 1.0) -> tuple[LogEntry, ...]:
    """The log entries of everything the message was about, after it was delivered or not; `chance` as in `backoff`.

    A message that is refused, or that failed for a day, is final: it counts as said, though nobody heard it. What
    comes after it (a change, a repeat, the end if anyone heard the beginning) is tried again. One that may have been
    taken stays as tried: it is said again, and its end is told even where that comes first.
    """
    tried = {TRIED_KEY: due.mark}
    return tuple(_after(part, due.list_id, delivery, tried, now, chance) for part in due.parts)


def _after(
    part: Part, list_id: str, delivery: Delivery, tried: Mapping[str, str], now: datetime, chance: float
) -> LogEntry:
    if isinstance(delivery, Sent):
        return _taken(part, list_id, delivery, now)
    if isinstance(delivery, Refused) or failing_for(part.entry.failures + 2) >= GIVE_UP_AFTER:
        return _given_up(part, delivery, now)
    maybe = tried if delivery.maybe or TRIED_KEY in part.entry.handle else {}
    return _put_off(part, list_id, replace(delivery, handle={**maybe, **delivery.handle}), now, chance)


def _taken(part: Part, list_id: str, delivery: Sent, now: datetime) -> LogEntry:
    entry = part.entry
    return replace(
        entry,
        told=part.told,
        first_sent_at=entry.first_sent_at or now,
        last_sent_at=now,
        sent=entry.sent + 1,
        handle=_merged(entry, delivery.handle, list_id),
        closed=part.kind in CLOSING,
        failures=0,
        error=delivery.error,
        retry_at=None,
        gave_up=False,
    )


def _given_up(part: Part, delivery: Retry | Refused, now: datetime) -> LogEntry:
    return replace(
        part.entry,
        told=part.told,
        last_sent_at=now,
        # Who heard the beginning is to hear the end, should they ever be reached again.
        closed=part.kind in CLOSING and not (part.kind in ENDS and heard(part.entry)),
        failures=1,  # the next message is tried as long
        error=delivery.error,
        retry_at=None,
        gave_up=True,
    )


def _put_off(part: Part, list_id: str, delivery: Retry, now: datetime, chance: float) -> LogEntry:
    entry = part.entry
    asked = delivery.after  # who says when to come again knows best
    wait = backoff(entry.failures + 1, chance) if asked is None else min(max(asked, SHORTEST_WAIT), GIVE_UP_AFTER)
    # Who is only asked too often works, and is not given up for how often that happens.
    counts = delivery.reason != "rateLimited" or wait >= backoff(entry.failures + 1) or entry.failures == 0
    failed = replace(entry, failures=entry.failures + counts, error=delivery.error, retry_at=now + wait)
    if not delivery.handle:
        return failed
    # Some addresses took it, or may have: they have been told, and the others still will be, at `retry_at`.
    return replace(
        failed,
        told=part.told,
        first_sent_at=entry.first_sent_at or now,
        last_sent_at=now,
        handle=_merged(entry, {**delivery.handle, PARTLY_KEY: "1"}, list_id),
    )


def _merged(entry: LogEntry, handle: Mapping[str, str], list_id: str) -> dict[str, str]:
    # What is said of it alone is no longer said in its list.
    known = {address: left for address, left in entry.handle.items() if address not in _SAID}
    return {**known, **handle, **({LIST_KEY: list_id} if list_id else {})}


def settled(
    *, alerts: Mapping[str, Alert], log: Sequence[LogEntry], route: Route | None, receivers: Mapping[str, Receiver]
) -> tuple[LogEntry, ...]:
    """The log entries that move on without a word.

    Closed are incidents that ended before anyone heard of them, that ended for a receiver which does not want to
    hear of ends, or whose integration is gone.
    """
    return at_once(settling(alerts=alerts, log=log, route=route, receivers=receivers))


def settling(
    *, alerts: Mapping[str, Alert], log: Sequence[LogEntry], route: Route | None, receivers: Mapping[str, Receiver]
) -> Pausing[tuple[LogEntry, ...]]:
    """The same with pauses, in which nobody may change the alerts."""
    moved: list[LogEntry] = []
    for standing in (yield from standing_up(alerts, log, route, receivers)):
        yield
        entry = _settle(standing)
        if entry is not None:
            moved.append(entry)
    gone = (replace(entry, closed=True) for entry in _abandoned(alerts, log, receivers))
    return (*moved, *gone)


def _settle(standing: Standing) -> LogEntry | None:
    entry, settings = standing.entry, standing.integration.settings
    silent = not _sends_resolved(settings)
    untold = entry.gave_up and not standing.alerts  # its end was given up, and its alerts have lived on elsewhere
    if not standing.is_open and (silent or not heard(entry) or untold):
        return replace(entry, told=standing.told_now(), closed=True, retry_at=None)
    if silent and standing.ended:
        return replace(entry, told={**entry.told, **{alert.key: AlertState.ENDED for alert in standing.ended}})
    return None


def _sends_resolved(settings: Told) -> bool:
    return settings.send_resolved


def _abandoned(
    alerts: Mapping[str, Alert], log: Sequence[LogEntry], receivers: Mapping[str, Receiver]
) -> Iterator[LogEntry]:
    there = integrations_of(receivers)
    firing = {key for key, alert in alerts.items() if alert.state is AlertState.FIRING}
    for entry in log:
        if not entry.closed and (entry.receiver, entry.integration) not in there and firing.isdisjoint(entry.told):
            yield entry


def finished(
    *, alerts: Mapping[str, Alert], log: Sequence[LogEntry], receivers: Mapping[str, Receiver]
) -> frozenset[str]:
    """The keys of the ended alerts that may be forgotten: everyone who heard of the beginning heard of the end."""
    there = integrations_of(receivers)
    awaited = {
        key
        for entry in log
        if not entry.closed and (entry.receiver, entry.integration) in there
        for key, state in entry.told.items()
        if state is AlertState.FIRING or entry.retry_at is not None or entry.gave_up
    }
    return frozenset(key for key, alert in alerts.items() if alert.state is AlertState.ENDED and key not in awaited)
