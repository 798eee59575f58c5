"""The garbage collector: what stays is left out, and cycles that came later still go."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from k2alert.garbage import leave_out, look_through


class Knot:
    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def test_what_is_held_is_left_out_and_what_comes_later_is_not() -> None:
    kept = [object() for _ in range(10)], Knot()
    leave_out()
    later = Knot()
    gone = weakref.ref(later)

    assert gc.get_freeze_count() > 0
    assert not any(found is kept for found in gc.get_objects())
    assert any(found is later for found in gc.get_objects())
    del later
    await look_through()
    assert gone() is None


def test_dead_cycles_that_are_young_go_before_they_would_be_left_out() -> None:
    gone = weakref.ref(Knot())

    leave_out()

    assert gone() is None


def test_old_objects_are_not_looked_through_because_many_came() -> None:
    leave_out()
    counted = gc.get_stats()[2]["collections"]

    held = [[number] for number in range(2_000_000)]

    assert len(held) == 2_000_000
    assert gc.get_stats()[2]["collections"] == counted
