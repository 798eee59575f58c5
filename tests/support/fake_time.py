"""Time that passes when somebody sleeps, and only then."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from k2alert.collect.http import Time

T0 = datetime(2026, 1, 5, 12, tzinfo=UTC)


class FakeTime:
    """Starts at `T0`. `slept` lists every sleep in seconds. Once `end` has passed `over` is set, and sleeps stay.

    Time stands still while a task that is at `work` waits for something real, a server's answer say; such a task's
    own sleeps pass at once.
    """

    def __init__(self, end: timedelta | None = None) -> None:
        self.now = T0
        self.slept: list[float] = []
        self.over = asyncio.Event()
        self._end = None if end is None else T0 + end
        self._working: set[asyncio.Task[Any]] = set()

    @property
    def time(self) -> Time:
        """For whoever needs time; chance is always 0.5."""
        return Time(
            now=lambda: self.now,
            monotonic=lambda: (self.now - T0).total_seconds(),
            sleep=self.sleep,
            random=lambda: 0.5,
        )

    def end_after(self, length: timedelta) -> None:
        """From now on time passes for so long."""
        self._end, self.over = self.now + length, asyncio.Event()

    def advance(self, length: timedelta) -> None:
        """Lets time pass."""
        self.now += length

    def work(self) -> None:
        """The present task is at work, to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def sleep(self, seconds: float) -> None:
        """Passes as soon as nobody is at work."""
        if asyncio.current_task() not in self._working:
            await self._rest()
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def _rest(self) -> None:
        while self._working:
            await asyncio.wait(self._working)
            for _ in range(10):  # whoever waits for that work goes first, and may end this sleep
                await asyncio.sleep(0)
        if self._end is not None and self.now >= self._end:
            self.over.set()
            await asyncio.Event().wait()
