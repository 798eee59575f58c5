"""Messages, annotations and receivers' fields: Jinja2 templates that can neither escape nor run away.

The author's source and the names it may use come in when files are loaded, and what can be wrong with it is found
there; values and an `escape` for the receiver's markup come in when it is rendered, and text goes out.

Safety is layered. Jinja2's immutable sandbox runs a template only after every node of it was found on an
allow-list: no assignments, macros or includes, and calls of known plain names only. Filters and operators are
those of `filters`, which bound what they return; loops see at most 20 items and nest two deep. So size and time
are bounded by the length of the source. `escape` sees every interpolated value and never the author's literal
text, and no filter gets around it.
"""

import difflib
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes, pass_context
from jinja2 import Template as JinjaTemplate
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from k2alert.filters import FILTERS, NO_DATA, TESTS, calculate, items_of, known, show
from k2alert.model import DeploymentEvidence, Evidence, JobEvidence, Metric, RunEvidence, TestEvidence

__all__ = [
    "FUNCTIONS_KEY",
    "TEMPLATE_FUNCTIONS",
    "TEMPLATE_NAMES",
    "Call",
    "Template",
    "TemplateError",
    "compile_template",
    "ratio_before_percent",
]

TEMPLATE_NAMES = frozenset(
    {
        *("labels", "value", "k2alert_rule_value", "threshold", "period", "reason", "evidence"),
        *("started_at", "now", "severity", "rule"),
    }
)
"""What messages and annotations see besides the metrics."""

TEMPLATE_FUNCTIONS = frozenset(
    {
        *("abs", "min", "max", "round", "value", "baseline", "samples", "lower", "upper"),
        *("absent", "default", "label"),
    }
)
"""The functions of conditions, which messages and annotations may call too."""

FUNCTIONS_KEY = "k2alert functions"
"""Where a context holds its functions by name: `value` is both a name and a function. No template can name it."""

_LONGEST_SOURCE = 4096
_LONGEST_OUTPUT = 16_384
_MOST_NODES = 300
_DEEPEST = 30
_DEEPEST_LOOP = 2
_LONGEST_STRING = 200
_LARGEST_NUMBER = 1e15

_ESCAPE_KEY = "k2alert escape"
_CALL = "k2alert_call_"  # a function's name in the compiled template, out of reach of authors
_ITEMS = "k2alert_items"  # the filter around what a loop goes over

_ATTRIBUTES = frozenset(
    {
        "more",
        *(
            item.name
            for noun in (Evidence, RunEvidence, JobEvidence, TestEvidence, DeploymentEvidence)
            for item in fields(noun)
        ),
    }
)
_LOOP = frozenset({"index", "index0", "first", "last", "length", "revindex"})

_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice),
    *(nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.CondExpr, nodes.Compare, nodes.Operand),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Neg, nodes.Pos),
)
_ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Neg, nodes.Pos)
_WORDS: Mapping[type[nodes.Node], str] = {
    nodes.Pow: "** is not allowed; there are + - * /",
    nodes.Mod: "% is not allowed; there are + - * /",
    nodes.FloorDiv: "// is not allowed; there are + - * /",
    nodes.Concat: "~ is not allowed; write the parts one after the other",
    nodes.Assign: "set is not allowed",
    nodes.AssignBlock: "set is not allowed",
    nodes.FilterBlock: "filter blocks are not allowed; filter each value",
    nodes.Dict: "braces inside {{ }} are not allowed",
}
_ESCAPING = frozenset({"e", "escape", "forceescape", "safe"})
_PERCENT = re.compile(r"[ \u00a0\u202f]?%")


class TemplateError(ValueError):
    """A template that cannot be used. `text` says why; `line` counts from 1 inside the template."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.text = text
        self.line = line


@dataclass(frozen=True, slots=True)
class Call:
    """A call in a template. An argument that is not written out (`x + 1`) is `...`."""

    name: str
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template. `variables` are the names it uses, without functions; `calls` its calls of functions.

    `before_percent` are the names printed, unfiltered by `percent`, before a literal `%`.
    """

    source: str
    variables: frozenset[str]
    calls: tuple[Call, ...]
    before_percent: tuple[str, ...]
    _compiled: JinjaTemplate = field(compare=False, repr=False)

    def render(self, context: Mapping[str, Any], *, escape: Callable[[str], str]) -> str:
        """The text, each interpolated value shown and then escaped; at most 16 kB, cut between two values.

        A name that the context lacks is no data; functions are looked up in `context[FUNCTIONS_KEY]`. It never
        fails on data: where values are of kinds that the template cannot handle (text compared with a number), it
        is the source itself and a note, for a message that says too little is better than none.
        """
        try:
            return _joined(self._compiled.root_render_func(self._context(context, escape)))
        except Exception as error:  # whatever values do inside a template, the alert must be told
            return f"{self.source} ({escape(f'k2alert could not render this: {type(error).__name__}')})"

    def _context(self, context: Mapping[str, Any], escape: Callable[[str], str]) -> Context:
        functions = context.get(FUNCTIONS_KEY, {})
        values: dict[str, Any] = {name: known(context.get(name)) for name in self.variables}
        values.update((_CALL + call.name, _callable(functions, call.name)) for call in self.calls)
        values[_ESCAPE_KEY] = escape
        return self._compiled.new_context(values)


def _joined(pieces: Iterator[str]) -> str:
    whole, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > _LONGEST_OUTPUT:
            whole.append("…")
            break
        whole.append(piece)
    return "".join(whole)


def _callable(functions: Mapping[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    """A function of conditions for templates: their no data is None, ours is `NO_DATA`."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        outside = [None if argument is NO_DATA else argument for argument in arguments]
        return known(functions[name](*outside, **keywords))

    return call


# ------------------------------------------------------------------------------------------- environment


@pass_context  # which also keeps Jinja2 from computing constants while it compiles, before `escape` is known
def _finalize(context: Context, value: Any) -> str:
    text: str = context[_ESCAPE_KEY](show(value))
    return text


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with our operators, attributes that are never missing, and errors that stay what they are."""

    intercepted_binops = frozenset("+-*/")
    intercepted_unops = frozenset("+-")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return calculate(operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        return calculate(operator, arg)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):  # before the attribute: a label may be called "items"
            return known(obj.get(attribute, ""))
        return _present(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping):
            return known(obj.get(argument, ""))
        return _present(super().getitem(obj, argument))

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Raise what is being handled. Jinja2 would compile and run code, only for tracebacks that name templates."""
        raise sys.exception() or RuntimeError("no error is being handled")


def _present(value: Any) -> Any:
    # Text has methods by the names of evidence's fields (`title`); they are no data.
    return NO_DATA if isinstance(value, Undefined) or callable(value) else known(value)


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, finalize=_finalize, cache_size=0, auto_reload=False)
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update({**FILTERS, _ITEMS: items_of})
    environment.tests.clear()
    environment.tests.update(TESTS)
    return environment


_ENVIRONMENT = _environment()


# ----------------------------------------------------------------------------------------------- loading


def compile_template(source: str, *, names: Collection[str], functions: Collection[str]) -> Template:
    """A template that may use these names and call these functions. Raises `TemplateError`."""
    return _compile(source, frozenset(names), frozenset(functions))


@lru_cache(maxsize=1024)  # rules share messages, and most of what a reload reads was read before
def _compile(source: str, names: frozenset[str], functions: frozenset[str]) -> Template:
    if len(source) > _LONGEST_SOURCE:
        raise TemplateError(f"too long: {len(source)} characters (at most {_LONGEST_SOURCE})", 1)
    try:
        tree = _ENVIRONMENT.parse(source)
        _check_size(tree)
        checker = _Checker(names, functions)
        checker.check(tree, loops=0, local=frozenset())
        compiled = _compiled(tree)
    except TemplateSyntaxError as error:
        raise TemplateError(error.message or "not a template", error.lineno) from None
    except (RecursionError, MemoryError):
        raise TemplateError(f"nested too deeply (at most {_DEEPEST} levels)", 1) from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, TemplateError):
            raise
        raise TemplateError(f"not a template: {error}", 1) from None
    return Template(
        source=source,
        variables=frozenset(checker.variables),
        calls=tuple(checker.calls),
        before_percent=tuple(dict.fromkeys(checker.before_percent)),
        _compiled=compiled,
    )


def ratio_before_percent(template: Template, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """The metrics between 0 and 1 that the template prints before a literal `%`: 0.93 would read "0.93%"."""
    found = (metrics[name] for name in template.before_percent if name in metrics)
    return tuple(metric.name for metric in found if metric.unit == "ratio" or metric.high <= 1)


def _compiled(tree: nodes.Template) -> JinjaTemplate:
    code = _ENVIRONMENT.compile(tree)
    return JinjaTemplate.from_code(_ENVIRONMENT, code, {})


def _check_size(tree: nodes.Template) -> None:
    """Without recursion, so that what follows may recurse."""
    left: list[tuple[nodes.Node, int]] = [(tree, 0)]
    count = 0
    while left:
        node, depth = left.pop()
        count += 1
        if count > _MOST_NODES:
            _refuse(node, f"too large (at most {_MOST_NODES} names, values and operations)")
        if depth > _DEEPEST:
            _refuse(node, f"nested too deeply (at most {_DEEPEST} levels)")
        left.extend((child, depth + 1) for child in node.iter_child_nodes())


def _refuse(node: nodes.Node, text: str) -> NoReturn:
    raise TemplateError(text, node.lineno or 1)


class _Checker:
    """Checks a template's nodes, notes what it uses, and rewrites the few whose run needs a bound or another name."""

    def __init__(self, names: frozenset[str], functions: frozenset[str]) -> None:
        self.names = names
        self.functions = functions
        self.variables: set[str] = set()
        self.calls: list[Call] = []
        self.before_percent: list[str] = []

    def check(self, node: nodes.Node, *, loops: int, local: frozenset[str]) -> None:
        """Check a node and all below it, `loops` deep in loops that have named `local`."""
        if not isinstance(node, _NODES):
            _refuse(node, _WORDS.get(type(node), f"{type(node).__name__} is not allowed in a template"))
        if isinstance(node, nodes.For):
            self._check_for(node, loops, local)
            return
        if isinstance(node, nodes.Call):
            self._check_call(node)
        check = _CHECKS.get(type(node))
        if check is not None:
            check(self, node, local)
        for child in self._children(node):
            self.check(child, loops=loops, local=local)

    def _children(self, node: nodes.Node) -> Iterator[nodes.Node]:
        return (child for child in node.iter_child_nodes() if not (isinstance(node, nodes.Call) and child is node.node))

    def _check_for(self, node: nodes.For, loops: int, local: frozenset[str]) -> None:
        if node.recursive:
            _refuse(node, "recursive loops are not allowed")
        if loops == _DEEPEST_LOOP:
            _refuse(node, f"loops nest at most {_DEEPEST_LOOP} deep")
        self.check(node.iter, loops=loops, local=local)
        inside = local | {"loop"} | _targets(node.target)
        for child in (*node.body, *([node.test] if node.test else [])):
            self.check(child, loops=loops + 1, local=inside)
        for child in node.else_:
            self.check(child, loops=loops, local=local)
        node.iter = nodes.Filter(node.iter, _ITEMS, [], [], None, None, lineno=node.lineno)

    def _check_call(self, node: nodes.Call) -> None:
        if not isinstance(node.node, nodes.Name):
            _refuse(node, "only a function's name can be called; for text there are filters, as in {{ x | upper }}")
        name = node.node.name
        if name not in self.functions:
            _refuse(node, f"unknown function {name!r}{_nearest(name, self.functions)}")
        _check_arguments(node)
        keywords = tuple((keyword.key, _constant(keyword.value)) for keyword in node.kwargs)
        self.calls.append(Call(name, tuple(map(_constant, node.args)), keywords, node.lineno))
        node.node.name = _CALL + name

    def check_name(self, node: nodes.Name, local: frozenset[str]) -> None:
        """A name is one of the template's, or of a loop around it."""
        if node.name in local:
            return
        if node.name not in self.names:
            function = node.name in self.functions
            advice = f"; it is a function: {node.name}(…)" if function else _nearest(node.name, self.names)
            _refuse(node, f"unknown name {node.name!r}{advice}")
        self.variables.add(node.name)

    def check_output(self, node: nodes.Output, _: frozenset[str]) -> None:
        """Note what is printed before a literal `%`."""
        for printed, after in zip(node.nodes, node.nodes[1:], strict=False):
            if isinstance(after, nodes.TemplateData) and _PERCENT.match(after.data):
                name = _printed(printed)
                if name:
                    self.before_percent.append(name)


def _nearest(name: str, known_names: Collection[str]) -> str:
    found = difflib.get_close_matches(name, known_names, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def _targets(target: nodes.Node) -> frozenset[str]:
    """The names that a loop gives to its items."""
    items = target.items if isinstance(target, nodes.Tuple) else [target]
    named = [item for item in items if isinstance(item, nodes.Name)]
    if len(named) < len(items) or any(item.name.startswith(("_", "k2alert_")) for item in named):
        _refuse(target, "a loop names its items as in {% for run in evidence.runs %}")
    return frozenset(item.name for item in named)


def _check_arguments(node: nodes.Call | nodes.Filter | nodes.Test) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        _refuse(node, "* and ** before arguments are not allowed")
    given = [keyword.key for keyword in node.kwargs]
    twice = next((key for key in given if given.count(key) > 1), None)
    if twice:  # which Jinja2 would leave for Python to refuse
        _refuse(node, f"{twice!r} is given twice")


def _constant(node: nodes.Node) -> Any:
    if isinstance(node, nodes.Neg) and isinstance(node.node, nodes.Const) and isinstance(node.node.value, int | float):
        return -node.node.value
    return node.value if isinstance(node, nodes.Const) else ...


def _printed(node: nodes.Node) -> str | None:
    """The name behind a printed value: itself, in a call, or through filters other than `percent`."""
    while isinstance(node, nodes.Filter) and node.name != "percent" and node.node is not None:
        node = node.node
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Call) and node.args and isinstance(node.node, nodes.Name):
        first = _constant(node.args[0])
        return first if isinstance(first, str) and node.node.name not in ("samples", "label") else None
    return None


def _check_constant(_: _Checker, node: nodes.Const, __: frozenset[str]) -> None:
    value = node.value
    if isinstance(value, str) and len(value) > _LONGEST_STRING:
        _refuse(node, f"text too long (at most {_LONGEST_STRING} characters)")
    if isinstance(value, int | float) and not abs(value) <= _LARGEST_NUMBER:
        _refuse(node, "number too large (at most 1e15)")


def _check_attribute(_: _Checker, node: nodes.Getattr, local: frozenset[str]) -> None:
    attribute, of = node.attr, node.node
    if attribute.startswith("_"):
        _refuse(node, f"{attribute!r} is not allowed")
    if isinstance(of, nodes.Name) and of.name == "labels" and of.name not in local:
        return
    allowed = _LOOP if isinstance(of, nodes.Name) and of.name == "loop" else _ATTRIBUTES
    if attribute not in allowed:
        _refuse(node, f"unknown attribute {attribute!r}{_nearest(attribute, allowed)}")


def _check_item(_: _Checker, node: nodes.Getitem, __: frozenset[str]) -> None:
    argument = node.arg
    parts = [argument.start, argument.stop, argument.step] if isinstance(argument, nodes.Slice) else [argument]
    values = [_constant(part) for part in parts if part is not None]
    kinds = int if isinstance(argument, nodes.Slice) else int | str
    if any(not isinstance(value, kinds) or (isinstance(value, str) and value.startswith("_")) for value in values):
        _refuse(node, 'square brackets take a name or a number that is written out, as in labels["team"]')


def _check_filter(_: _Checker, node: nodes.Filter, __: frozenset[str]) -> None:
    if node.name in _ESCAPING:
        _refuse(node, f"filter {node.name!r} is not allowed: every value is escaped, once, for each receiver")
    if node.name not in FILTERS:
        _refuse(node, f"unknown filter {node.name!r}{_nearest(node.name, FILTERS)}")
    _check_arguments(node)


def _check_test(_: _Checker, node: nodes.Test, __: frozenset[str]) -> None:
    if node.name not in TESTS:
        _refuse(node, f"unknown test {node.name!r}{_nearest(node.name, TESTS)}")
    _check_arguments(node)


def _check_operands(_: _Checker, node: nodes.Node, __: frozenset[str]) -> None:
    for operand in node.iter_child_nodes():
        if isinstance(operand, nodes.List | nodes.Tuple) or isinstance(_constant(operand), str):
            _refuse(node, "arithmetic is for numbers")


def _give_else(_: _Checker, node: nodes.CondExpr, __: frozenset[str]) -> None:
    """`x if y` without else prints nothing, where the strict undefined would fail."""
    if node.expr2 is None:
        node.expr2 = nodes.Const("", lineno=node.lineno)


_CHECKS: Mapping[type[nodes.Node], Callable[[_Checker, Any, frozenset[str]], None]] = {
    nodes.Name: _Checker.check_name,
    nodes.Output: _Checker.check_output,
    nodes.Const: _check_constant,
    nodes.Getattr: _check_attribute,
    nodes.Getitem: _check_item,
    nodes.Filter: _check_filter,
    nodes.Test: _check_test,
    nodes.CondExpr: _give_else,
    **dict.fromkeys(_ARITHMETIC, _check_operands),
}
