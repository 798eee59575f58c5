"""Which comparisons of a condition may turn by time alone, and which conditions may change at any time."""

import ast

import pytest

from k2alert.judge.drift import drifting
from k2alert.judge.syntax import parse

AGES = ("age", "other_age")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("success_rate < 0.9", []),
        ("age > 90", ["age > 90"]),
        ("90 <= age", ["90 <= age"]),
        ("age > 90 and failed > 2", ["age > 90"]),
        ("not age > 90 or other_age < failed * 2", ["age > 90", "other_age < failed * 2"]),
        ("60 < age < 120", ["60 < age", "age < 120"]),
        ("failed > 2 if age > 90 else other_age > 10", ["age > 90", "other_age > 10"]),
        ('value("age", offset="1h") > 60', ["value('age', offset='1h') > 60"]),
        ('default("age", 0) > 60', ["default('age', 0) > 60"]),
        ('absent("age") or samples("age") == 1', []),
        ("age == 90", None),
        ("age in [1, 2]", None),
        ("age + 1 > 90", None),
        ("round(age) > 90", None),
        ("age > other_age", None),
        ("age > 90 and age / 60 > failed", None),
        ('default("failed", age) > 3', None),
        ('default("age", other_age) > 3', None),
        ('baseline("age", "30d") > 3', None),
        ("(age if failed > 2 else 5) > 3", None),
        ("60 < age < other_age", None),
    ],
)
def test_only_an_age_alone_against_what_holds_still_turns_at_most_once(text: str, expected: list[str] | None) -> None:
    found = drifting(parse(text), AGES)
    assert (None if found is None else sorted(map(ast.unparse, found))) == expected
