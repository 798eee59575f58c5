"""The way outside in tests: a real session, and turns on a clock that passes when somebody waits, and only then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import aiohttp

from k2alert.notify.pace import Pace, Wire


@dataclass
class Waits:
    """Every wait for a turn, in seconds, and the time that they and the test made pass."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def pace(self) -> Pace:
        return Pace(lambda: self.now, self.sleep)


def a_wire(
    session: aiohttp.ClientSession | None,
    within: timedelta = timedelta(seconds=30),
    waits: Waits | None = None,
    allowed: Callable[[], bool] = lambda: True,
) -> Wire:
    """Without a session: for those who speak no HTTP."""
    return Wire(cast(aiohttp.ClientSession, session), (waits or Waits()).pace, within, allowed)
