"""What the names and functions of contract §2 come to, for one rule, one label set and one time.

Conditions and messages of an alert look through the same scope, so they see the same numbers. Nothing is
measured before it is asked for, and nothing twice.
"""

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, lru_cache
from statistics import median

from k2alert.judge.evaluate import Value
from k2alert.judge.grammar import Use
from k2alert.judge.window import parse_window
from k2alert.labels import Labels
from k2alert.model import Measured, Measuring, Metric, Rule, Window
from k2alert.times import parse_duration

__all__ = ["Scope", "wilson"]

Number = float | int | None

_DAY_MS = 86_400_000
_FEWEST_DAYS = 7  # of a baseline, contract §2
_Z = 1.959963984540054  # the 97.5% quantile of the normal distribution: 95% between both bounds

_MILLISECOND = timedelta(milliseconds=1)


class Scope:
    """The metrics by name and the functions, of `rule` over the series with the labels `identity`, at `at` (ms).

    `labels` are the alert's, for `label()`. A metric with fewer samples than the rule's `min_samples` is no data
    where its kind of number needs samples.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        identity: Labels,
        labels: Labels,
        measures: Measuring,
        metrics: Mapping[str, Metric],
        at: int,
    ) -> None:
        self._rule = rule
        self._identity = identity
        self._labels = labels
        self._measures = measures
        self._metrics = metrics
        self._at = at
        self._own: dict[str, Measured] = {}
        self._known: dict[tuple[str, Window, int], Measured] = {}

    def __getitem__(self, name: str) -> Number:
        found = self._own.get(name)
        return (self._over_period(name) if found is None else found).value

    def move(self, at: int) -> None:
        """Look at another time (ms) from now on."""
        self._at = at
        self._own.clear()
        self._known.clear()

    @cached_property
    def functions(self) -> Mapping[str, Callable[..., Value]]:
        """The functions of contract §2 by name."""
        return {
            **_PLAIN,
            "value": self._value,
            "baseline": self._baseline,
            "samples": self._samples,
            "lower": self._lower,
            "upper": self._upper,
            "absent": self._absent,
            "default": self._default,
            "label": self._label,
        }

    def samples_of(self, use: Use) -> int:
        """How many samples are behind a use of a metric."""
        if use.window is None and not use.offset:
            return self._over_period(use.metric).samples
        at = self._at - use.offset // _MILLISECOND
        return self._measured(use.metric, use.window or self._rule.window, at).samples

    def _over_period(self, name: str) -> Measured:
        found = self._own.get(name)
        if found is None:
            found = self._own[name] = self._measure(name, self._rule.window, self._at)
        return found

    def _measured(self, name: str, window: Window, at: int) -> Measured:
        asked = (name, window, at)
        found = self._known.get(asked)
        if found is None:
            found = self._known[asked] = self._measure(name, window, at)
        return found

    def _measure(self, name: str, window: Window, at: int) -> Measured:
        rule = self._rule
        found = self._measures.measure(rule.selection, name, self._identity, window, at)
        if found.samples < rule.min_samples and self._metrics[name].needs.samples:
            return Measured(None, found.samples)
        return found

    def _value(self, name: str, window: str | None = None, offset: str = "0") -> Number:
        over = self._rule.window if window is None else _window(window)
        return self._measured(name, over, self._at - _milliseconds(offset)).value

    def _baseline(self, name: str, length: str) -> Number:
        """The median of the metric's values over each UTC day, or the part of one, in the time before the window."""
        end = self._at - self._rule.window.look_back // _MILLISECOND
        start = end - _milliseconds(length)
        values = [self._over(name, max(day, start), min(day + _DAY_MS, end)) for day in _days(start, end)]
        known = [value for value in values if value is not None]
        return median(known) if len(known) >= _FEWEST_DAYS else None

    def _over(self, name: str, start: int, end: int) -> Number:
        found = self._measured(name, Window(length=(end - start) * _MILLISECOND), end)
        # A count is 0 on a day without a run, which is no day with data.
        return found.value if found.samples else None

    def _samples(self, name: str) -> int:
        return self._over_period(name).samples

    def _lower(self, name: str) -> Number:
        return self._bound(name, -1)

    def _upper(self, name: str) -> Number:
        return self._bound(name, +1)

    def _bound(self, name: str, sign: int) -> Number:
        ratio = self[name]
        return None if ratio is None else wilson(ratio, self._samples(name), sign)

    def _absent(self, name: str) -> bool:
        return self[name] is None

    def _default(self, name: str, instead: Number) -> Number:
        value = self[name]
        return instead if value is None else value

    def _label(self, name: str, instead: float | int | str) -> float | int | str:
        """The label, as a number where the default is one; the default where it is absent or no number."""
        text = self._labels.get(name, "")
        if isinstance(instead, str):
            return text or instead
        try:
            number = float(text)
        except ValueError:
            return instead
        return number if math.isfinite(number) else instead


def wilson(ratio: float, samples: int, sign: int) -> float | None:
    """A bound of the 95% Wilson score interval of a ratio: the lower for sign -1, the upper for +1.

    None without samples. E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927).
    """
    if samples <= 0:
        return None
    spread = _Z * math.sqrt((ratio * (1 - ratio) + _Z * _Z / (4 * samples)) / samples)
    bound = (ratio + _Z * _Z / (2 * samples) + sign * spread) / (1 + _Z * _Z / samples)
    return min(1.0, max(0.0, bound))


def _days(start: int, end: int) -> range:
    """The beginnings of the UTC days that overlap with a span."""
    return range(start // _DAY_MS * _DAY_MS, end, _DAY_MS)


# The same few literals are read at every evaluation.
_window = lru_cache(maxsize=1024)(parse_window)


@lru_cache(maxsize=1024)
def _milliseconds(text: str) -> int:
    return parse_duration(text) // _MILLISECOND


def _none_safe(function: Callable[..., Value]) -> Callable[..., Value]:
    def compute(*arguments: Value) -> Value:
        return None if None in arguments else function(*arguments)

    return compute


_PLAIN: Mapping[str, Callable[..., Value]] = {
    "abs": _none_safe(abs),
    "min": _none_safe(min),
    "max": _none_safe(max),
    "round": _none_safe(round),
}
