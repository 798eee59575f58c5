"""Work that can be paused: a generator that yields where something else may be done meanwhile, and returns its result.

So what is pure stays so: it knows neither a clock nor an event loop, and who drives it decides how long to go on.
"""

from collections.abc import Generator
from typing import TypeVar

__all__ = ["Pausing", "at_once"]

_Result = TypeVar("_Result")
Pausing = Generator[None, None, _Result]
"""Work with pauses."""


def at_once(work: Pausing[_Result]) -> _Result:
    """What the work comes to, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _Result = end.value
            return result
