"""Who leads, where several replicas share a store: what each of them knows of it.

In: what the database answered, and a clock that only goes on. Out: whether this replica leads, asked from any thread.
How a lease is taken and kept is in `postgres_lease.py`; where a store has one process only, that one leads.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Holding", "SoleLease"]


class _Reign(NamedTuple):
    epoch: int
    until: float


_NONE = _Reign(0, 0.0)


class Holding:
    """What is known of the lease. A reign ends by itself, unless somebody extends it.

    A reign is in force only between two returns of `changed()`. So one that ended and another that began are never
    taken for one by somebody who was stopped meanwhile: what was begun in the first is refused in the second.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reign = _NONE
        self._disowned = 0
        self._told = 0
        self._listener: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self.leader = ""

    @property
    def reign(self) -> int:
        """The number of the last reign, though it may be over: it can be taken up again if nobody else led since."""
        return self._reign.epoch

    @property
    def epoch(self) -> int:
        """The number of the reign in force, 0 where there is none."""
        return self._told if self._live() == self._told else 0

    def _live(self) -> int:
        reign = self._reign
        return reign.epoch if self._clock() < reign.until else 0

    def extend(self, epoch: int, until: float) -> None:
        """This replica leads until then, by the clock."""
        with self._lock:
            if epoch > self._disowned:
                self._reign = _Reign(epoch, until)
        self.look()

    def lose(self) -> None:
        """This replica leads no more."""
        with self._lock:
            self._reign = _NONE
        self.look()

    def disown(self, epoch: int) -> None:
        """This reign is over, whatever is still on its way to extend it."""
        with self._lock:
            self._disowned = max(self._disowned, epoch)
            if self._reign.epoch <= self._disowned:
                self._reign = _NONE
        self.look()

    def look(self) -> None:
        """Wakes whoever waits for a change, if there was one. To be called again and again: a reign ends by itself."""
        if self._listener is not None and self._live() != self._told:
            loop, event = self._listener
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._listener = None

    async def changed(self) -> None:
        """Returns when the reign in force is over; the next time when another is there, which is in force from then."""
        event = asyncio.Event()
        self._listener = (asyncio.get_running_loop(), event)
        while (live := self._live()) == self._told:
            await event.wait()
            event.clear()
        self._told = 0 if self._told else live


class SoleLease:
    """`Lease` of the one process that can have its store open: it leads as long as it has not given that up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._holding = Holding(lambda: 0.0)
        self._holding.extend(1, 1.0)

    @property
    def epoch(self) -> int:
        """See `Lease`. It leads from the start, for there is nobody to wait for."""
        return self._holding.reign

    @property
    def leader(self) -> str:
        """See `Lease`."""
        return self._name if self.holds() else ""

    def holds(self) -> bool:
        """See `Lease`."""
        return self.epoch > 0

    async def changed(self) -> None:
        """See `Lease`."""
        await self._holding.changed()

    async def release(self) -> None:
        """See `Lease`."""
        self._holding.lose()
