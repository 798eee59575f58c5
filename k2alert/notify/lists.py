"""Single messages, or lists of incidents where there are too many: how what is due to one integration is said.

What is due of each incident comes in (`plan.py`), messages go out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

from k2alert.labels import Labels
from k2alert.model import Alert, LogEntry
from k2alert.notify.dues import LIST_KEY, Address, Due, Kind, Part, Told
from k2alert.notify.route import Integration
from k2alert.notify.standing import Standing
from k2alert.pauses import Pausing
from k2alert.times import EPOCH

__all__ = ["STORM_MESSAGES", "STORM_SPAN", "Desk", "messages"]

STORM_MESSAGES = 10
STORM_SPAN = timedelta(minutes=5)
"""More than so many new messages for one integration in this time become one list (contract §6)."""


def messages(desk: "Desk", parts: Sequence[Part]) -> Pausing[tuple[Due, ...]]:
    """What is due for one integration, in messages: singles first, then lists."""
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
class Desk:
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
