"""What a series remembers between questions never shows: it answers as one that is asked for the first time."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.measure.columns import DURATIONS, FAILED, UNKNOWN, code_of
from k2alert.measure.series import Series
from k2alert.measure.timeline import NEVER, Row
from k2alert.model import RESULTS, Kind, Window

WINDOWS = [Window(timedelta(milliseconds=400)), Window(timedelta(milliseconds=900)), Window(runs=80)]


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Enough of them that windows hold more than is sorted anew each time; some histories have runs that went again."""
    until = st.sampled_from(draw(st.sampled_from([[NEVER], [*[NEVER] * 20, 700]])))
    return [
        Row(
            finished=draw(st.integers(0, 1000)),
            ref=ref,
            code=code_of(draw(st.integers(0, len(RESULTS) - 1)), False, False),
            duration=draw(st.just(UNKNOWN) | st.integers(0, 50)),
            queued=UNKNOWN,
            created=0,
            lane=0,
            superseded=draw(until),
        )
        for ref in range(draw(st.integers(150, 250)))
    ]


def series_of(some: list[Row]) -> Series:
    made = Series(Kind.RUN)
    for row in some:
        made.insert(row)
    return made


@settings(max_examples=30, deadline=None)
@given(
    held=rows(), late=rows(), asked=st.lists(st.tuples(st.sampled_from(WINDOWS), st.integers(-80, 160)), max_size=15)
)
def test_lengths_are_in_order_wherever_the_window_was_before(
    held: list[Row], late: list[Row], asked: list[tuple[Window, int]]
) -> None:
    series, at = series_of(held), 400
    for number, (window, further) in enumerate(asked):
        at += further
        if number % 6 == 5:
            series.insert(late[number]._replace(ref=1000 + number))
            held = [*held, late[number]._replace(ref=1000 + number)]
        if number % 7 == 6:
            series.remove(held[number])
            held = [row for row in held if row is not held[number]]
        span, fresh = series.counted(window, at), series_of(held).counted(window, at)
        assert list(series.ordered(DURATIONS, window, span)) == sorted(fresh.lengths(DURATIONS))
        assert (span.size, span.total(FAILED)) == (fresh.size, fresh.total(FAILED))
