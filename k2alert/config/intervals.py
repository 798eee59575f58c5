"""Time intervals and the moments of digests, as they are written: checked models, and what the program uses.

The sheet goes in, the intervals by name come out; what is wrong is told at its place.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from k2alert.collect.settings import Settings
from k2alert.config.report import shown
from k2alert.config.sheet import Sheet
from k2alert.intervals import (
    Interval,
    Moments,
    Range,
    Span,
    parse_days,
    parse_moments,
    parse_months,
    parse_time,
    parse_weekdays,
    parse_years,
    parse_zone,
)

__all__ = ["DigestMoments", "TimeInterval", "read_intervals"]


def _read(parse: Callable[[str], Any]) -> PlainValidator:
    """A value read from text, or from a number where YAML made it one."""

    def read(value: Any) -> Any:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError("must be text")
        return parse(str(value))

    return PlainValidator(read)


def _check_time(text: str) -> str:
    parse_time(text)
    return text


def _schema(*examples: str, number: bool = False) -> WithJsonSchema:
    written = [{"type": "string"}, {"type": "integer"}] if number else [{"type": "string"}]
    return WithJsonSchema(
        {"anyOf": written, "examples": list(examples)} if number else {**written[0], "examples": list(examples)}
    )


ClockTime = Annotated[str, AfterValidator(_check_time), WithJsonSchema({"type": "string", "examples": ["09:00"]})]
Weekdays = Annotated[Range, _read(parse_weekdays), _schema("monday:friday", "sunday")]
Days = Annotated[Range, _read(parse_days), _schema("1:5", "-1", number=True)]
Months = Annotated[Range, _read(parse_months), _schema("january", "4:6", number=True)]
Years = Annotated[Range, _read(parse_years), _schema("2026", "2026:2028", number=True)]
Zone = Annotated[ZoneInfo, _read(parse_zone), _schema("UTC", "Europe/Berlin")]
DigestMoments = Annotated[Moments, _read(parse_moments), _schema("Mon 09:00 Europe/Berlin", "daily 09:00 UTC")]


class TimeRange(Settings):
    """From `start_time` to `end_time` of a day."""

    start_time: ClockTime = Field(description="Inside.")
    end_time: ClockTime = Field(description="Not inside; 24:00 is midnight.")

    @model_validator(mode="after")
    def _forwards(self) -> "TimeRange":
        if parse_time(self.start_time) >= parse_time(self.end_time):
            raise ValueError("a time range must end after it starts; over midnight it takes two")
        return self

    def range(self) -> Range:
        """In minutes of the day."""
        return Range(parse_time(self.start_time), parse_time(self.end_time))


class TimeSpan(Settings):
    """One of the spans of a time interval, as in Alertmanager: all that is given must hold."""

    times: tuple[TimeRange, ...] = Field(default=(), description="Times of the day.")
    weekdays: tuple[Weekdays, ...] = Field(default=(), description='"monday:friday", "sunday"')
    days_of_month: tuple[Days, ...] = Field(default=(), description='"1:5", "-3:-1"; -1 is the last.')
    months: tuple[Months, ...] = Field(default=(), description='"january", "4:6"')
    years: tuple[Years, ...] = Field(default=(), description='"2026", "2026:2028"')
    location: Zone | None = Field(default=None, description="The time zone, such as Europe/Berlin; default: UTC.")

    def span(self) -> Span:
        """What the program uses."""
        return Span(
            tuple(one.range() for one in self.times),
            self.weekdays,
            self.days_of_month,
            self.months,
            self.years,
            self.location or ZoneInfo("UTC"),
        )


class TimeInterval(Settings):
    """A named set of times, for routes to be mute and for rules to leave out."""

    name: str = Field(min_length=1, description="What routes and rules call it.")
    time_intervals: tuple[TimeSpan, ...] = Field(description="It lasts while any of them does.")


def read_intervals(sheet: Sheet) -> tuple[frozenset[str], Mapping[str, Interval]]:
    """The names of all time intervals, the badly written too, for they are meant to be there; and the good ones."""
    names: set[str] = set()
    found: dict[str, Interval] = {}
    for path, written in sheet.items(("time_intervals",)):
        settings = sheet.read(TimeInterval, path)
        name = written.get("name") if isinstance(written, dict) else None
        if not isinstance(name, str):
            continue
        if name in names:
            sheet.error((*path, "name"), f"name: two time intervals are called {shown(name)}")
        names.add(name)
        if settings is not None:
            found[name] = Interval(name, tuple(span.span() for span in settings.time_intervals))
    return frozenset(names), found
