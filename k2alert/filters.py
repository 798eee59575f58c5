"""Values inside templates: how they are shown, computed with and filtered.

Values of metrics, labels and evidence come in; text, numbers or `NO_DATA` go out. Everything here is bounded:
whatever the arguments, no function returns more than `LONGEST_TEXT` characters or `MOST_ITEMS` items, and none
fails on data: what cannot be computed is no data.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote

from jinja2.filters import do_title

from k2alert.times import human_duration, iso

__all__ = [
    "FILTERS",
    "LONGEST_TEXT",
    "MOST_ITEMS",
    "NO_DATA",
    "TESTS",
    "calculate",
    "clip",
    "items_of",
    "known",
    "show",
]

LONGEST_TEXT = 500
"""A value longer than this is cut; a forge's commit title can be a megabyte."""
MOST_ITEMS = 20
"""What a loop sees at most; evidence lists ten runs."""

_MOST_DECIMALS = 15
_SIGNIFICANT = 6


class _NoData:
    """No data, as templates see it: false, empty, equal to nothing but itself and `none`, in no order."""

    __slots__ = ()

    def __str__(self) -> str:
        return "no data"

    __repr__ = __str__

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: object) -> "_NoData":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __eq__(self, other: object) -> bool:
        return other is self or other is None

    def __hash__(self) -> int:
        return hash(None)

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__


NO_DATA = _NoData()


def known(value: Any) -> Any:
    """A value as templates may see it: nothing missing, no endless text."""
    if value is None:
        return NO_DATA
    return clip(value) if isinstance(value, str) else value


def clip(text: str) -> str:
    """The text, cut at `LONGEST_TEXT` characters with an ellipsis."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def show(value: Any) -> str:
    """A value as a message prints it.

    Numbers have six significant digits, but never lose one before the point, and no trailing zeros: 0.1 + 0.2 is
    `0.3`, 1234567.8 is `1234568`. Instants are RFC 3339, lengths of time their two largest units.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _show_number(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return human_duration(value)
    return "no data" if value is None else clip(str(value))


def _show_number(number: float) -> str:
    if not _is_finite(number):
        return "no data"
    if isinstance(number, int):
        return str(number)
    if abs(number) < 1e-6:
        return "0" if number == 0 else f"{number:.{_SIGNIFICANT}g}"
    return _trimmed(number, max(0, _SIGNIFICANT - 1 - math.floor(math.log10(abs(number)))))


def _trimmed(number: float, decimals: int) -> str:
    text = f"{number:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond every float
        return False


# -------------------------------------------------------------------------------------------- operators

_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_SIGNS: Mapping[str, Callable[..., Any]] = {"+": operator.pos, "-": operator.neg}


def calculate(sign: str, *operands: Any) -> Any:
    """`+ - * /` between numbers, or the length of time between two instants; anything else is no data."""
    if sign == "-" and len(operands) == 2 and all(isinstance(operand, datetime) for operand in operands):
        return operands[0] - operands[1]
    if not all(_is_number(operand) for operand in operands):
        return NO_DATA
    try:
        result = (_SIGNS if len(operands) == 1 else _OPERATIONS)[sign](*operands)
        return result if math.isfinite(result) else NO_DATA
    except (ZeroDivisionError, OverflowError):
        return NO_DATA


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    """The value as a number, from the text of a label too, or no data."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return NO_DATA
    return value if _is_number(value) and _is_finite(value) else NO_DATA


def items_of(value: Any) -> list[Any]:
    """What a loop sees of a value: nothing of what is no list, and of labels their names."""
    if isinstance(value, str) or not isinstance(value, Sequence | Mapping):
        return []
    return [known(item) for item in islice(value, MOST_ITEMS)]


# ---------------------------------------------------------------------------------------------- filters


def _of_number(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter for numbers: anything else is no data."""

    def apply(value: Any, *arguments: Any, **keywords: Any) -> Any:
        number = _number(value)
        try:
            return NO_DATA if number is NO_DATA else function(number, *arguments, **keywords)
        except OverflowError:
            return NO_DATA

    return apply


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter for text: no data stays what it is, anything else is taken as it would be shown."""

    def apply(value: Any, *arguments: Any, **keywords: Any) -> Any:
        return NO_DATA if value is NO_DATA else known(function(show(value), *arguments, **keywords))

    return apply


def _of_items(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(value: Any, *arguments: Any, **keywords: Any) -> Any:
        return NO_DATA if value is NO_DATA else function(items_of(value), *arguments, **keywords)

    return apply


def _decimals(digits: Any) -> int:
    number = _number(digits)
    return 0 if number is NO_DATA else min(_MOST_DECIMALS, max(0, int(number)))


def _percent(ratio: float, digits: Any = 2) -> Any:
    """0.9312 is `93.12%` and 0.95 is `95%`: two decimals at most, without trailing zeros."""
    percentage = calculate("*", ratio, 100)
    return NO_DATA if percentage is NO_DATA else _trimmed(percentage, _decimals(digits)) + "%"


_MINUTES = {"seconds": 1 / 60, "minutes": 1.0, "hours": 60.0}


def _duration(value: Any, unit: Any = "minutes") -> Any:
    """A length of time, or a number of minutes: that is what metrics of time are in, but for the few in hours."""
    if isinstance(value, timedelta):
        return human_duration(value)
    number = _number(value)
    if number is NO_DATA or unit not in _MINUTES:
        return NO_DATA
    try:
        # Rounded, not cut: half a minute computed in binary may be a hair less.
        return human_duration(timedelta(seconds=round(number * _MINUTES[unit] * 60)))
    except OverflowError:
        return NO_DATA


_ROUNDINGS: Mapping[str, Callable[[float], float]] = {"ceil": math.ceil, "floor": math.floor, "common": round}


def _round(number: float, precision: Any = 0, method: Any = "common") -> Any:
    digits = _decimals(precision)
    if method == "common":
        return round(number, digits)
    return _ROUNDINGS[method](number * 10**digits) / 10**digits if method in _ROUNDINGS else NO_DATA


def _int(value: Any, default: Any = NO_DATA) -> Any:
    number = _number(value)
    return default if number is NO_DATA else int(number)


def _float(value: Any, default: Any = NO_DATA) -> Any:
    number = _number(value)
    return default if number is NO_DATA else float(number)


def _default(value: Any, instead: Any = "", boolean: Any = False) -> Any:
    """No data and "" (an absent label) are what Jinja calls undefined."""
    return instead if value is NO_DATA or value == "" or (boolean and not value) else value


_SPECIFIER = re.compile(r"%(?:%|[-+ 0#]{0,5}[0-9]{0,2}(?:\.[0-9]{1,2})?([dfFgGeEsx]))")


def _format(pattern: str, *values: Any) -> Any:
    """printf's `%`, its widths bounded to two digits; no data if a value is, or is not what its place takes."""
    specifiers = [found[1] for found in _SPECIFIER.finditer(pattern) if found[1]]
    if len(specifiers) != len(values) or "%" in _SPECIFIER.sub("", pattern):
        return NO_DATA
    shown = [show(value) if kind == "s" else _number(value) for kind, value in zip(specifiers, values, strict=True)]
    if any(value is NO_DATA for value in (*values, *shown)):
        return NO_DATA
    whole = [int(value) if kind in "dx" else value for kind, value in zip(specifiers, shown, strict=True)]
    return pattern % tuple(whole)


def _join(values: list[Any], separator: Any = "") -> str:
    return clip(show(separator).join(show(value) for value in values))


def _replace(text: str, old: Any, new: Any, count: Any = LONGEST_TEXT) -> str:
    old, new = show(old), show(new)
    # Each replacement that grows the text adds to it, and so few of them already fill it.
    most = LONGEST_TEXT if len(new) <= len(old) else LONGEST_TEXT // len(new) + 1
    return text.replace(old, new, min(_whole(count), most)) if old else text


def _truncate(text: str, length: Any = 255, killwords: Any = False, end: Any = "…") -> str:
    most, mark = _whole(length), show(end)
    if len(text) <= most:
        return text
    kept = text[: max(0, most - len(mark))]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + mark


def _whole(count: Any) -> int:
    number = _number(count)
    return 0 if number is NO_DATA else max(0, int(number))


def _length(value: Any) -> Any:
    return len(value) if isinstance(value, str) else len(items_of(value))


def _items(value: Any) -> list[Any]:
    """Labels as pairs of name and value; nothing of anything else."""
    return [(known(name), known(value[name])) for name in items_of(value)] if isinstance(value, Mapping) else []


def _sorted(values: list[Any], reverse: Any = False) -> list[Any]:
    """In order of numbers, or else of what is shown; no data last."""
    known_ones = [value for value in values if value is not NO_DATA]
    numbers = all(_is_number(value) for value in known_ones)
    ordered = sorted(known_ones, key=None if numbers else show, reverse=bool(reverse))
    return ordered + [NO_DATA] * (len(values) - len(known_ones))


def _unique(values: list[Any]) -> list[Any]:
    return list({show(value): value for value in reversed(values)}.values())[::-1]


FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": _of_number(abs),
    "capitalize": _of_text(str.capitalize),
    "count": _length,
    "d": _default,
    "default": _default,
    "duration": _duration,
    "first": _of_items(lambda values: values[0] if values else NO_DATA),
    "float": _float,
    "format": _of_text(_format),
    "int": _int,
    "items": _items,
    "join": _of_items(_join),
    "last": _of_items(lambda values: values[-1] if values else NO_DATA),
    "length": _length,
    "lower": _of_text(str.lower),
    "percent": _of_number(_percent),
    "replace": _of_text(_replace),
    "reverse": _of_items(lambda values: values[::-1]),
    "round": _of_number(_round),
    "sort": _of_items(_sorted),
    "string": _of_text(str),
    "title": _of_text(do_title),
    "trim": _of_text(str.strip),
    "truncate": _of_text(_truncate),
    "unique": _of_items(_unique),
    "upper": _of_text(str.upper),
    "urlencode": _of_text(lambda text: quote(text, safe="/")),
}
"""Ours (`percent`, `duration`) and those of Jinja2's own that cannot make much of little, bounded."""

TESTS: Mapping[str, Callable[..., bool]] = {
    "defined": lambda value: value is not NO_DATA and value != "",
    "undefined": lambda value: value is NO_DATA or value == "",
    "none": lambda value: value is NO_DATA or value is None,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
}
"""`defined` is what `default` leaves as it is."""
