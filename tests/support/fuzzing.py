"""What must hold of any text that somebody writes: as a condition, as a message, as a file of rules.

Each check takes hostile input and fails by an assertion, or by whatever exception got out. Hypothesis and atheris both
call them.
"""

# ruff: noqa: PT017 - what is said of a refused text is part of what is checked
import ast
import codecs
import re
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from k2alert.config.load import load_rules
from k2alert.filters import FILTERS, TESTS
from k2alert.judge.condition import Condition, ConditionError, compile_condition
from k2alert.judge.grammar import FUNCTIONS
from k2alert.judge.scope import Scope
from k2alert.labels import Labels
from k2alert.measure.catalogue import METRICS
from k2alert.model import Evidence, Measured, Result, Rule, RunEvidence, Selection, Severity, Window
from k2alert.template import FUNCTIONS_KEY, TEMPLATE_FUNCTIONS, TEMPLATE_NAMES, TemplateError, compile_template
from k2alert.times import parse_duration, to_ms
from tests.support.compiled_oracle import World, truth_of
from tests.support.ebnf import Grammar, TokenClass, Tokens, read_grammar
from tests.support.judging import WrittenMeasures

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 3, 10, 12, 34, tzinfo=UTC)
DAY = Window(length=timedelta(days=1))
IDENTITY = Labels({"source": "gitlab", "project": "k2/app"})
LABELS = Labels({**IDENTITY, "team": "payments", "tier": "2.5", "endless": "inf"})
RETENTION = timedelta(days=35)

MOST_PARTS = 100
"""Names, numbers and operations of a condition, as docs/grammar.md states it."""
MOST_CALLS = 12
"""Calls of Python functions that a part may take to evaluate, simpleeval's own among them."""
BASELINE_DAYS = 367
LONGEST_SHOWN = 16_385  # 16,384 and the mark that something was cut


# -------------------------------------------------------------------------------------------- the grammar


def sentence(text: str) -> Tokens:
    """A text of plain Python as tokens."""
    return tuple(_LEXEME.findall(text))


_LEXEME = re.compile(r"'[^']*'|\"[^\"]*\"|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\w+|[<>=!]=|[^\s\w]")


def _quoted(holds: Callable[[str], object]) -> Callable[[str], bool]:
    def check(token: str) -> bool:
        try:
            return token[0] in "\"'" and len(token) > 1 and bool(holds(token[1:-1]))
        except ValueError:
            return False

    return check


def _is_window(text: str) -> bool:
    return bool(re.fullmatch(r"[1-9]\d{0,5} runs?", text, re.ASCII) or parse_duration(text))


def _examples(names: list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


RATIOS = [name for name, metric in METRICS.items() if metric.needs == "ratio" and metric.unit == "ratio"]
CLASSES: Mapping[str, TokenClass] = {
    "metric": TokenClass(list(METRICS), METRICS.__contains__),
    "quoted metric": TokenClass(_examples(list(METRICS)), _quoted(METRICS.__contains__)),
    "quoted ratio": TokenClass(_examples(RATIOS), _quoted(RATIOS.__contains__)),
    "number": TokenClass(
        ["0", "1", "0.95", "2", "20", ".5", "1e-3", "1e15", "0.0", "999999999999999"],
        lambda token: token[0] in ".0123456789" and token != "." and float(token) <= 1e15,
    ),
    "decimals": TokenClass(["0", "2", "15"], lambda token: token.isdigit() and int(token) <= 15),
    "text": TokenClass(
        ['"team"', "'tier'", '"payments"', '""', "'2.5'", '"#ä"', "'success_rate'"], _quoted(lambda text: True)
    ),
    "window": TokenClass(['"1h"', "'20 runs'", '"3d"', '"1h30m"', '"1 run"'], _quoted(_is_window)),
    "duration": TokenClass(['"1h"', '"0"', "'2d'"], _quoted(lambda text: parse_duration(text) is not None)),
    "days": TokenClass(
        ['"7d"', '"30d"'], _quoted(lambda text: timedelta(days=7) <= parse_duration(text) <= timedelta(days=366))
    ),
}


@cache
def grammar() -> Grammar:
    """The grammar as docs/grammar.md has it."""
    (text,) = re.findall(r"```ebnf\n(.*?)```", (ROOT / "docs" / "grammar.md").read_text(), re.DOTALL)
    return read_grammar(text, CLASSES)


BOUNDS = re.compile("too large|too long|nested too deeply|is of now|is not counted in runs|looks back")
"""What may be said of a sentence of the grammar: the bounds on the same page."""
SOUP = (*FUNCTIONS, *METRICS, *(token for known in CLASSES.values() for token in known.examples[:3]))
SOUP += ("and", "or", "not", "if", "else", "in", "(", ")", "[", "]", ",", "=", "window", "offset")
SOUP += ("<", "<=", "==", "!=", ">", "+", "-", "*", "/", "**", "%", ".", ":", "lambda", "{", "}", "#", "True", "is")
"""Tokens that a condition may have, and some that it may not."""
TEMPLATE_SOUP = (
    *SOUP,
    *TEMPLATE_NAMES,
    *FILTERS,
    *TESTS,
    *["{{", "}}", "{%", "%}", "{#", "#}", "|", "~", "_", "for", "endfor", "elif", "endif", "loop"],
)
TEMPLATE_SOUP += (
    "raw",
    "set",
    "macro",
    "include",
    "__class__",
    "__globals__",
    "runs",
    "jobs",
    "tests",
    "title",
    "items",
)
"""The same of messages."""


# --------------------------------------------------------------------------------------------- conditions


def compiled(text: str) -> Condition | None:
    """The condition, or None where it was refused in one clear line with a place inside of it."""
    with watched("compile <unknown>"):
        try:
            return compile_condition(text, metrics=METRICS, window=DAY, retention=RETENTION)
        except ConditionError as error:
            assert 0 <= error.column_offset <= len(text)
            assert error.text
            assert "\n" not in error.text
            assert len(error.text) < 400
            return None


def check_condition(text: str, values: int = 0) -> None:
    """Any text is refused, or is in the grammar, comes to what the oracle says, and costs no more than is stated."""
    condition = compiled(text)
    if condition is None:
        return
    plain = ast.unparse(ast.parse(text.translate(dict.fromkeys(range(9, 14), " ")).strip(), mode="eval"))
    assert grammar().derives("condition", sentence(plain)), plain
    check_value(condition, values)


def check_sentence(words: Tokens, values: int = 0) -> None:
    """A sentence of the grammar is a condition, save where a bound says no."""
    text = " ".join(words)
    try:
        condition = compile_condition(text, metrics=METRICS, window=DAY, retention=RETENTION)
    except ConditionError as error:
        assert BOUNDS.search(error.text), (text, error.text)
        return
    check_value(condition, values)


def check_value(condition: Condition, values: int) -> None:
    """What it comes to, its value, threshold, terms and clauses, against the oracle and the stated cost."""
    rule = _rule(condition)
    measures = WrittenMeasures(_answers(values))
    scope = Scope(rule, identity=IDENTITY, labels=LABELS, measures=measures, metrics=METRICS, at=to_ms(AT))
    with watched(), counted() as calls:
        found = condition.evaluate(scope)
    days = condition.text.count("baseline") * BASELINE_DAYS
    assert len(measures.asked) <= MOST_PARTS + days
    # By its name and by value("…") a metric is measured once each, and no more.
    assert all(measures.asked.count(asked) <= 2 for asked in set(measures.asked))
    assert calls[0] <= MOST_CALLS * MOST_PARTS + 30 * (MOST_PARTS + days)
    world = World(rule, LABELS, METRICS, to_ms(AT), measures.answer)
    expected = truth_of(condition.text, world)
    assert found is expected, (condition.text, found, expected)
    assert condition.clauses(scope).value is expected
    assert condition.threshold(scope) is None or condition.first is not None
    condition.value(scope)
    condition.terms(scope)


def _rule(condition: Condition) -> Rule:
    return Rule(
        name="r",
        condition=condition,
        window=DAY,
        period="24h",
        severity=Severity.WARNING,
        message=None,
        selection=Selection((), ("source", "project")),
        min_samples=5,
    )


def _answers(values: int) -> Callable[[str, Window, int], Measured]:
    """Some value within each metric's bounds, or none, by the name, the window and the time: always the same."""

    def answer(name: str, window: Window, at: int) -> Measured:
        seed = zlib.crc32(f"{values} {name} {window} {at}".encode())
        share = (None, 0.0, 0.25, 0.5, 0.95, 1.0)[seed % 6]
        high = METRICS[name].high
        samples = (0, 3, 5, 100)[seed // 6 % 4]
        return Measured(None if share is None else share * (high if high <= 100 else 40), samples)

    return answer


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the calls of Python functions meanwhile: steps that no clock can blur."""
    calls = [0]

    def count(frame: FrameType, event: str, argument: object) -> None:
        calls[0] += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


# --------------------------------------------------------------------------------------- the outside world


@contextmanager
def watched(*expected: str) -> Iterator[None]:
    """Fails where Python's audit events tell of anything unexpected: opened, imported, run, compiled, sent.

    Each of the expected events may happen once; `compile` and `exec` are named with the file that the code is said to
    come from.
    """
    events = _events()
    events.clear()
    _WATCHING.append(True)
    try:
        yield
    finally:
        _WATCHING.pop()
        assert Counter(event for event in events if event != "compile number") <= Counter(expected), events


_WATCHING: list[bool] = []
# What the interpreter and the tools around a test do by themselves.
_HARMLESS = (
    "builtins.id",
    "sys.setprofile",
    "sys.unraisablehook",
    "gc.",
    "cpython.",
    "object.__getattr__",
    "sys._getframe",
    "code.",
)
_NUMBER = re.compile(rb"[0-9.]+([eE][+-]?[0-9]+)?")
# Python loads both only when the first text with a backslash asks for them: here, before anyone watches.
codecs.lookup("unicode-escape"), unicodedata.name("a")


@cache
def _events() -> list[str]:
    """What happened while somebody watched. An audit hook stays until the process ends."""
    events: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _WATCHING and not event.startswith(_HARMLESS):
            events.append(event + _code_of(event, arguments))

    sys.addaudithook(hook)
    return events


def _code_of(event: str, arguments: tuple[Any, ...]) -> str:
    if event == "compile":
        # Jinja2 has Python parse, not run, a number with a point: `ast.literal_eval`.
        source = arguments[0]
        return " number" if isinstance(source, bytes) and _NUMBER.fullmatch(source) else f" {arguments[1]}"
    return f" {arguments[0].co_filename}" if event == "exec" else ""


# ------------------------------------------------------------------------------------- messages and files

EVIL = "\x01<!channel>\x01"
_EVIL_LABELS = Labels(dict.fromkeys(("project", "team", "items", "title"), EVIL))
_EVIL_RUN = RunEvidence(
    **dict.fromkeys(("project", "id", "number", "workflow", "branch", "sha", "title", "web_url"), EVIL),
    result=Result.FAILURE,
    finished_at=AT,
    duration=timedelta(minutes=1),
)


def check_message(text: str) -> None:
    """Any text is refused with a line, or shows what it may, bounded, every value escaped.

    It reaches nothing: what Jinja2 makes of a checked template is compiled and run once, for its function, and then
    only that function is called.
    """
    with watched("compile <template>", "exec <template>"):
        try:
            template = compile_template(text, names=METRICS.keys() | TEMPLATE_NAMES, functions=TEMPLATE_FUNCTIONS)
        except TemplateError as error:
            assert 1 <= error.line <= len(text.splitlines()) + 1
            assert error.text
            return
    with watched():
        shown = template.render(_context(), escape=lambda value: value.replace("\x01", "?"))
    assert len(shown) <= LONGEST_SHOWN
    assert "\x01" not in shown or "\x01" in text, shown


def _context() -> Mapping[str, Any]:
    known: dict[str, Any] = {name: (None, 0.5, 3, EVIL)[place % 4] for place, name in enumerate(sorted(METRICS))}
    known |= dict.fromkeys(TEMPLATE_NAMES, EVIL) | {"value": 0.5, "threshold": 1, "started_at": AT, "now": AT}
    evidence = Evidence(runs=(_EVIL_RUN,) * 3, faults=14, samples=20)
    known |= {"labels": _EVIL_LABELS, "evidence": evidence}
    known[FUNCTIONS_KEY] = {name: lambda *arguments, **keywords: EVIL for name in TEMPLATE_FUNCTIONS}
    return known


def check_rules(content: bytes, folder: Path) -> None:
    """Any bytes are a file of rules, or problems with a place and one line each."""
    path = folder / "rules.yml"
    path.write_bytes(content)
    for problem in load_rules([path], metrics=METRICS).problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        assert problem.text
        assert problem.text.isprintable()
        assert len(problem.text) < 2000
