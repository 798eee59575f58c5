"""The garbage collector, kept from holding the loop.

It looks through every object that may be part of a cycle, in one go: with the history of ten thousand projects that
takes a second. Nearly all that a daemon holds is in no cycle and goes when nobody refers to it; and what is, such as a
failed request with its trace, dies young. So what stays is left out for good, and old objects are looked through once
an hour and not whenever many came.
"""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

__all__ = ["LOOK_EVERY", "give_back", "leave_out", "look_through", "paused"]

LOOK_EVERY = timedelta(hours=1)
"""How often `look_through` is to be called."""

_YOUNG = 2_000  # objects more than before, until the youngest are looked through: a millisecond or two
_MIDDLE = 10  # times of these, until those that outlived it are: some ten milliseconds
_NEVER = 1_000_000  # times of those: old objects wait for `look_through`


def leave_out() -> None:
    """Leaves all that is held now out of every collection to come; what is young and in dead cycles goes first."""
    gc.collect(1)
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)


def give_back() -> None:
    """Gives what was only needed on the way here back to the system; with gigabytes that takes half a second.

    The C library's heap keeps pages that nothing is in any more; glibc can be told not to, others do not say.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def paused() -> Iterator[None]:
    """No collection meanwhile: for millions of objects that are in no cycle and gone in a moment."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def look_through() -> None:
    """Collects what has come since, old objects too."""
    gc.collect()
