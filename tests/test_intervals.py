"""Time intervals as Alertmanager has them, and the moments of digests, over calendars and changes of the clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from k2alert.intervals import (
    Interval,
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

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# 2026-01-05 is a Monday; in Berlin the clock goes forward on 2026-03-29 and back on 2026-10-25.
@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (Span(), ["2026-01-05T00:00"], []),
        (Span(times=(Range(540, 1020),)), ["2026-01-05T09:00", "2026-01-05T16:59:59"], ["2026-01-05T17:00"]),
        (Span(times=(Range(0, 60), Range(1380, 1440))), ["2026-01-05T23:59:59", "2026-01-05T00:30"], ["2026-01-05T01"]),
        (Span(weekdays=(Range(1, 5),)), ["2026-01-05", "2026-01-09T23:59"], ["2026-01-04", "2026-01-10"]),
        (Span(weekdays=(Range(0, 0), Range(6, 6))), ["2026-01-04", "2026-01-10"], ["2026-01-05"]),
        (Span(weekdays=(Range(5, 8),)), ["2026-01-09", "2026-01-10", "2026-01-11", "2026-01-12"], ["2026-01-13"]),
        (Span(days_of_month=(Range(1, 5),)), ["2026-01-01", "2026-01-05"], ["2026-01-06", "2026-01-31"]),
        (
            Span(days_of_month=(Range(-3, -1),)),
            ["2026-02-26", "2026-02-28", "2028-02-29"],
            ["2026-02-25", "2028-02-26"],
        ),
        (Span(days_of_month=(Range(29, 31),)), ["2026-01-29", "2028-02-29"], ["2026-02-28"]),
        (Span(days_of_month=(Range(-31, -1),)), ["2026-02-01", "2026-02-28"], []),
        (Span(months=(Range(4, 6),), years=(Range(2026, 2026),)), ["2026-04-01", "2026-06-30"], ["2027-04-01"]),
        (
            Span(times=(Range(540, 600),), location=BERLIN),
            ["2026-01-05T08:00", "2026-07-06T07:00"],
            ["2026-07-06T08:00"],
        ),
        (Span(weekdays=(Range(1, 1),), location=BERLIN), ["2026-01-04T23:00"], ["2026-01-05T23:00"]),
    ],
)
def test_a_span_holds_where_all_that_it_names_does(span: Span, inside: list[str], outside: list[str]) -> None:
    assert [text for text in inside if not span.contains(at(text))] == []
    assert [text for text in outside if span.contains(at(text))] == []


def test_an_interval_lasts_while_any_of_its_spans_does_and_one_without_never_does() -> None:
    weekend = Interval("weekend", (Span(weekdays=(Range(6, 6),)), Span(weekdays=(Range(0, 0),))))
    assert [weekend.contains(at(f"2026-01-{day:02}")) for day in (9, 10, 11, 12)] == [False, True, True, False]
    assert not Interval("never").contains(at("2026-01-05"))


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (parse_time, "09:30", 570),
        (parse_time, "24:00", 1440),
        (parse_weekdays, "Monday:Friday", (1, 5)),
        (parse_weekdays, "sunday", (0, 0)),
        (parse_weekdays, "saturday:sunday", (6, 7)),
        (parse_days, "1:5", (1, 5)),
        (parse_days, "-3:-1", (-3, -1)),
        (parse_days, "1:-1", (1, -1)),
        (parse_days, "-1", (-1, -1)),
        (parse_months, "january:3", (1, 3)),
        (parse_months, "12", (12, 12)),
        (parse_years, "2026:2028", (2026, 2028)),
    ],
)
def test_what_people_write_is_read_as_alertmanager_reads_it(read: object, text: str, value: object) -> None:
    assert read(text) == value  # type: ignore[operator]


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (parse_time, ["9:30", "24:01", "25:00", "09:60", "", "0９:30"]),
        (parse_weekdays, ["mon", "monday:tuesday:friday", "1", ""]),
        (parse_days, ["0", "32", "-32", "5:1", "-1:5", "-1:-3", "1.5", "x"]),
        (parse_months, ["13", "0", "march:january", "mar"]),
        (parse_years, ["2028:2026", "20260", "MMXXVI"]),
        (parse_zone, ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "Europe", "\0", "x" * 5000]),
        (
            parse_moments,
            [
                "",
                "Mon",
                "09:00",
                "Mon 9:00",
                "Mon 24:00",
                "Mon 09:00 Nowhere",
                "Mo 09:00",
                "Mon 09:00 UTC now",
                "Mon, 09:00",
            ],
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(read: object, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=r"^must "):
            read(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "now", "last"),
    [
        ("Mon 09:00 UTC", "2026-01-05T09:00", "2026-01-05T09:00"),
        ("Mon 09:00 UTC", "2026-01-05T08:59:59", "2025-12-29T09:00"),
        ("Mon 09:00", "2026-01-11T23:00", "2026-01-05T09:00"),
        ("mon,thu 09:00 UTC", "2026-01-09T00:00", "2026-01-08T09:00"),
        ("monday:friday 09:00 UTC", "2026-01-11T12:00", "2026-01-09T09:00"),
        ("fri:mon 09:00 UTC", "2026-01-11T12:00", "2026-01-11T09:00"),
        ("daily 09:00 Europe/Berlin", "2026-07-06T07:30", "2026-07-06T07:00"),
        ("daily 09:00 Europe/Berlin", "2026-01-05T07:30", "2026-01-04T08:00"),
        ("daily 00:30 Pacific/Auckland", "2026-01-05T11:31", "2026-01-05T11:30"),
        # 02:30 is skipped on the 29th of March, and there twice on the 25th of October.
        ("daily 02:30 Europe/Berlin", "2026-03-29T01:29", "2026-03-28T01:30"),
        ("daily 02:30 Europe/Berlin", "2026-03-29T01:31", "2026-03-29T01:30"),
        ("daily 02:30 Europe/Berlin", "2026-10-25T00:31", "2026-10-25T00:30"),
        ("daily 02:30 Europe/Berlin", "2026-10-25T01:31", "2026-10-25T00:30"),
    ],
)
def test_the_last_moment_of_a_digest_is_known_from_the_calendar_alone(text: str, now: str, last: str) -> None:
    assert parse_moments(text).last_before(at(now)) == at(last)


@pytest.mark.parametrize(
    ("text", "now", "following"),
    [
        ("Mon 09:00 Europe/Berlin", "2026-01-10T00:00", "2026-01-12T08:00"),
        ("Mon 09:00 Europe/Berlin", "2026-01-12T08:00", "2026-01-19T08:00"),
        ("fri:mon 09:00 UTC", "2026-01-05T10:00", "2026-01-09T09:00"),
        ("daily 09:00 UTC", "2026-01-05T08:59", "2026-01-05T09:00"),
    ],
)
def test_the_next_moment_of_a_digest_is_known_too(text: str, now: str, following: str) -> None:
    assert parse_moments(text).next_after(at(now)) == at(following)


def test_every_day_of_a_year_has_one_moment_of_a_daily_digest_whatever_the_clock_does() -> None:
    moments = parse_moments("daily 02:30 Europe/Berlin")
    start = at("2026-01-01T00:00")
    met = {moments.last_before(start + timedelta(minutes=10) * step) for step in range(366 * 144)}
    assert len({one.astimezone(BERLIN).date() for one in met}) == len(met) == 367
