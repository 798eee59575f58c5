"""Any text as a condition, a message or a file: no crash, no way out, no cost beyond what docs/grammar.md states.

The long form is `make fuzz`.
"""

import ast
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import simpleeval
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment as Jinja

from k2alert.judge.grammar import FUNCTIONS
from tests.support.fuzzing import (
    ROOT,
    SOUP,
    TEMPLATE_SOUP,
    check_condition,
    check_message,
    check_sentence,
    compiled,
    grammar,
    sentence,
    watched,
)

# Where there is a fuzzer for Python, as pyproject.toml says.
FUZZED = ["condition", "message", "rules", "report"]
HAS_FUZZER = platform.machine() == "x86_64" and sys.version_info < (3, 14)
WAY_OUT = "{{ cycler.__init__.__globals__.os.listdir('/') }}"
SEEDS = st.integers(0, 255)
# One seed for each sentence: drawn choice by choice they would take minutes.
RANDOM = st.integers(0, 2**32).map(Random)


@settings(max_examples=80, deadline=None)
@given(draws=RANDOM, values=SEEDS)
def test_what_the_grammar_derives_is_a_condition_and_comes_to_what_the_oracle_says(draws: Random, values: int) -> None:
    words = grammar().derive("condition", lambda ways: draws.randrange(ways), 80)
    check_sentence(words, values)


@settings(max_examples=80, deadline=None)
@given(draws=RANDOM, data=st.data())
def test_what_is_nearly_of_the_grammar_is_a_condition_only_where_the_grammar_derives_it(
    draws: Random, data: st.DataObject
) -> None:
    words = list(grammar().derive("condition", lambda ways: draws.randrange(ways), 40))
    place = data.draw(st.integers(0, len(words) - 1))
    words[place : place + data.draw(st.integers(0, 2))] = data.draw(st.lists(st.sampled_from(SOUP), max_size=2))
    if grammar().derives("condition", tuple(words)):
        check_sentence(tuple(words))
    check_condition(" ".join(words))


@settings(max_examples=80, deadline=None)
@given(
    words=st.lists(st.one_of(st.sampled_from(SOUP), st.text(max_size=4)), max_size=12), glue=st.sampled_from(["", " "])
)
def test_any_text_is_refused_or_is_a_condition_of_the_grammar(words: list[str], glue: str) -> None:
    check_condition(glue.join(words))


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.sampled_from(TEMPLATE_SOUP), max_size=20))
def test_any_text_is_refused_or_is_a_message_that_is_bounded_and_escaped(words: list[str]) -> None:
    check_message(" ".join(words))


def test_the_grammar_names_every_function_and_nothing_that_is_not_reached() -> None:
    page = (ROOT / "docs" / "grammar.md").read_text()
    assert {name for name in FUNCTIONS if f'"{name}"' not in page} == set()
    reached, left = set(), {"condition"}
    while left:
        reached |= left
        bodies = [grammar().rules[name] for name in left]
        left = {name for body in bodies for name in _named(body)} - reached
    assert reached == grammar().rules.keys()


def _named(part: object) -> set[str]:
    own = {part.name} if part.kind == "rule" else set()  # type: ignore[attr-defined]
    return own.union(*(_named(inner) for inner in part.parts))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "derived"),
    [
        ("success_rate < 0.95", True),
        ("1 < 2 == 3 != 4", True),
        ("not 1 in [1, -2]", True),
        ("'a' in ('a',)", True),
        ("(1 if 1 < 2 else 3) < 4 if absent('coverage') else 1 < 2", True),
        ("success_rate", False),
        ("1 < 'a'", False),
        ("'a' < 'b'", False),
        ("1 in 2", False),
        ("1 in ()", False),
        ("lower('total_pipelines') < 1", False),
        ("value('success_rate', '1h') < 1", False),
        ("baseline('success_rate', '6d') < 1", False),
        ("round(1.5, 16) < 1", False),
        ("abs(1, 2) < 1", False),
    ],
)
def test_the_grammar_and_the_code_agree_about_examples(text: str, derived: bool) -> None:
    assert grammar().derives("condition", sentence(text)) is derived
    assert (compiled(text) is not None) is derived


def _read(path: str) -> str:
    return Path(path).read_text()


@pytest.mark.parametrize(
    "reach",
    [
        pytest.param(lambda: Jinja().from_string(WAY_OUT).render(), id="Jinja2 as it comes"),
        pytest.param(lambda: eval("__import__('os').getpid() < 1"), id="Python's own eval"),
        pytest.param(lambda: simpleeval.simple_eval(f"read('{os.devnull}')", functions={"read": _read}), id="a file"),
        pytest.param(lambda: exec(compile("", "<template>", "exec")), id="code that is said to be a template's"),
    ],
)
def test_whoever_gets_out_is_seen(reach: Callable[[], object]) -> None:
    with pytest.raises(AssertionError), watched():
        reach()


def test_code_may_be_compiled_for_a_template_once_and_for_nothing_else() -> None:
    with watched("compile <template>"):
        compile("1", "<template>", "exec", ast.PyCF_ONLY_AST)
    with pytest.raises(AssertionError), watched("compile <template>"):
        [compile("a", "<template>", "eval") for _ in range(2)]
    with pytest.raises(AssertionError), watched("compile <template>"):
        compile("a", "<string>", "eval")


@pytest.mark.parametrize(
    "text", [WAY_OUT, "{{ x", "{{ 'a\\N{DASH}' }}", "{{ 1.5e3 }}", "{% raw %}", '{{ value("a", b=1, b=2) }}']
)
def test_what_is_refused_reaches_nothing_either(text: str) -> None:
    check_message(text)


if HAS_FUZZER:

    @pytest.mark.parametrize("target", FUZZED)
    def test_a_fuzzer_finds_nothing_in_some_thousand_texts(target: str, tmp_path: Path) -> None:
        options = ["-runs=3000", "-seed=1", f"-artifact_prefix={tmp_path}/"]
        command = [sys.executable, "-m", "tests.fuzz", target, *options]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
        assert ended.returncode == 0, ended.stderr[-4000:]
        assert "Done 3000 runs" in ended.stderr, ended.stderr[-4000:]
