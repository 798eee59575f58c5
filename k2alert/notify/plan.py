"""What is due: who is to be told what, now.

Alerts, the notification log, routes and receivers come in; out go the messages that are due at `now`. There are
no timers: every decision follows from times that are stored, so a restart, a hang or a failed delivery changes
nothing but the moment. What a message says is always the present state, so a late message is never a wrong one.

The main path: `standings` (who stands where to which incident), `_part` (what is due of one incident),
`_messages` (single messages, or lists when there are too many).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import groupby
from typing import Protocol

from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, LogEntry
from k2alert.notify.outlook import Outlook
from k2alert.notify.retrying import is_put_off
from k2alert.notify.route import Integration, Receiver, Route
from k2alert.notify.standing import Standing, fired_at, recovered, standings, standings_of
from k2alert.notify.unreached import Who, heard
from k2alert.pauses import Pausing, at_once
from k2alert.times import EPOCH

__all__ = [
    "CLOSING",
    "ENDS",
    "LIST_KEY",
    "PARTLY_KEY",
    "STORM_MESSAGES",
    "STORM_SPAN",
    "TRIED_KEY",
    "Address",
    "Due",
    "Kind",
    "Part",
    "Told",
    "due",
    "due_of",
    "next_due",
]

STORM_MESSAGES = 10
STORM_SPAN = timedelta(minutes=5)
"""More than so many new messages for one integration in this time become one list (contract §6)."""

LIST_KEY = "*list"
"""The key in a log entry's handle that names the list it was told in; no address looks like it."""


TRIED_KEY = "*tried"
"""The key in a log entry's handle that says that somebody may have taken a message; no address looks like it."""


PARTLY_KEY = "*partly"
"""The key in a log entry's handle that says that some addresses took the last message and others did not."""


class Kind(StrEnum):
    """Why a message is due."""

    FIRING = "firing"  # the first that is heard of an incident
    CHANGED = "changed"  # alerts joined or ended, others still fire
    REPEAT = "repeat"  # nothing changed for `repeat_interval`
    RESOLVED = "resolved"  # all ended, and those that ended last recovered
    CLOSED = "closed"  # all ended, not all of the last ones because they recovered
    LIST = "list"  # several incidents in one message
    DIGEST = "digest"  # what fired and ended on a route since its last summary


ENDS = frozenset({Kind.RESOLVED, Kind.CLOSED})
CLOSING = ENDS | {Kind.DIGEST}
"""The kinds that leave nothing more to be said of their incident; a digest is one from summary to summary."""


class Told(Protocol):
    """What the plan asks of an integration's settings."""

    @property
    def send_resolved(self) -> bool:
        """Whether ends are told."""
        ...

    @property
    def edits(self) -> bool:
        """Whether a message can be edited once it is sent."""
        ...


Address = Callable[[Integration, tuple[Alert, ...]], str]
"""Where an integration would send a message about these alerts; a list never mixes addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a message says of one incident: why, of which alerts, and what the log will say once it is said.

    `news` are the alerts whose state it tells for the first time.
    """

    kind: Kind
    entry: LogEntry
    alerts: tuple[Alert, ...]
    news: tuple[Alert, ...]
    told: Mapping[str, AlertState]

    @property
    def is_remainder(self) -> bool:
        """Whether it repeats a message for those of its addresses that did not take it."""
        again = self.entry.retry_at is not None and not self.entry.gave_up
        return again and not self.news and self.kind is not Kind.REPEAT

    @property
    def was_true_at_first(self) -> bool:
        """Whether all its alerts were already true when they were first judged."""
        return all(alert.initial for alert in self.alerts)


@dataclass(frozen=True, kw_only=True)  # no slots: the mark of a storm is worked out once
class Due:
    """One message that is due. Only a LIST has more than one part.

    `rest` are alerts of the other open incidents of a list that is edited: shown, but not told now.
    `handle` is what the last message of this incident or list left. `list_id` is "" but for a LIST.
    """

    kind: Kind
    receiver: str
    integration: Integration
    parts: tuple[Part, ...]
    rest: tuple[Alert, ...] = ()
    handle: Mapping[str, str] = field(default_factory=dict)
    list_id: str = ""

    @property
    def thread(self) -> str:
        """What all messages of one incident, or of one list, have in common."""
        return self.list_id or self.parts[0].entry.incident

    @cached_property
    def mark(self) -> str:
        """16 hex digits that tell it from every other, the same when it is tried again with the same news."""
        said = sorted(map(_said, self.parts))
        return sha256("\xff".join((self.thread, *said)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _said(part: Part) -> str:
    """What tells a part of a message from every other."""
    told = (f"{key}={state.value}" for key, state in sorted(part.told.items()))
    return "\xfe".join((part.entry.incident, str(part.entry.sent), *told))


def due(
    *,
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    now: datetime,
    hushed: Collection[str] = frozenset(),
    address: Address = lambda _integration, _alerts: "",
) -> tuple[Due, ...]:
    """The messages that are due now, those of one integration in the order in which incidents began to fire.

    `alerts` are all that are known, by `Alert.key`; those never fired are passed over, and those `hushed` are no news.
    Messages of one integration must be delivered, and their outcome logged, before this is asked again; integrations
    don't wait for each other.
    """
    found: list[Due] = []
    standing_by = sorted(
        standings(alerts, log, route, receivers, hushed), key=_who
    )  # stable: keeps the order of firing
    for who, mine in groupby(standing_by, key=_who):
        found.extend(at_once(_messages(_Desk(tuple(mine), _of(who, log), now, address))))
    return tuple(found)


def due_of(
    who: Who, outlook: Outlook, *, log: Sequence[LogEntry], now: datetime, address: Address
) -> Pausing[tuple[Due, ...]]:
    """What `due` says of one integration, with pauses.

    What comes of it may be begun only where nothing of the integration was in flight, nor its part of the log changed,
    from the first step to the last.
    """
    standing_by = yield from standings_of(
        who, outlook.alerts, log, outlook.routing, outlook.receivers, outlook.hushed, outlook.fires_for[who]
    )
    if not standing_by:
        return ()
    return (yield from _messages(_Desk(standing_by, _of(who, log), now, address)))


def _of(who: Who, log: Iterable[LogEntry]) -> list[LogEntry]:
    return [entry for entry in log if (entry.receiver, entry.integration) == who]


def next_due(standing: Standing, *, now: datetime) -> tuple[datetime, Kind] | None:
    """When the next message of an incident is due if nothing changes until then, and why; None where none is."""
    for at in sorted({now, *(moment for moment in _moments(standing) if moment > now)}):
        kind = _kind(standing, at)
        if kind is not None:
            return at, kind
    return None


def _moments(standing: Standing) -> Iterator[datetime]:
    """The times at which something can become due by itself."""
    entry, route = standing.entry, standing.route
    if entry.retry_at is not None:
        yield entry.retry_at
    if route is not None:
        yield from (fired_at(alert) + route.group_wait for alert in standing.new)
        last = entry.last_sent_at or EPOCH
        yield from (last + route.group_interval, last + route.repeat_interval)


def _who(standing: Standing) -> Who:
    return (standing.entry.receiver, standing.entry.integration)


# ------------------------------------------------------------------------------- what of one incident


def _part(standing: Standing, now: datetime) -> Part | None:
    kind = _kind(standing, now)
    if kind is None:
        return None
    return Part(
        kind=kind,
        entry=standing.entry,
        alerts=standing.alerts,
        news=(*standing.new, *standing.ended),
        told=standing.told_now(),
    )


def _kind(standing: Standing, now: datetime) -> Kind | None:
    """What is due of the incident, if anything."""
    entry = standing.entry
    if is_put_off(entry, now) or _is_mute(standing, now):
        return None
    if not entry.told:
        return _first(standing, now)
    if not standing.is_open:
        return _end(standing, now)
    if standing.route is None:
        return None
    kind = _change(standing, standing.route, now)
    # Nobody has heard the first message: to them this is it.
    return Kind.FIRING if kind is not None and not heard(entry) else kind


def _is_mute(standing: Standing, now: datetime) -> bool:
    """Whether its route must not speak; what may have been heard already at a crash is said again all the same."""
    route = standing.route
    return route is not None and bool(route.muted_by(now)) and TRIED_KEY not in standing.entry.handle


def _first(standing: Standing, now: datetime) -> Kind | None:
    if not standing.new or standing.route is None:
        return None
    began = min(_past(fired_at(alert), now) for alert in standing.new)
    return Kind.FIRING if now >= began + standing.route.group_wait else None


def _end(standing: Standing, now: datetime) -> Kind | None:
    entry = standing.entry
    wait = standing.route.group_interval if standing.route is not None else timedelta(0)
    if not heard(entry) or not _settings(standing).send_resolved or now < _not_before(entry, wait, now):
        return None
    if entry.gave_up and not standing.ended and (entry.retry_at is None or not standing.alerts):
        return None  # that end was given up, and is not to be told again, or no more
    # Where nothing ended anew, some addresses have not heard yet how it all ended.
    well = all(map(recovered, standing.ended or standing.alerts)) and not standing.lost
    return Kind.RESOLVED if well else Kind.CLOSED


def _change(standing: Standing, route: Route, now: datetime) -> Kind | None:
    entry = standing.entry
    changed = standing.new or (standing.ended and _settings(standing).send_resolved)
    if changed:
        return Kind.CHANGED if now >= _not_before(entry, route.group_interval, now) else None
    if not standing.firing:
        return None
    if now >= _repeat_at(entry, route, now):
        return Kind.REPEAT
    if entry.retry_at is None or not _is_owed(entry):
        return None
    return Kind.FIRING if entry.sent == 0 else Kind.CHANGED


def _is_owed(entry: LogEntry) -> bool:
    """Whether somebody may not have heard what the log calls told.

    A message that nobody took changed nothing of that: once things are again as they were told, it is no news.
    """
    return entry.gave_up or not {TRIED_KEY, PARTLY_KEY}.isdisjoint(entry.handle)


def _not_before(entry: LogEntry, interval: timedelta, now: datetime) -> datetime:
    """When the next message may go: when a failed one may be tried again, or `interval` after the last."""
    if entry.retry_at is not None:
        return entry.retry_at if is_put_off(entry, now) else now
    return _past(entry.last_sent_at, now) + interval


def _repeat_at(entry: LogEntry, route: Route, now: datetime) -> datetime:
    """When it is said again though nothing changed: a clock that is set back a little must not bring that about."""
    last = entry.last_sent_at
    return EPOCH if last is None or last > now + route.repeat_interval else last + route.repeat_interval


def _past(at: datetime | None, now: datetime) -> datetime:
    """The time, or long ago where there is none, or where it was taken from a clock that has been set back since."""
    return at if at is not None and at <= now else EPOCH


def _settings(standing: Standing) -> Told:
    settings: Told = standing.integration.settings
    return settings


# ------------------------------------------------------------------------- single messages, or a list


def _messages(desk: "_Desk") -> Pausing[tuple[Due, ...]]:
    """What is due for one integration, in messages: singles first, then lists."""
    parts: list[Part] = []
    for standing in desk.standings:
        yield
        part = _part(standing, desk.now)
        if part is not None:
            parts.append(part)
    gathered = desk.gathered(parts)
    found = [desk.single(part) for part in parts if part.entry.incident not in gathered]
    lists: dict[str, list[Part]] = {}
    for part in parts:
        if part.entry.incident in gathered:
            yield
            lists.setdefault(desk.list_address(part), []).append(part)
    for address, listed in lists.items():
        yield
        found.extend(desk.lists(address, listed))
    return tuple(found)


@dataclass(frozen=True)  # no slots: what is looked up for every list is worked out once
class _Desk:
    """One integration's standings and log, and how they become messages.

    Where messages can be edited, only the first of an incident counts as new: the rest is edits. A list is then
    one message that takes in what comes within five minutes. Where they can't, every message is new, and what
    goes into lists goes into one list in five minutes.
    """

    standings: tuple[Standing, ...]
    log: Sequence[LogEntry]
    now: datetime
    address: Address

    @property
    def integration(self) -> Integration:
        return self.standings[0].integration

    @property
    def edits(self) -> bool:
        settings: Told = self.integration.settings
        return settings.edits

    def gathered(self, parts: Sequence[Part]) -> frozenset[str]:
        """The incidents that are told in lists: those whose list can be edited, and new ones when there are too many.

        What was already true when it was first judged is listed as soon as there are two of it. Where nothing can
        be edited, what comes after a list is news of its own.
        """
        listed = {
            part.entry.incident for part in parts if LIST_KEY in part.entry.handle and (self.edits or part.is_remainder)
        }
        loose = [part for part in parts if part.entry.incident not in listed]
        fresh = [part for part in loose if not part.is_remainder and (part.kind is Kind.FIRING or not self.edits)]
        initial = [part for part in fresh if part.kind is Kind.FIRING and part.was_true_at_first]
        if len(self._recent()) + len(fresh) > STORM_MESSAGES:
            listed |= {part.entry.incident for part in fresh}
        elif len(initial) > 1 or self._recent_lists():
            listed |= {part.entry.incident for part in initial}
        return frozenset(listed)

    def single(self, part: Part) -> Due:
        return Due(
            kind=part.kind,
            receiver=part.entry.receiver,
            integration=self.integration,
            parts=(part,),
            handle=part.entry.handle,
        )

    def list_address(self, part: Part) -> str:
        """A short name of where the part is listed: that of its list, or of where its alerts would go."""
        listed = part.entry.handle.get(LIST_KEY)
        if listed is not None and (self.edits or part.is_remainder):
            return _address_of(listed)
        return _address_name(self.address(self.integration, part.alerts))

    def lists(self, address: str, parts: Sequence[Part]) -> Iterator[Due]:
        """The lists at one address that are due."""
        young = self._young.get(address, [])
        if not self.edits:
            again = [part for part in parts if part.is_remainder]
            if again:
                yield self._list(again[0].entry.handle[LIST_KEY], again)
            elif not young:
                yield self._list(_new_list(address, parts), parts)
            return
        of: dict[str, list[Part]] = {}
        for part in parts:
            mine = part.entry.handle.get(LIST_KEY)
            of.setdefault(mine or (young[0] if young else _new_list(address, parts)), []).append(part)
        for list_id, listed in of.items():
            yield self._list(list_id, listed)

    def _list(self, list_id: str, parts: Sequence[Part]) -> Due:
        incidents = {part.entry.incident for part in parts}
        entries = [*self._entries.get(list_id, ()), *(part.entry for part in parts)]
        return Due(
            kind=Kind.LIST,
            receiver=parts[0].entry.receiver,
            integration=self.integration,
            parts=tuple(parts),
            rest=tuple(self._others(list_id, incidents)) if self.edits else (),
            handle=_latest_handle(entries),
            list_id=list_id,
        )

    def _others(self, list_id: str, incidents: set[str]) -> Iterator[Alert]:
        for standing in self._listed.get(list_id, ()):
            if standing.entry.incident not in incidents:
                yield from standing.alerts

    @cached_property
    def _entries(self) -> Mapping[str, list[LogEntry]]:
        """What the log says, list by list."""
        found: dict[str, list[LogEntry]] = {}
        for entry in self.log:
            found.setdefault(entry.handle.get(LIST_KEY, ""), []).append(entry)
        return found

    @cached_property
    def _listed(self) -> Mapping[str, list[Standing]]:
        """The open incidents, list by list."""
        found: dict[str, list[Standing]] = {}
        for standing in self.standings:
            found.setdefault(standing.entry.handle.get(LIST_KEY, ""), []).append(standing)
        return found

    @cached_property
    def _young(self) -> Mapping[str, list[str]]:
        """The lists of the last five minutes, address by address."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._recent_lists()):
            found.setdefault(_address_of(name), []).append(name)
        return found

    def _recent(self) -> set[str]:
        """The new messages of the last five minutes; a list is one."""
        return {entry.handle.get(LIST_KEY, entry.incident) for entry in self.log if self._is_recent(entry)}

    def _recent_lists(self) -> set[str]:
        return {found for found in self._recent() if _is_list(found)}

    def _is_recent(self, entry: LogEntry) -> bool:
        at = entry.first_sent_at if self.edits else entry.last_sent_at
        return at is not None and timedelta(0) <= self.now - at < STORM_SPAN


@lru_cache(maxsize=1000)
def _address_name(address: str) -> str:
    """A short name of an address; kept, for a storm asks for the same one thousands of times."""
    return Labels({"address": address}).fingerprint


def _new_list(address: str, parts: Sequence[Part]) -> str:
    """A list is named after its address and the first incident in it."""
    return f"{address}-{parts[0].entry.incident}-{parts[0].entry.sent}"


def _is_list(name: str) -> bool:
    return "-" in name


def _address_of(list_id: str) -> str:
    return list_id.partition("-")[0]


def _latest_handle(entries: Iterable[LogEntry]) -> dict[str, str]:
    """What the newest message among these left, address by address."""
    handle: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: (entry.last_sent_at or EPOCH, entry.incident)):
        handle.update(entry.handle)
    return handle
