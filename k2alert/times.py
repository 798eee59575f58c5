"""Durations and instants: text in, text out; no clock.

Durations are written as Prometheus writes them (`30s`, `24h`, `7d`, `1h30m`), instants are aware UTC
datetimes everywhere, and whole milliseconds since the epoch in the store and in the arrays of `measure`.
"""

import re
from datetime import UTC, datetime, timedelta

__all__ = [
    "EPOCH",
    "format_duration",
    "from_ms",
    "human_duration",
    "iso",
    "parse_asked",
    "parse_duration",
    "parse_instant",
    "to_ms",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
# The grammar of Prometheus's model.ParseDuration: units from large to small, each at most once.
_DURATION = re.compile(
    r"(?:(?P<y>\d+)y)?(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?"
)
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_LONGEST = timedelta(days=365 * 100)
_MILLISECOND = timedelta(milliseconds=1)
# GitLab's webhooks write `2016-08-12 15:23:28 UTC` and `2021-04-28 21:50:00 +0200`.
_SPACED_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}(?:\.\d+)?) ?(UTC|[+-]\d{2}:?\d{2})")


def parse_duration(text: str) -> timedelta:
    """A duration written as Prometheus does (`1h30m`; `0` alone is allowed).

    Raises `ValueError` with a message for the person who wrote it.
    """
    if text == "0":
        return timedelta(0)
    found = _DURATION.fullmatch(text) if text and len(text) <= 40 and text.isascii() else None
    if found is None:
        raise ValueError(f"not a duration: {text[:40]!r} (write it as 30s, 5m, 24h, 7d or 1h30m)")
    milliseconds = sum(int(number) * _UNITS_MS[unit] for unit, number in found.groupdict().items() if number)
    if milliseconds > _LONGEST / _MILLISECOND:
        raise ValueError(f"duration too long: {text!r} (at most 100y)")
    return timedelta(milliseconds=milliseconds)


def format_duration(length: timedelta) -> str:
    """The shortest exact Prometheus form: `24h` prints as `1d`, 90 minutes as `1h30m`."""
    left = abs(length) // _MILLISECOND
    if not left:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if length < timedelta(0) else "") + "".join(parts)


def human_duration(length: timedelta) -> str:
    """The two largest units, for people: `2d 3h`, `14m 5s`, `0s`."""
    left = abs(length) // timedelta(seconds=1)
    parts: list[tuple[int, str]] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _UNITS_MS[unit] // 1000)
        if count or parts:
            parts.append((count, unit))
    shown = [f"{count}{unit}" for count, unit in parts[:2] if count]
    return ("-" if length < timedelta(0) and shown else "") + (" ".join(shown) or "0s")


def parse_instant(text: str) -> datetime:
    """An aware UTC datetime from any of the forms the forges write.

    Reads ISO 8601 (an absent zone is UTC, as the forges' servers mean it) and the two spaced forms of
    GitLab's webhooks. Raises `ValueError`.
    """
    spaced = _SPACED_INSTANT.fullmatch(text)
    if spaced:
        day, clock, zone = spaced.groups()
        text = f"{day}T{clock}{'+00:00' if zone == 'UTC' else zone}"
    at = datetime.fromisoformat(text)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # the year 1 east of Greenwich, or 9999 west of it
        raise ValueError(f"before or after all years: {text!r}") from None


def parse_asked(text: str) -> datetime:
    """An instant that somebody asks about, far enough from the ends of the calendar to look back and forth from it.

    Raises `ValueError`.
    """
    at = parse_instant(text)
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"not between the years {_FIRST_YEAR} and {_LAST_YEAR}: {text!r}")
    return at


def to_ms(at: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down."""
    return (at - EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of whole milliseconds since the epoch."""
    return EPOCH + timedelta(milliseconds=ms)


def iso(at: datetime) -> str:
    """RFC 3339 in UTC with a `Z`, with milliseconds only where there are any."""
    spec = "milliseconds" if at.microsecond >= 1000 else "seconds"
    return at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")
