"""A page gives back the rows that were put on it, whatever they are and in however many batches they came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.measure.narrow import Numbers, Refs, base_for, only
from k2alert.measure.pages import Page
from k2alert.measure.timeline import row_of
from k2alert.model import RESULTS, Entry, Result, packed, unpacked

START = 1_700_000_000_000
DAY = 86_400_000
LANES = {1: 10, 2: 10, 3: 30}
LENGTHS = st.none() | st.integers(0, 10**7) | st.integers(0, 2**40)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    rows = []
    for number in range(draw(st.integers(0, 12))):
        finished = START + draw(st.integers(0, 5) | st.integers(0, 40 * DAY) | st.integers(0, 4000 * DAY))
        entry = Entry(
            stream=draw(st.sampled_from(list(LANES))),
            ref=draw(st.sampled_from([number << 16 | 3, number << 16 | 300, (1 << 34 | number) << 16])),
            created=finished - draw(st.integers(-5000, 10**6) | st.integers(0, 400 * DAY)),
            finished=finished,
            superseded=draw(st.none() | st.just(finished + 1)),
            result=draw(st.integers(0, len(RESULTS) - 1)),
            duration=draw(LENGTHS),
            queued=draw(LENGTHS),
            allowed=draw(st.booleans()),
            retry=draw(st.booleans()),
        )
        rows.append(entry)
    return sorted(rows, key=lambda entry: (entry.finished, entry.ref))


@given(rows=entries(), size=st.integers(1, 12), base=st.none() | st.integers(START - 100 * DAY, START + 100 * DAY))
def test_piles_have_the_rows_of_their_streams_in_order(rows: list[Entry], size: int, base: int | None) -> None:
    page = Page(LANES, base)
    for first in range(0, len(rows), size):
        page.add([packed(entry) for entry in rows[first : first + size]])

    assert page.count == len(rows)
    assert page.past == [entry for entry in rows if entry.superseded is not None]
    lasting = [entry for entry in rows if entry.superseded is None]
    assert set(page.lasting) == {entry.stream for entry in lasting}
    for streams in [(stream,) for stream in page.lasting] + ([tuple(page.lasting)] if page.lasting else []):
        found = list(page.pile(streams).rows())
        assert found == [row_of(entry, LANES[entry.stream]) for entry in lasting if entry.stream in streams]


@given(entries())
def test_runs_are_timed_that_succeeded_and_say_how_long_they_took(rows: list[Entry]) -> None:
    page = Page(LANES)
    page.add([packed(entry) for entry in rows])
    for stream in page.lasting:
        times = page.timed(stream)
        wanted = [
            (entry.finished, entry.ref, entry.duration)
            for entry in rows
            if entry.stream == stream and entry.superseded is None and entry.duration
            if RESULTS[entry.result] is Result.SUCCESS
        ]
        refs = [times.refs[place] for place in range(len(times.refs))]
        assert list(zip(times.finished, refs, times.lengths, strict=True)) == wanted


@pytest.mark.timeout(20)
def test_a_row_that_no_store_has_is_refused_and_not_tried_for_ever() -> None:
    with pytest.raises(ValueError, match="no row has such numbers"):
        Page(LANES).add([(1, None, -1, START, 0, 0, 0, 0)])


@given(entries())
def test_an_entry_comes_back_from_its_row(rows: list[Entry]) -> None:
    assert [unpacked(packed(entry)) for entry in rows] == rows


@given(data=st.data(), marks=st.lists(st.sampled_from([0, 1, 1, 1, 1]), max_size=40).map(bytes))
def test_what_is_marked_is_left_in_any_column(data: st.DataObject, marks: bytes) -> None:
    numbers = data.draw(st.lists(st.integers(0, 2**40), min_size=len(marks), max_size=len(marks)))
    times, refs = Numbers(moving=True), Refs()
    times.extend(numbers)
    refs.extend(numbers)
    left = [number for number, mark in zip(numbers, marks, strict=True) if mark]

    assert list(only(times.items, marks)) == [number - times.base for number in left]
    assert list(times.only(marks)) == left
    assert [refs.only(marks)[place] for place in range(len(left))] == left


@given(parts=st.lists(st.lists(st.integers(START, START + 100 * DAY), max_size=5), max_size=4))
def test_times_are_appended_to_times_whatever_their_bases(parts: list[list[int]]) -> None:
    column = Numbers(moving=True)
    for number, part in enumerate(parts):
        more = Numbers(moving=True)
        more.insert(0, base_for(START + number % 2 * 60 * DAY))  # so that it has a base of its own
        more.remove(0)
        more.extend(part)
        column.extend(more)

    assert list(column) == [time for part in parts for time in part]
