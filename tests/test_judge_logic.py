"""Conditions against an oracle that shares nothing with them: truth as the set of what it may turn out to be."""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.judge.compiled import compile_tree
from k2alert.judge.evaluate import evaluate
from tests.support.judging import condition

NAMES = ("success_rate", "coverage", "total_pipelines")
VALUES = st.one_of(
    st.none(), st.integers(-3, 3), st.sampled_from([0.0, 0.5, -0.5, 1.0, 1e300, -1e300]), st.floats(-2, 2)
)


@dataclass
class Given:
    """Values by name, noting which were looked at."""

    values: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        self.reached.append(name)
        return self.values[name]


# An expression is (its text, its oracle): the oracle of a number gives a number or None, that of a truth the set
# of truths that it may turn out to be once there is data.
Number = tuple[str, Callable[[Mapping[str, Any]], Any]]
Truth = tuple[str, Callable[[Mapping[str, Any]], frozenset[bool]]]
EITHER = frozenset({True, False})


def real(compute: Callable[[], Any]) -> Any:
    try:
        found = compute()
    except (ZeroDivisionError, OverflowError):
        return None
    return None if math.isinf(found) or math.isnan(found) else found


def arithmetic(left: Number, sign: str, right: Number) -> Number:
    def oracle(values: Mapping[str, Any]) -> Any:
        a, b = left[1](values), right[1](values)
        if a is None or b is None:
            return None
        return real({"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[sign])

    return f"({left[0]} {sign} {right[0]})", oracle


def negative(inner: Number) -> Number:
    def oracle(values: Mapping[str, Any]) -> Any:
        found = inner[1](values)
        return None if found is None else 0 - found

    return f"(-{inner[0]})", oracle


def chosen(body: Number, test: Truth, orelse: Number) -> Number:
    def oracle(values: Mapping[str, Any]) -> Any:
        truths = test[1](values)
        return None if truths == EITHER else body[1](values) if True in truths else orelse[1](values)

    return f"({body[0]} if {test[0]} else {orelse[0]})", oracle


def compared(sides: list[Number], signs: list[str]) -> Truth:
    text = sides[0][0] + "".join(f" {sign} {side[0]}" for sign, side in zip(signs, sides[1:], strict=False))

    def one(a: Any, sign: str, b: Any) -> frozenset[bool]:
        if a is None or b is None:
            return EITHER
        less, same = a < b, a == b
        table = {"<": less, "<=": less or same, "==": same, "!=": not same, ">": not less and not same, ">=": not less}
        return frozenset({table[sign]})

    def oracle(values: Mapping[str, Any]) -> frozenset[bool]:
        found = [side[1](values) for side in sides]
        outcome = frozenset({True})
        for a, sign, b in zip(found, signs, found[1:], strict=False):
            outcome = frozenset(x and y for x in outcome for y in one(a, sign, b))
        return outcome

    return f"({text})", oracle


def joined(word: str, sides: list[Truth]) -> Truth:
    def oracle(values: Mapping[str, Any]) -> frozenset[bool]:
        outcome = frozenset({word == "and"})
        for side in sides:
            both = [(x, y) for x in outcome for y in side[1](values)]
            outcome = frozenset((x and y) if word == "and" else (x or y) for x, y in both)
        return outcome

    return "(" + f" {word} ".join(side[0] for side in sides) + ")", oracle


def denied(inner: Truth) -> Truth:
    return f"(not {inner[0]})", lambda values: frozenset(not truth for truth in inner[1](values))


def name(called: str) -> Number:
    return called, lambda values: values[called]


def constant(value: float) -> Number:
    return repr(value), lambda values: value


SIGNS = ("<", "<=", "==", "!=", ">", ">=")
LEAVES: st.SearchStrategy[Number] = st.one_of(
    st.sampled_from(NAMES).map(name), st.sampled_from([0, 1, 2, 0.5, 0.0, 1e15]).map(constant)
)


def truths(numbers: st.SearchStrategy[Number]) -> st.SearchStrategy[Truth]:
    chain = st.builds(
        compared, st.lists(numbers, min_size=3, max_size=3), st.lists(st.sampled_from(SIGNS), min_size=2, max_size=2)
    )
    pair = st.builds(
        compared, st.lists(numbers, min_size=2, max_size=2), st.lists(st.sampled_from(SIGNS), min_size=1, max_size=1)
    )
    return st.recursive(
        st.one_of(pair, chain),
        lambda inner: st.one_of(
            inner.map(denied),
            st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
        ),
        max_leaves=5,
    )


NUMBERS: st.SearchStrategy[Number] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(arithmetic, inner, st.sampled_from("+-*/"), inner),
        inner.map(negative),
        st.builds(chosen, inner, st.builds(compared, st.lists(inner, min_size=2, max_size=2), st.just(["<"])), inner),
    ),
    max_leaves=4,
)


@settings(max_examples=600, deadline=None)
@given(expression=truths(NUMBERS), values=st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_conditions_agree_with_the_oracle_about_no_data_too(expression: Truth, values: Mapping[str, Any]) -> None:
    text, oracle = expression
    if len(text) > 1000 or text.count("(") > 60:
        return  # beyond the bounds of a condition
    expected = oracle(values)
    assert condition(text).evaluate(Given(values)) == (None if expected == EITHER else True in expected)


@settings(max_examples=600, deadline=None)
@given(expression=truths(NUMBERS), values=st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_the_compiled_tree_comes_to_what_simpleeval_does_and_asks_for_the_same(
    expression: Truth, values: Mapping[str, Any]
) -> None:
    tree = ast.parse(expression[0], mode="eval").body
    by_walking, compiled = Given(values), Given(values)
    assert compile_tree(tree)(compiled) is evaluate(tree, by_walking)
    assert compiled.reached == by_walking.reached


@pytest.mark.parametrize("value", [None, 0, 0.5, -1.0, 7])
@pytest.mark.parametrize(
    "text",
    [
        'default("coverage", 1) in [1, -1, 0.5]',
        'label("team", "a") not in ("a", "b") or coverage > 3',
        'value("coverage", window="1h", offset="2h") < 2',
        'absent("coverage") and not coverage == 0',
        "max(coverage, 2, -coverage) / coverage > round(coverage)",
        'label("team", "a") == "a"',
        "coverage if coverage > 0 else +coverage",
    ],
)
def test_calls_and_lists_too(text: str, value: float | None) -> None:
    asked: list[Any] = []

    def called(name: str) -> Callable[..., Any]:
        def function(*given: Any, **named: Any) -> Any:
            asked.append((name, given, named))
            return "a" if name == "label" else value is None if name == "absent" else value

        return function

    names = ("default", "label", "value", "absent", "max", "round")
    scope = Given({"coverage": value}, {name: called(name) for name in names})
    tree = ast.parse(text, mode="eval").body
    walked, before = evaluate(tree, scope), list(asked)
    asked.clear()
    assert compile_tree(tree)(scope) == walked
    assert asked == before
    assert type(compile_tree(tree)(scope)) is type(walked)


@pytest.mark.parametrize("text", ["coverage.real", "[x for x in y]", "(lambda: 1)()", "coverage[0]", "f'{coverage}'"])
def test_what_no_condition_has_cannot_be_compiled(text: str) -> None:
    with pytest.raises(KeyError):
        compile_tree(ast.parse(text, mode="eval").body)


T, F, N = "1 < 2", "2 < 1", "coverage < 1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{F} and {N}", False),
        (f"{N} and {F}", False),
        (f"{T} and {N}", None),
        (f"{N} and {T}", None),
        (f"{T} or {N}", True),
        (f"{N} or {T}", True),
        (f"{F} or {N}", None),
        (f"{N} or {F}", None),
        (f"not {N}", None),
        (f"{N} or not {N}", None),
        ("coverage < 5 < 3", False),
        ("coverage < 3 < 5", None),
        ("coverage in [1, 2]", None),
        ("coverage not in [1, 2]", None),
        (f"{T} if {N} else {T}", None),
        (f"{N} if {F} else {T}", True),  # only the branch taken counts
        ("coverage == coverage", None),
        ("1 / 0 == 1", None),
        ("1e15 * 1e15 * (1e15 * 1e15) * (1e15 * 1e15) > 1", True),
        ("1 / (1 / 1e15 / 1e15) > 1", True),
        (" * ".join(["1e15"] * 19) + " > 1", True),
        ("(" + " * ".join(["1e15"] * 17) + ") * (" + " * ".join(["1e15"] * 17) + ") > 1", None),  # beyond every float
        ("(" + " * ".join(["10" + "0" * 14] * 17) + ") * (" + " * ".join(["10" + "0" * 14] * 17) + ") > 1", None),
    ],
)
def test_no_data_spreads_by_kleenes_logic(text: str, expected: bool | None) -> None:
    assert condition(text).evaluate(Given({"coverage": None})) is expected


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("coverage < 1 and success_rate < 1", ["coverage"]),
        ("coverage > 1 or success_rate < 1", ["coverage"]),
        ("1 < 0 < success_rate", []),
        ("success_rate < 1 if coverage < 1 else 1 < 2", ["coverage"]),
        ("coverage < 1 or success_rate < 1", ["coverage", "success_rate"]),
    ],
)
def test_a_metric_that_is_not_reached_is_not_measured(text: str, reached: list[str]) -> None:
    names = Given({"coverage": 5, "success_rate": 0.5})
    condition(text).evaluate(names)
    assert names.reached == reached


def test_a_bug_in_a_metric_is_not_taken_for_an_unknown_name() -> None:
    for error in (KeyError("success_rate"), TypeError("bug")):

        class Broken:
            functions: Mapping[str, Any] = {}

            def __getitem__(self, name: str) -> Any:
                raise error  # noqa: B023

        with pytest.raises(type(error)):
            condition("success_rate < 1").evaluate(Broken())
