"""A store that several daemons in this process share, with a lease in the test's hands: one SQLite file behind it.

Each replica has a door of its own. What may be written, and what the others hear of it, is as with PostgreSQL; how that
does it is tested elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from k2alert.model import Saved
from k2alert.record import Change, Lease, NotLeader, Store, StoreError, Topic, open_store

__all__ = ["Door", "Hub"]

_LEADERS = {
    "drop_log": Topic.LOG,
    "drop_old_hooks": None,
    "end_hooks": None,
    "forget_projects": Topic.PROJECTS,
    "save": None,
    "save_alerts": Topic.ALERTS,
    "save_facts": None,
    "save_log": Topic.LOG,
    "save_project": Topic.PROJECTS,
}
_EVERYBODYS = {"accept_hooks": None, "save_silences": Topic.SILENCES}


@dataclass
class Hub:
    """What is shared: the file, who leads, what has changed. `refused` counts writes of those who did not lead."""

    store: Store
    epoch: int = 0
    leads: "Door | None" = None
    told: list[Change] = field(default_factory=list)
    forgotten: int = 0  # changes before this one are not known any more
    doors: list["Door"] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path) -> "Hub":
        return cls(open_store(f"sqlite:///{folder}/k2alert.db"))

    def door(self, _: str = "") -> Store:
        """A replica's way in; takes the URL that it was configured with."""
        self.doors.append(Door(self))
        return cast(Store, self.doors[-1])

    def lead(self, number: int | None) -> None:
        """From now on this replica leads, or nobody."""
        self.leads = None if number is None else self.doors[number]
        self.epoch += 1
        for door in self.doors:
            door.turned.set()

    def tell(self, saved: Saved, topic: Topic | None) -> None:
        self.told.append(Change(len(self.told) + 1, saved, frozenset({topic} if topic is not None else ())))
        self.wake()

    def wake(self) -> None:
        for door in self.doors:
            door.woken.set()


class Door:
    """A `Store` and a `Lease`, as one replica has them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.woken, self.turned = asyncio.Event(), asyncio.Event()
        self.epoch = 0  # of the reign that the replica knows of
        self.breaks_off = False  # what retention does, after the first part
        self.fails: Exception | None = None  # while it is set, nothing can be done through this door
        self.idle: Callable[[], float] = lambda: 0.0
        self.reading = False  # everything, or at its beginning
        self.readings = 0  # how often it began to
        self.may_read = asyncio.Event()  # while it is not set, reading everything does not begin
        self.may_read.set()
        self._led = False

    # ------------------------------------------------------------------------------- the store

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.hub.store, name)
        if name == "prune":
            return self._prune
        if name in ("entries", "facts", "rows", "tests"):
            return call

        async def go(*args: Any, **named: Any) -> Any:
            if self.fails is not None:
                raise self.fails
            if name in _LEADERS and not self.holds():
                self.hub.refused.append(name)
                raise NotLeader("another replica leads")
            found = await call(*args, **named)
            if name in _LEADERS or name in _EVERYBODYS:
                self.hub.tell(found if isinstance(found, Saved) else Saved(), (_LEADERS | _EVERYBODYS)[name])
            return found

        return go

    async def _prune(self, before: datetime) -> AsyncIterator[Saved]:
        if not self.holds():
            self.hub.refused.append("prune")
            raise NotLeader("another replica leads")
        async for part in self.hub.store.prune(before):
            self.hub.tell(part, None)
            yield part
            if self.breaks_off:
                raise StoreError("the network is down")

    def frozen(self) -> Any:
        return _Frozen(self)

    def campaign(self, name: str, idle: Callable[[], float]) -> Lease:
        self.idle = idle
        return cast(Lease, self)

    async def changes(self, after: int) -> list[Change] | None:
        if self.fails is not None:
            raise self.fails
        return None if after < self.hub.forgotten else self.hub.told[after : after + 3]

    async def wait_for_change(self, seconds: float) -> None:
        await self.woken.wait()
        self.woken.clear()

    async def close(self) -> None:
        """The file is closed by the test."""

    # ------------------------------------------------------------------------------- the lease

    def holds(self) -> bool:
        return self._led and self.hub.leads is self and self.epoch == self.hub.epoch

    async def changed(self) -> None:
        while True:
            self.turned.clear()
            if self._led and not self.holds():
                self._led, self.epoch = False, 0
                return
            if not self._led and self.hub.leads is self:
                self._led, self.epoch = True, self.hub.epoch
                return
            await self.turned.wait()

    async def release(self) -> None:
        if self.holds():
            self.hub.lead(None)


class _Frozen:
    """The store as of one moment; nobody writes while a test's replica reads."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __aenter__(self) -> Any:
        self._door.reading = True
        self._door.readings += 1
        await self._door.may_read.wait()
        if self._door.fails is not None:
            raise self._door.fails
        self._seen = len(self._door.hub.told)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._door.reading = False

    async def last_change(self) -> int:
        return self._seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)
