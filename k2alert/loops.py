"""Named tasks that cannot die unnoticed, and a clean end for them.

A daemon is a handful of tasks that run for ever. `run_together` starts them, and the first that ends for a
reason nobody asked for (an exception, or simply returning) ends them all, loudly.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

__all__ = ["TaskEnded", "repeat", "run_together"]

log = logging.getLogger(__name__)

Task = Callable[[], Awaitable[None]]


class TaskEnded(Exception):
    """A task that should run for ever has ended."""


async def run_together(tasks: Mapping[str, Task], stop: asyncio.Event) -> None:
    """Runs the tasks until `stop` is set; then cancels them and waits until they are gone.

    Raises what a task raised, or `TaskEnded` with the name of one that returned.
    """
    running = {asyncio.create_task(_named(name, task), name=name) for name, task in tasks.items()}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait(running | {stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*running, stopping):
            task.cancel()
        await asyncio.gather(*running, stopping, return_exceptions=True)
    for task in done - {stopping}:
        task.result()


async def _named(name: str, task: Task) -> None:
    await task()
    raise TaskEnded(f"the task {name!r} ended by itself")


async def repeat(
    work: Callable[[], Awaitable[None]],
    every: Callable[[], timedelta],
    stop: asyncio.Event,
    *,
    monotonic: Callable[[], float],
) -> None:
    """Does the work, then again `every` after the last start, until `stop` is set; the work is never cut short.

    A round that takes longer than `every` is followed at once by the next, none is made up for.
    """
    while not stop.is_set():
        began = monotonic()
        await work()
        left = every().total_seconds() - (monotonic() - began)
        await wait_for(stop, left)
    await asyncio.Event().wait()  # the work is over; whoever runs the tasks is ending them


async def wait_for(stop: asyncio.Event, seconds: float) -> None:
    """Sleeps, or wakes when `stop` is set."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
