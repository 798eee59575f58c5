"""Work that Ctrl-C ends at once, also while it computes."""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the work comes to, as `asyncio.run` has it.

    asyncio's own handler of SIGINT cancels a task at its next await, and a rehearsal computes for minutes without any.
    """
    if threading.current_thread() is not threading.main_thread():  # where no handler can be set, and none is called
        return asyncio.run(work)
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        return asyncio.run(work)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
