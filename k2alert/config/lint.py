"""What a rule or a route tree may say, and can hardly mean: warnings, each with a code (see `codes`).

A rule's compiled conditions and what is written beside them come in; out go warnings, each at a key of the rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from k2alert.config.report import did_you_mean, shown
from k2alert.config.scope import RuleScope
from k2alert.judge.condition import Condition
from k2alert.judge.lint import overlap, suspicions
from k2alert.labels import Matcher, parse_matcher
from k2alert.model import Event, Needs, RefType, Result, Window
from k2alert.notify.route import Route
from k2alert.times import format_duration

__all__ = ["Remark", "shadowed_by", "warnings_of"]

_VALUES: Mapping[str, tuple[str, ...]] = {
    "ref_type": tuple(RefType),
    "event": tuple(Event),
    "result": tuple(Result),
}
"""Labels whose values are all known."""

_CONFIDENT = frozenset({"lower", "upper", "samples"})
"""Calls that take the number of samples into account."""


class Remark(NamedTuple):
    """A warning at a key of a rule; `offset`: at this character of the text there."""

    keys: tuple[str | int, ...]
    code: str
    text: str
    offset: int | None = None


def warnings_of(
    condition: Condition, clear: Condition | None, data: Mapping[str, Any], window: Window, scope: RuleScope
) -> Iterator[Remark]:
    """Everything to say of a rule that is well written; `data` is the rule with its file's defaults."""
    for key, text in (("condition", condition), ("clear", clear)):
        for found in suspicions(text, scope.metrics, clear=key == "clear") if text is not None else ():
            yield Remark((key,), found.code, f"{key}: {found.text}", found.offset)
    if clear is not None and overlap(condition, clear, scope.metrics):
        yield Remark(("clear",), "overlap", "clear: can be true together with the condition: leave a gap between them")
    yield from _of_samples(condition, data, scope)
    yield from _of_windows(condition, window, scope)
    yield from _of_matchers(data)


def _of_samples(condition: Condition, data: Mapping[str, Any], scope: RuleScope) -> Iterator[Remark]:
    if "min_samples" in data or any(use.call in _CONFIDENT for use in condition.uses):
        return
    ratios = sorted({use.metric for use in condition.uses if scope.metrics[use.metric].needs is Needs.RATIO})
    if ratios:
        text = f"condition: {ratios[0]} of a single sample is 0 or 1: add min_samples, such as min_samples: 10"
        yield Remark(("condition",), "min-samples", text)


def _of_windows(condition: Condition, window: Window, scope: RuleScope) -> Iterator[Remark]:
    slowest = scope.poll_interval
    if slowest is None:
        return
    if _is_short(window.length, slowest):
        text = f"period: shorter than the time between two looks ({format_duration(slowest)}): mostly empty"
        yield Remark(("period",), "window", text)
    for use in condition.uses:
        if use.window is not None and _is_short(use.window.length, slowest):
            text = f"condition: a window shorter than the time between two looks ({format_duration(slowest)})"
            yield Remark(("condition",), "window", text, use.column_offset)


def _is_short(length: timedelta | None, slowest: timedelta) -> bool:
    return length is not None and length < slowest


def _of_matchers(data: Mapping[str, Any]) -> Iterator[Remark]:
    written = data.get("match")
    for index, text in enumerate(written if isinstance(written, list) else ()):
        matcher = _matcher(text)
        values = _VALUES.get(matcher.name) if matcher is not None else None
        if matcher is None or values is None or matcher.op not in ("=", "!=") or matcher.value in ("", *values):
            continue
        near = did_you_mean(matcher.value, values)
        known = "" if near else f"; it is one of {', '.join(values)}"
        yield Remark(("match", index), "value", f"match: {matcher.name} is never {shown(matcher.value)}{near}{known}")


def _matcher(text: Any) -> Matcher | None:
    try:
        return parse_matcher(text) if isinstance(text, str) else None
    except ValueError:
        return None


def shadowed_by(before: Sequence[Route], route: Route) -> Route | None:
    """The sibling before it that takes all that it would: its matchers are among the route's own, and it ends there."""
    mine = set(route.matchers)
    return next((one for one in before if not one.continues and set(one.matchers) <= mine), None)
