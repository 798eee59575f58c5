"""Time that passes when somebody sleeps, and only then."""

import asyncio
from datetime import UTC, datetime, timedelta

from k2alert.collect.http import Time

T0 = datetime(2026, 1, 5, 12, tzinfo=UTC)


class FakeTime:
    """Starts at `T0`. `slept` lists every sleep in seconds. Once `end` has passed `over` is set, and sleeps stay."""

    def __init__(self, end: timedelta | None = None) -> None:
        self.now = T0
        self.slept: list[float] = []
        self.over = asyncio.Event()
        self._end = None if end is None else T0 + end

    @property
    def time(self) -> Time:
        """For whoever needs time; chance is always 0.5."""
        return Time(
            now=lambda: self.now,
            monotonic=lambda: (self.now - T0).total_seconds(),
            sleep=self.sleep,
            random=lambda: 0.5,
        )

    def advance(self, length: timedelta) -> None:
        """Lets time pass."""
        self.now += length

    async def sleep(self, seconds: float) -> None:
        """Passes at once."""
        if self._end is not None and self.now >= self._end:
            self.over.set()
            await asyncio.Event().wait()
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)
