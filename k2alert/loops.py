"""Named tasks that cannot die unnoticed, and a clean end for them.

A daemon is a handful of tasks that run for ever. `run_together` starts them, and the first that ends for a
reason nobody asked for (an exception, or simply returning) ends them all, loudly.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from datetime import timedelta
from math import inf
from typing import Any, TypeVar

from k2alert.pauses import Pausing

__all__ = ["Allowance", "Breaks", "TaskEnded", "Work", "beside", "repeat", "run_together", "unhurried"]

_SHORTEST_REST = 0.02  # seconds: what comes in a burst is taken in few rounds
_SHARE = 10  # at most one part in so many of the time is spent on rounds that were called for
_SAVED = 1.0  # seconds of it that were not used are there for a burst: who calls now and then need not wait

_LONGEST_HOLD = 0.005  # seconds that work with pauses goes on before others may work

_SPELL, _BREAK = 0.002, 0.001  # seconds of work, and of rest after it: a webhook's round needs the loop some ten times

_AT_ONCE = 100  # things that are worked through in a millisecond or two

_Result = TypeVar("_Result")
_CANCELLED_WITHIN = 5.0  # seconds: whoever is cancelled may end what it is at

Work = Callable[[], Coroutine[Any, Any, None]]


class TaskEnded(Exception):
    """A task that should run for ever has ended."""


async def run_together(
    tasks: Mapping[str, Work],
    stop: asyncio.Event,
    *,
    finish: Collection[str] = (),
    patience: timedelta = timedelta(seconds=30),
) -> None:
    """Runs the tasks until `stop` is set; waits for those named in `finish` to return, and cancels the others.

    Raises what a task raised, or `TaskEnded` with the name of one that returned before it was asked to. One that
    does not finish within `patience` is cancelled too: whoever stopped us will not wait for ever.
    """
    running = {name: asyncio.create_task(_named(name, task, stop), name=name) for name, task in tasks.items()}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({*running.values(), stopping}, return_when=asyncio.FIRST_COMPLETED)
        last = [running[name] for name in finish if name in running]
        if stop.is_set() and last:
            await asyncio.wait(last, timeout=patience.total_seconds())
    finally:
        await _end({*running.values(), stopping})
        ends = await asyncio.gather(*running.values(), stopping, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
            raise end


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancels these, and again those that go on: before Python 3.12 `asyncio.wait_for` may swallow it."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_CANCELLED_WITHIN)


async def _named(name: str, task: Work, stop: asyncio.Event) -> None:
    await task()
    if not stop.is_set():
        raise TaskEnded(f"the task {name!r} ended by itself")


async def unhurried(work: Pausing[_Result], *, monotonic: Callable[[], float]) -> _Result:
    """What the work comes to; when it has held the event loop for a while, it pauses, and others may work."""
    until = monotonic() + _LONGEST_HOLD
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _Result = end.value
            return result
        if monotonic() >= until:
            await asyncio.sleep(0)
            until = monotonic() + _LONGEST_HOLD


class Breaks:
    """Has work in many small parts rest now and then, so that threads get their turn, too.

    A loop that only goes round between the parts lets go of the interpreter for less time than a thread needs to wake
    up, and each time has it begin to wait anew: the store's thread got hardly a turn while gauges were drawn.
    """

    def __init__(self, *, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._monotonic, self._sleep = monotonic, sleep
        self._until = -inf

    async def pause(self) -> None:
        """Rests, if it is time."""
        if self._monotonic() >= self._until:
            await self._sleep(_BREAK)
            self._until = self._monotonic() + _SPELL


async def beside(many: int, work: Callable[[], _Result]) -> _Result:
    """What the work comes to. Where it is about many things, it is done in a thread: it must be pure."""
    return work() if many <= _AT_ONCE else await asyncio.to_thread(work)


class Allowance:
    """Time to spend on rounds that are called for: it comes in a little at a time, and some of it can be saved up.

    All in seconds, `now` on a monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self._left, self._seen = _SAVED, now

    def spend(self, seconds: float) -> None:
        """Even where there is not so much left."""
        self._left -= seconds

    def missing(self, now: float) -> float:
        """Seconds until what was spent too much has come in again."""
        self._left = min(self._left + max(now - self._seen, 0.0) / _SHARE, _SAVED)
        self._seen = now
        return max(-self._left * _SHARE, 0.0)


async def repeat(
    work: Work,
    every: Callable[[], timedelta],
    stop: asyncio.Event,
    *,
    monotonic: Callable[[], float],
    wake: asyncio.Event | None = None,
    busy: Callable[[], float] | None = None,
) -> None:
    """Does the work, then again `every` after the last start, until `stop` is set; the work is never cut short.

    A round that takes longer than `every` is followed at once by the next, none is made up for. Setting `wake` calls
    for the next round sooner: at once, or where such rounds have taken more than a tenth of the time lately, when they
    no longer have. What a round takes is told by `busy`, in seconds: by `monotonic`, where nothing else is given.
    """
    busy = busy or monotonic
    allowance, called = Allowance(monotonic()), False
    while not stop.is_set():
        began, worked = monotonic(), busy()
        if wake is not None:
            wake.clear()
        await work()
        if called:
            allowance.spend(busy() - worked)
        now = monotonic()
        left = max(every().total_seconds() - (now - began), 0.0)
        if wake is None:
            await _wait_for(stop, left)
            continue
        rest = min(max(_SHORTEST_REST, allowance.missing(now)), left)
        await _wait_for(stop, rest)
        if not stop.is_set():
            await _wait_for_either(stop, wake, left - rest)
        called = monotonic() - now < left


async def _wait_for(stop: asyncio.Event, seconds: float) -> None:
    """Sleeps, or wakes when `stop` is set."""
    try:
        async with asyncio.timeout(seconds or 1e-6):  # even no time at all lets other tasks work
            await stop.wait()
    except TimeoutError:
        return


async def _wait_for_either(stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> None:
    """Sleeps, or wakes when one of the two is set."""
    if seconds <= 0:
        return
    waits = [asyncio.create_task(event.wait(), name="wake") for event in (stop, wake)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
