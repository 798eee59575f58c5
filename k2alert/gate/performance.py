"""Benchmarks of two files as a gate: slower by more than a threshold, and by more than their own noise.

The noise is that of the difference of two medians, from each file's spread and number of rounds (standard error of a
median: 1.2533 σ/√n). Where a file does not say how many rounds its spread is of, both spreads together are the noise;
where it has no spread, the threshold alone decides.
"""

from math import sqrt

from k2alert.formats import Benchmarks
from k2alert.gate.verdict import Line, Verdict
from k2alert.model import BenchmarkPoint

__all__ = ["judge_performance"]

_MEDIAN_ERROR = 1.2533
_SIGMAS = 3.0  # one in some hundred benchmarks without a change is taken for slower by noise alone


def judge_performance(current: Benchmarks, baseline: Benchmarks, *, threshold: float) -> Verdict | None:
    """Each benchmark that both files have, the worst first, then those that one has; None where none is in both."""
    now = {point.name: point for point in current.points}
    before = {point.name: point for point in baseline.points}
    both = [(now[name], before[name]) for name in now if name in before]
    if not both:
        return None
    judged = sorted((_judge(new, old, threshold) for new, old in both), key=lambda pair: -pair[0])
    alone = [Line(name, _value(point), note="new") for name, point in now.items() if name not in before]
    alone += [Line(name, _value(point), note="gone") for name, point in before.items() if name not in now]
    return Verdict("performance", (*(line for _, line in judged), *alone), tuple(_notes(current, baseline)))


def _judge(new: BenchmarkPoint, old: BenchmarkPoint, threshold: float) -> tuple[float, Line]:
    """How much worse it is, as a share of the baseline, and what to say of it."""
    limit = f"at most {threshold:.1%} worse"
    if new.unit != old.unit or old.value <= 0 or new.value < 0:
        why = "another unit" if new.unit != old.unit else "a baseline that is not above zero"
        return float("-inf"), Line(new.name, _value(new), limit, None, f"not compared: {why}")
    change = new.value / old.value - 1
    worse = change if new.lower_is_better else -change
    noise = _noise(new, old)
    passed = round(worse, 9) <= threshold or worse <= noise
    note = f"from {_value(old)}" + (f", noise {noise:.1%}" if noise else "")
    return worse, Line(new.name, f"{change:+.1%}", limit, passed, f"{note}, now {_value(new)}")


def _noise(new: BenchmarkPoint, old: BenchmarkPoint) -> float:
    """How far the two may differ without any change, as a share of the baseline; 0 where nothing is known."""
    errors = [_error(point) for point in (new, old)]
    return sqrt(sum(error * error for error in errors)) / old.value


def _error(point: BenchmarkPoint) -> float:
    if point.spread is None or point.rounds is None:
        return point.spread or 0.0
    return _SIGMAS * _MEDIAN_ERROR * point.spread / sqrt(point.rounds)


def _notes(current: Benchmarks, baseline: Benchmarks) -> list[str]:
    if not current.cpu or not baseline.cpu or current.cpu == baseline.cpu:
        return []
    return [f"the processors differ: {current.cpu}, before {baseline.cpu}"]


def _value(point: BenchmarkPoint) -> str:
    return f"{point.value:.4g} {point.unit}".rstrip()
