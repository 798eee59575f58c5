"""How long a period or a window is: `24h`, or `20 runs`.

Text from a rule comes in; a `Window` goes out. Rules write it as their `period`, conditions in `value(…, window=…)`.
"""

import re

from k2alert.model import Window
from k2alert.times import parse_duration

__all__ = ["parse_window"]

_RUNS = re.compile(r"([1-9][0-9]{0,5}) runs?")


def parse_window(text: str) -> Window:
    """A window as rules write it: a duration longer than nothing, or the last `N runs`.

    Raises `ValueError` with a message for the person who wrote it.
    """
    runs = _RUNS.fullmatch(text)
    if runs:
        return Window(runs=int(runs[1]))
    try:
        length = parse_duration(text)
    except ValueError:
        raise ValueError(f'not a length of time: {text[:40]!r} (write it as "24h", "7d" or "20 runs")') from None
    if not length:
        raise ValueError(f"{text!r} is no time at all")
    return Window(length=length)
