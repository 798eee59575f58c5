"""Columns that take as few bytes as they can are lists all the same, whatever is put into them in whatever order."""

from bisect import bisect_left, bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.measure.narrow import Floats, Numbers, Refs, Repeated
from k2alert.measure.tallies import Marks, Sums

WEEK = 7 * 86_400_000
START = 1_700_000_000_000
STEPS = st.lists(st.tuples(st.sampled_from(["insert", "extend", "remove"]), st.integers(0, 10**6)), max_size=12)
NUMBERS = {
    "times of a month": (st.integers(START, START + 4 * WEEK), lambda: Numbers(moving=True)),
    "times of years": (st.integers(START, START + 400 * WEEK), lambda: Numbers(moving=True)),
    "any times": (st.integers(-(2**62), 2**62), lambda: Numbers(moving=True)),
    "lengths": (st.integers(-1, 10**7), Numbers),
    "any lengths": (st.integers(-1, 2**62), Numbers),
    "refs": (st.integers(0, 2**20), Refs),
    "many refs": (st.integers(0, 2**63 - 1), Refs),
    "lanes": (st.integers(0, 5), Repeated),
    "many lanes": (st.integers(0, 2**40), Repeated),
    "durations": (st.integers(0, 2**25).map(float), Floats),
    "measurements": (st.floats(allow_nan=False), Floats),
}


@pytest.mark.parametrize(("numbers", "make"), NUMBERS.values(), ids=NUMBERS.keys())
@given(data=st.data(), steps=STEPS)
def test_a_column_is_like_a_list(numbers: st.SearchStrategy, make, data: st.DataObject, steps) -> None:  # type: ignore[no-untyped-def,type-arg]
    column, plain = make(), []
    for step, where in steps:
        if step == "insert":
            place, number = where % (len(plain) + 1), data.draw(numbers)
            column.insert(place, number)
            plain.insert(place, number)
        elif step == "extend":
            more = data.draw(st.lists(numbers, max_size=5))
            column.extend(more)
            plain.extend(more)
        elif plain:
            column.remove(where % len(plain))
            del plain[where % len(plain)]
    assert len(column) == len(plain)
    assert [column.items[place] if make is Floats else column[place] for place in range(len(plain))] == plain


def test_more_lanes_than_a_byte_can_tell_apart() -> None:
    column = Repeated()
    column.extend(list(range(1000, 1300)))
    column.insert(0, 7)

    assert [column[place] for place in range(301)] == [7, *range(1000, 1300)]
    assert column.named(column.items[299:]) == {1298, 1299}


@given(times=st.lists(st.integers(START, START + 3), max_size=20).map(sorted), asked=st.integers(START - 1, START + 4))
def test_times_in_order_are_searched_as_a_list_is(times: list[int], asked: int) -> None:
    column = Numbers(moving=True)
    column.extend(times)

    assert column.place(asked) == bisect_left(times, asked)
    assert column.place_after(asked) == bisect_right(times, asked)
    assert list(column) == times


@pytest.mark.parametrize(
    ("make", "item"),
    [(lambda: Numbers(moving=True), START), (Numbers, 60_000), (Floats, 86_399.0)],
    ids=["times", "lengths", "measurements"],
)
def test_what_is_usual_takes_four_bytes(make, item) -> None:  # type: ignore[no-untyped-def]
    column = make()
    column.extend([item] * 3)
    column.insert(0, item)
    if isinstance(column, Numbers) and column.base:
        for day in range(200):  # a window of 40 days moves on
            column.insert(len(column), START + day * 86_400_000)
            column.remove(0)
            if len(column) > 40:
                column.remove(0)
    assert column.items.itemsize == 4


# ------------------------------------------------------------------------------------------ running sums

CUTS = st.lists(st.tuples(st.integers(0, 60), st.lists(st.booleans(), max_size=60)), min_size=1, max_size=5)


@given(CUTS)
def test_marks_are_counted_and_found_however_often_they_are_cut(cuts: list[tuple[int, list[bool]]]) -> None:
    marks, plain = Marks(), []
    for cut, more in cuts:
        marks.cut(cut)
        plain = [*plain[:cut], *more]
        marks.grow(more)
    assert marks.done == len(plain)
    for low in range(0, len(plain) + 1, 7):
        for high in range(low, len(plain) + 1, 5):
            assert marks.between(low, high) == sum(plain[low:high])
    marked = [place for place, mark in enumerate(plain) if mark]
    assert [marks.place(number) for number in range(1, len(marked) + 1)] == marked


@pytest.mark.parametrize("rare", [0, 1])
def test_the_places_of_the_few_are_held(rare: int) -> None:
    marks = Marks()
    marks.grow([rare] * 100)  # and then they are the many
    for _ in range(10):
        marks.grow([1 - rare] * 100)

    assert marks.between(0, 1100) == (100 if rare else 1000)
    assert len(marks._places) == 100


LENGTHS = st.integers(0, 10**7) | st.integers(0, 2**31) | st.integers(0, 2**40)


@given(st.lists(st.tuples(st.integers(0, 20), st.lists(LENGTHS, max_size=20)), min_size=1, max_size=4))
def test_lengths_are_added_up_whatever_their_sum_is(cuts: list[tuple[int, list[int]]]) -> None:
    sums, plain = Sums(), []
    for cut, more in cuts:
        sums.cut(cut)
        plain = [*plain[:cut], *more]
        sums.grow(more)
    assert sums.done == len(plain)
    for low in range(len(plain) + 1):
        for high in range(low, len(plain) + 1):
            assert sums.between(low, high) == sum(plain[low:high])
