"""Whom messages do not reach: the notification log comes in, the integrations that do not take theirs go out.

What was given up stands until the integration takes something again: nobody can know sooner that it works. It is
written on the log entries themselves, so a restart changes nothing, and no order of times has to be guessed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from k2alert.labels import Labels
from k2alert.model import FAILING_ALERT, Alert, AlertState, LogEntry, alert_key
from k2alert.notify.retrying import GIVE_UP_AFTER, LATE, failing_for
from k2alert.notify.route import Receiver, integrations_of
from k2alert.times import EPOCH

__all__ = [
    "MENDED_KEY",
    "Fate",
    "Unreached",
    "Who",
    "able",
    "changed_settings",
    "fate_of",
    "forsaken",
    "heard",
    "identity_of",
    "last_words",
    "mended",
    "outlived",
    "refusing",
    "set_anew",
    "unreached",
]

Who = tuple[str, str]
"""A receiver and one of its integrations, by name."""

MENDED_KEY = "*mended"
"""The key in a log entry's handle that says that its integration worked afterwards; no address looks like it."""


class Fate(StrEnum):
    """What became of a message that did not reach everybody."""

    GIVEN_UP = "given up"  # refused for good, or failed for a day
    PARTLY = "partly"  # some of the addresses took it, others refused it for good
    LATE = "late"  # it has failed for a while, and is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreached:
    """What did not reach an integration: the last message of so many `incidents`; why not the newest of them."""

    incidents: int
    fate: Fate
    error: str


def heard(entry: LogEntry) -> bool:
    """Whether anyone at all has been told something: a message was taken, or a part of its addresses took it."""
    return entry.sent > 0 or any(address != MENDED_KEY for address in entry.handle)


def unreached(log: Iterable[LogEntry], receivers: Mapping[str, Receiver]) -> dict[Who, Unreached]:
    """The integrations that do not take their messages, or not all of them.

    What they refused of these alerts themselves says nothing new of anyone: it does not count.
    """
    found: dict[Who, list[LogEntry]] = {}
    for entry in _of_others(log, integrations_of(receivers)):
        found.setdefault(_who(entry), []).append(entry)
    return {who: _summed_up(entries) for who, entries in found.items()}


def _of_others(log: Iterable[LogEntry], known: Iterable[Who] = ()) -> list[LogEntry]:
    """The entries of what did not arrive, but those that tell only of integrations that are not reached."""
    entries = tuple(log)
    own = _own_keys({*known, *map(_who, entries)})
    return [entry for entry in entries if fate_of(entry) and not _is_own(entry, own)]


def _own_keys(whom: Iterable[Who]) -> frozenset[str]:
    return frozenset(alert_key(FAILING_ALERT, identity_of(who)) for who in whom)


def _is_own(entry: LogEntry, own: frozenset[str]) -> bool:
    return bool(entry.told) and own.issuperset(entry.told)


def identity_of(who: Who) -> Labels:
    """The identity of the alert that says that an integration is not reached."""
    return Labels({"receiver": who[0], "integration": who[1]})


def _summed_up(entries: Collection[LogEntry]) -> Unreached:
    fates = {fate: [entry for entry in entries if fate_of(entry) is fate] for fate in Fate}
    worst = next(fate for fate in Fate if fates[fate])
    return Unreached(incidents=len(entries), fate=worst, error=max(fates[worst], key=_last).error)


def refusing(log: Iterable[LogEntry]) -> frozenset[Who]:
    """The integrations that nothing may be expected to reach now, whatever it is about."""
    return frozenset(_who(entry) for entry in log if fate_of(entry) in (Fate.GIVEN_UP, Fate.LATE))


def outlived(alerts: Mapping[str, Alert], log: Iterable[LogEntry], receivers: Mapping[str, Receiver]) -> frozenset[str]:
    """The keys of the alerts that say of integrations that they are not reached, though by the log they are.

    Messages go out beside the rounds, so one that was taken is in the log before a round ends such an alert. Who took
    it would be the first to be told that it takes none. How pushes go is in no log: nothing is known of them here.
    """
    said = {key: alert for key, alert in alerts.items() if alert.rule == FAILING_ALERT}
    if not said:
        return frozenset()
    here = integrations_of(receivers)
    silent = {*unreached(log, receivers), *(who for who, one in here.items() if one.pushes)}
    own = {alert_key(FAILING_ALERT, identity_of(who)) for who in here.keys() - silent}
    return frozenset(said.keys() & own)


def able(log: Iterable[LogEntry], receivers: Mapping[str, Receiver]) -> Iterator[Who]:
    """The integrations that can be told of an incident, as far as is known, in the order of the configuration."""
    deaf = refusing(log)
    return (who for who, one in integrations_of(receivers).items() if not one.pushes and who not in deaf)


def last_words(log: Iterable[LogEntry], receivers: Mapping[str, Receiver]) -> frozenset[tuple[str, str, str]]:
    """The keys of the closed entries that must be kept to know who is not reached: the newest of each integration."""
    here = integrations_of(receivers)
    newest: dict[Who, LogEntry] = {}
    for entry in sorted(_of_others(log, here), key=_last):
        if entry.closed and _who(entry) in here:
            newest[_who(entry)] = entry
    return frozenset(entry.key for entry in newest.values())


def mended(log: Iterable[LogEntry], who: Who, *, now: datetime) -> tuple[LogEntry, ...]:
    """The log entries that change because an integration took a message.

    What it refused is over; the incidents among it that are open are told once more, as they are now. Once only: it
    may be their words that are refused.
    """
    return tuple(_mended(entry, now) for entry in _refused_by(who, log) if not _was_tried_again(entry))


def set_anew(log: Iterable[LogEntry], who: Who, *, now: datetime) -> tuple[LogEntry, ...]:
    """The log entries that change because an integration has other settings: as if it had just taken a message.

    What waits to be tried again need not wait either.
    """
    entries = tuple(log)
    waiting = [replace(entry, retry_at=now) for entry in entries if _who(entry) == who and _is_waiting(entry)]
    return (*waiting, *(_mended(entry, now) for entry in _refused_by(who, entries)))


def _refused_by(who: Who, log: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """What an integration refused and was not told since.

    Of those who are not reached somebody else has heard meanwhile; but an end is for who heard the beginning.
    """
    entries = tuple(log)
    own = _own_keys({*map(_who, entries)})
    for entry in entries:
        is_refused = _who(entry) == who and fate_of(entry) and not _is_waiting(entry)
        if is_refused and (heard(entry) or not _is_own(entry, own)):
            yield entry


def forsaken(log: Iterable[LogEntry], *, now: datetime) -> tuple[LogEntry, ...]:
    """The log entries of ends that were given up so long ago that they are no news any more: closed."""
    over = (entry for entry in log if entry.gave_up and not entry.closed and entry.retry_at is None)
    return tuple(
        replace(entry, closed=True)
        for entry in over
        if AlertState.FIRING not in entry.told.values() and entry.told and now - _last(entry) >= GIVE_UP_AFTER
    )


def changed_settings(before: Mapping[str, Receiver], after: Mapping[str, Receiver]) -> frozenset[Who]:
    """The integrations that a reload gave other settings."""
    old = integrations_of(before)
    return frozenset(who for who, one in integrations_of(after).items() if old.get(who) != one)


def _mended(entry: LogEntry, now: datetime) -> LogEntry:
    marked = replace(entry, handle={**entry.handle, MENDED_KEY: "1"})
    if entry.closed or not entry.gave_up:
        return marked
    return replace(marked, retry_at=now) if heard(entry) else replace(marked, told={})


def _is_waiting(entry: LogEntry) -> bool:
    return not entry.closed and entry.retry_at is not None


def _was_tried_again(entry: LogEntry) -> bool:
    return not entry.closed and MENDED_KEY in entry.handle


def fate_of(entry: LogEntry) -> Fate | None:
    """What became of what it had to say last; None where it reached everybody, will soon, or is known to be over."""
    over = MENDED_KEY in entry.handle
    if entry.gave_up:
        return Fate.GIVEN_UP if not (entry.closed and over) else None
    if entry.failures:
        return Fate.LATE if _is_waiting(entry) and failing_for(entry.failures) >= LATE else None
    return Fate.PARTLY if entry.error and entry.sent > 0 and not over else None


def _who(entry: LogEntry) -> Who:
    return (entry.receiver, entry.integration)


def _last(entry: LogEntry) -> datetime:
    return entry.last_sent_at or EPOCH
