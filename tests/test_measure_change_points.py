"""Change points: steps are found and told once; noise, outliers and machines that take turns are none."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.measure.change_points import Series, Step, find_steps


def noisy(seed: int, count: int, *, sigma: float = 0.03, level: float = 100) -> list[float]:
    """So many measurements around a level."""
    chance = Random(seed)
    return [level * (1 + chance.gauss(0, sigma)) for _ in range(count)]


def stepped(seed: int, change: float, *, at: int = 60, count: int = 100, sigma: float = 0.03) -> list[float]:
    """Measurements whose level changes once."""
    return [value * (1 + change if index >= at else 1) for index, value in enumerate(noisy(seed, count, sigma=sigma))]


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_steps(seed: int) -> None:
    assert find_steps(noisy(seed, 300)) == ()


@pytest.mark.parametrize("seed", range(10))
def test_outliers_are_no_steps(seed: int) -> None:
    chance = Random(seed)
    assert find_steps([value * chance.choice([1] * 9 + [3]) for value in noisy(seed, 300)]) == ()


@pytest.mark.parametrize("seed", range(10))
def test_two_kinds_of_machine_that_take_turns_are_no_step(seed: int) -> None:
    chance = Random(seed)
    values = [value * chance.choice([1, 1.6]) for value in noisy(seed, 150)]
    more = [value * chance.choice([1, 1.6, 1.6]) for value in noisy(seed + 100, 150)]
    assert find_steps(values + more) == ()


@pytest.mark.parametrize("change", [0.15, 0.5, 3, -0.15, -0.5, -0.9])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_found_where_it_is_and_told_once(change: float, seed: int) -> None:
    (step,) = find_steps(stepped(seed, change))
    assert abs(step.at - 60) <= 1
    assert 65 <= step.confirmed <= 75
    assert step.change == pytest.approx(change, abs=0.05 * (1 + change))


def test_a_step_of_a_series_without_noise_is_exact() -> None:
    assert find_steps([10.0] * 20 + [12.0] * 20) == (Step(20, 25, pytest.approx(10.0), pytest.approx(12.0)),)
    assert find_steps([10.0] * 20 + [10.2] * 20) == ()  # below the least effect


def test_a_step_that_does_not_last_is_none() -> None:
    assert find_steps([10.0] * 20 + [20.0] * 5 + [10.0] * 20) == ()


def test_a_step_needs_a_level_before() -> None:
    assert find_steps([10.0] * 8 + [20.0] * 8) == ()


def test_steps_up_and_down_are_two() -> None:
    steps = find_steps([10.0] * 20 + [20.0] * 20 + [10.0] * 20)
    assert [(step.at, round(step.change, 6)) for step in steps] == [(20, 1.0), (40, -0.5)]


def test_what_is_no_measurement_is_passed_over_and_keeps_its_index() -> None:
    values = [10.0, math.nan, 0.0, -1.0, math.inf, *[10.0] * 20, *[20.0] * 10]
    (step,) = find_steps(values)
    assert values[step.at - 1 : step.at + 1] == [10.0, 20.0]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), change=st.floats(-0.8, 2), cut=st.integers(0, 120))
def test_what_is_known_of_a_beginning_is_never_taken_back(seed: int, change: float, cut: int) -> None:
    values = stepped(seed, change, count=120)
    early = find_steps(values[:cut])
    assert find_steps(values)[: len(early)] == early
    assert all(step.at <= step.confirmed < cut for step in early)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), change=st.floats(-0.8, 2), scale=st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(seed: int, change: float, scale: float) -> None:
    values = stepped(seed, change)
    found, scaled = find_steps(values), find_steps([value * scale for value in values])
    assert [(step.at, step.confirmed) for step in found] == [(step.at, step.confirmed) for step in scaled]


def test_a_long_series_keeps_only_what_a_split_can_reach() -> None:
    series = Series()
    for value in noisy(1, 5000):
        series.add(value)
    assert len(series._logs) <= 60


@pytest.mark.parametrize("sigma", [0, 0.001, 0.03, 0.2, 0.6])
@given(
    seed=st.integers(0, 10**6),
    changes=st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.5, 0.9, 0.97, 1.0, 1.04, 1.2, 3])), max_size=8),
    odd=st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from([0.0, -1.0, float("nan"), float("inf"), 9e5])), max_size=5
    ),
    cut=st.integers(0, 400),
)
def test_many_at_once_are_as_one_after_the_other(
    sigma: float, seed: int, changes: list[tuple[int, float]], odd: list[tuple[int, float]], cut: int
) -> None:
    level, values = 100.0, noisy(seed, 120, sigma=sigma)
    for count, factor in changes:
        level *= factor
        values += noisy(seed + count, count, sigma=sigma, level=level)
    for place, value in odd:
        values[place % len(values)] = value
    slow, fast = Series(), Series()

    for value in values:
        slow.add(value)
    fast.extend(values[:cut])
    fast.extend(values[cut:])

    assert fast == slow
