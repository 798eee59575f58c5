"""Times that recur: time intervals in Alertmanager's words, and the moments of the week at which a digest is due.

Text goes in once, when a configuration is read; then an instant goes in, and out comes whether it lies inside, or
when the last moment was. Zones are those of the IANA database, so both are right over changes of the clock. See
https://prometheus.io/docs/alerting/latest/configuration/#time_interval for what each field means.
"""

import re
from calendar import monthrange
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

__all__ = [
    "Interval",
    "Moments",
    "Range",
    "Span",
    "parse_days",
    "parse_moments",
    "parse_months",
    "parse_time",
    "parse_weekdays",
    "parse_years",
    "parse_zone",
]

_DAY_MINUTES = 24 * 60
_DAY_NAMES = "sunday monday tuesday wednesday thursday friday saturday"
_WEEKDAYS = {name: number for number, name in enumerate(_DAY_NAMES.split())}
_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES.split(), start=1)}
_UTC = ZoneInfo("UTC")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_MOMENTS = re.compile(r"(\S+) +(\S+)(?: +(\S+))?")


class Range(NamedTuple):
    """From `first` to `last`, both inside: days of a week (Sunday is 0, and 7 to 13 the next week), months, years."""

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last


@dataclass(frozen=True, slots=True)
class Span:
    """All that is given must hold; what is empty holds always.

    `times` are minutes of the day, the first inside and the last not. Days of a month count from its end where they
    are negative: -1 is the last.
    """

    times: tuple[Range, ...] = ()
    weekdays: tuple[Range, ...] = ()
    days_of_month: tuple[Range, ...] = ()
    months: tuple[Range, ...] = ()
    years: tuple[Range, ...] = ()
    location: ZoneInfo = _UTC

    def contains(self, at: datetime) -> bool:
        """Whether an instant lies inside, by the clock and the calendar of the location."""
        local = at.astimezone(self.location)
        minute = local.hour * 60 + local.minute
        days_in_month = monthrange(local.year, local.month)[1]
        return (
            (not self.times or any(first <= minute < last for first, last in self.times))
            and (_holds(self.weekdays, local.isoweekday() % 7) or _holds(self.weekdays, local.isoweekday() % 7 + 7))
            and (not self.days_of_month or any(_has_day(r, local.day, days_in_month) for r in self.days_of_month))
            and _holds(self.months, local.month)
            and _holds(self.years, local.year)
        )


def _holds(ranges: Collection[Range], number: int) -> bool:
    return not ranges or any(number in one for one in ranges)


def _has_day(days: Range, day: int, days_in_month: int) -> bool:
    first, last = (day if day > 0 else days_in_month + day + 1 for day in days)
    return first <= day <= last


@dataclass(frozen=True, slots=True)
class Interval:
    """A time interval by name: any of its spans; without spans it contains nothing."""

    name: str
    spans: tuple[Span, ...] = ()

    def contains(self, at: datetime) -> bool:
        """Whether an instant lies inside: now, for a route to be mute; a finishing time, for a fact to be left out."""
        return any(span.contains(at) for span in self.spans)


@dataclass(frozen=True, slots=True)
class Moments:
    """Times of the week at which something is due. `weekdays`: Sunday is 0. `minute` of the day there."""

    weekdays: frozenset[int]
    minute: int
    location: ZoneInfo

    def last_before(self, now: datetime) -> datetime:
        """The latest moment that is not after `now`.

        A time that the clock skips is due when it would have been, one that it repeats is due the first time.
        """
        return next(self._backwards(now)).astimezone(UTC)

    def next_after(self, now: datetime) -> datetime:
        """The first moment that is after `now`."""
        ahead = (self.last_before(now + timedelta(days=days)) for days in range(1, 10))
        return next(at for at in ahead if at > now)

    def _backwards(self, now: datetime) -> Iterator[datetime]:
        today = now.astimezone(self.location).date()
        for back in range(9):  # today's may still lie ahead
            day = today - timedelta(days=back)
            if day.isoweekday() % 7 in self.weekdays:
                at = datetime.combine(day, time(*divmod(self.minute, 60)), self.location)
                if at.astimezone(UTC) <= now:
                    yield at


# ------------------------------------------------------------------------------------------- reading


def parse_time(text: str) -> int:
    """The minute of the day of `HH:MM`; 24:00 is the end of the day. Raises `ValueError`, as all here do."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError('must be a time such as "09:30", at most "24:00"')
    return int(found[1]) * 60 + int(found[2]) if found[1] else _DAY_MINUTES


def parse_weekdays(text: str) -> Range:
    """`monday`, `monday:friday`, or, which Alertmanager does not take, over the end of the week: `saturday:sunday`."""
    days = [_named(part, _WEEKDAYS, "a day of the week") for part in _parts(text)]
    first, last = days[0], days[-1]
    return Range(first, last if first <= last else last + 7)


def parse_months(text: str) -> Range:
    """`january`, `1`, or `january:march`."""
    numbers = {**_MONTHS, **{str(number): number for number in _MONTHS.values()}}
    return _ordered([_named(part, numbers, "a month") for part in _parts(text)])


def parse_days(text: str) -> Range:
    """Days of the month, 1 to 31, or from the end, -1 to -31: `1:5`, `-3:-1`, `1:-1`."""
    days = [_number(part) for part in _parts(text)]
    if any(not 1 <= abs(day) <= 31 for day in days):
        raise ValueError("must be days from 1 to 31, or from -1 to -31 counted from the end of the month")
    first, last = days[0], days[-1]
    if first < 0 < last:
        raise ValueError("must end with a negative day where it starts with one")
    # 31 days is the longest a month can be: what is out of order there is never in order.
    if (first if first > 0 else first + 32) > (last if last > 0 else last + 32):
        raise ValueError(_BACKWARDS)
    return Range(first, last)


def parse_years(text: str) -> Range:
    """`2026`, or `2026:2028`."""
    return _ordered([_number(part) for part in _parts(text)])


def parse_zone(name: str) -> ZoneInfo:
    """An IANA zone, such as `Europe/Berlin`."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder, a path out of the database, a name that is not there
        raise ValueError("must be a time zone such as UTC or Europe/Berlin") from None


def parse_moments(text: str) -> Moments:
    """`Mon 09:00 Europe/Berlin`: days (`Mon`, `mon:fri`, `Mon,Thu`, `daily`), a time, and a zone (default UTC)."""
    found = _MOMENTS.fullmatch(text.strip())
    if found is None:
        raise ValueError('must be days, a time and a zone, such as "Mon 09:00 Europe/Berlin" or "daily 09:00 UTC"')
    days, clock, zone = found.groups()
    minute = parse_time(clock)
    if minute == _DAY_MINUTES:
        raise ValueError('must be before 24:00; write the next day\'s "00:00"')
    return Moments(_weekdays_of(days), minute, parse_zone(zone or "UTC"))


_BACKWARDS = "must not end before it starts"


def _weekdays_of(text: str) -> frozenset[int]:
    if text.lower() == "daily":
        return frozenset(_WEEKDAYS.values())
    short = {**_WEEKDAYS, **{name[:3]: number for name, number in _WEEKDAYS.items()}}
    found: set[int] = set()
    for listed in text.split(","):
        days = [_named(part, short, "a day of the week") for part in _parts(listed)]
        first, last = days[0], days[-1]
        found |= {day % 7 for day in range(first, (last if last >= first else last + 7) + 1)}
    return frozenset(found)


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) > 2:
        raise ValueError("must be one, or first:last")
    return parts


def _named(text: str, numbers: Mapping[str, int], what: str) -> int:
    number = numbers.get(text.lower())
    if number is None:
        raise ValueError(f"must be {what}, or first:last")
    return number


def _number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,4}", text):
        raise ValueError("must be a whole number, or first:last")
    return int(text)


def _ordered(numbers: list[int]) -> Range:
    if numbers[0] > numbers[-1]:
        raise ValueError(_BACKWARDS)
    return Range(numbers[0], numbers[-1])
