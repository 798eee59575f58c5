"""Messages: what they may say, how values are shown, what is escaped, and what could never be let in."""

import html
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.filters import LONGEST_TEXT, MOST_ITEMS
from k2alert.labels import Labels
from k2alert.model import Evidence, JobEvidence, Result, RunEvidence, Severity
from k2alert.template import (
    FUNCTIONS_KEY,
    TEMPLATE_FUNCTIONS,
    TEMPLATE_NAMES,
    Call,
    Template,
    TemplateError,
    compile_template,
    ratio_before_percent,
)
from tests.support.judging import CATALOGUE

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)


def template(source: str) -> Template:
    return compile_template(source, names=CATALOGUE.keys() | TEMPLATE_NAMES, functions=TEMPLATE_FUNCTIONS)


def run(number: int, **keys: Any) -> RunEvidence:
    return RunEvidence(
        **{
            **{"project": "k2/app", "id": str(number), "number": str(number), "workflow": "", "branch": "main"},
            **{"sha": "0123456789abcdef", "title": "Fix <it>", "result": Result.FAILURE, "finished_at": T0},
            **{"duration": timedelta(minutes=12), "web_url": "https://ci/1", **keys},
        }
    )


CONTEXT: Mapping[str, Any] = {
    "success_rate": 0.9312,
    "error_rate": 0.95,
    "avg_duration_minutes": 31.5,
    "p95_duration_minutes": 0.1 + 0.2,
    "total_pipelines": 1234567,
    "coverage": None,
    "coverage_drop": 2.25,
    "value": 0.9312,
    "threshold": 0.95,
    "period": "24h",
    "severity": Severity.WARNING,
    "started_at": T0,
    "now": T0 + timedelta(hours=26, minutes=3),
    "labels": Labels({"team": "payments", "items": "3", "min_success": "0.75", "html": "<b>&"}),
    "evidence": Evidence(
        runs=(
            run(2, jobs=(JobEvidence(name="test", stage="s", result=Result.FAILURE, reason="", web_url=""),)),
            run(1),
        ),
        faults=14,
        samples=20,
    ),
    FUNCTIONS_KEY: {
        "value": lambda name, window=None, offset=None: f"{name} over {window} at {offset}",
        "samples": lambda name: 20,
        "default": lambda name, instead: instead,
        "absent": lambda name: True,
        "baseline": lambda name, length: None,
        "abs": lambda number: None if number is None else abs(number),
    },
}


def render(source: str) -> str:
    return template(source).render(CONTEXT, escape=html.escape)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # The seed's four, as they are written there.
        (
            "Pipeline success rate is {{ success_rate | round(2) }}% in the last 24 hours",
            "Pipeline success rate is 0.93% in the last 24 hours",
        ),
        (
            "Average pipeline duration is {{ avg_duration_minutes | round(1) }} minutes",
            "Average pipeline duration is 31.5 minutes",
        ),
        ("{{ flaky_test_rate | round(2) }}% of tests are flaky", "no data% of tests are flaky"),
        ("Code coverage dropped by {{ coverage_drop | round(1) }}%", "Code coverage dropped by 2.2%"),
        (
            "Pipeline success rate is {{ success_rate | percent }} over {{ period }}",
            "Pipeline success rate is 93.12% over 24h",
        ),
        # Numbers
        ("{{ error_rate | percent }}", "95%"),
        ("{{ 1 | percent }} {{ 0 | percent }} {{ 0.0004 | percent }} {{ 0.12345 | percent }}", "100% 0% 0.04% 12.35%"),
        ("{{ success_rate | percent(0) }} {{ success_rate | percent(digits=1) }}", "93% 93.1%"),
        (
            "{{ p95_duration_minutes }} {{ total_pipelines }} {{ 1234567.8 }} {{ 2.0 }} {{ -0.0 }}",
            "0.3 1234567 1234568 2 0",
        ),
        ("{{ 0.00001234567 }} {{ 0.00000001 }} {{ 1 / 3 }} {{ 100 / 3 }}", "0.0000123457 1e-08 0.333333 33.3333"),
        ("{{ success_rate * 100 }}% {{ -success_rate + 1 }} {{ 1 - +0.5 }}", "93.12% 0.0688 0.5"),
        ("{{ 1 / 0 }} {{ 1e15 * labels.team }} {{ labels.team - 1 }}", "no data no data no data"),
        (
            "{{ 30.4 | round }} {{ 30.44 | round(1) }} {{ 30.41 | round(1, 'ceil') }} {{ 30.49 | round(1, 'floor') }}",
            "30 30.4 30.5 30.4",
        ),
        (
            "{{ labels.min_success | float | percent }} {{ labels.min_success | percent }} {{ labels.items | int }}",
            "75% 75% 3",
        ),
        (
            "{{ labels.team | int }} {{ labels.team | float(0) }} {{ -3 | abs }}",
            "no data 0 3",
        ),
        (
            "{{ '%.1f%% of %d, %s' | format(success_rate * 100, total_pipelines, labels.team) }}",
            "93.1% of 1234567, payments",
        ),
        # Time
        (
            "{{ avg_duration_minutes | duration }} {{ 90 | duration('seconds') }} {{ 49 | duration('hours') }}",
            "31m 30s 1m 30s 2d 1h",
        ),
        (
            "{{ (now - started_at) | duration }} {{ now - started_at }} {{ started_at }}",
            "1d 2h 1d 2h 2026-03-10T12:00:00Z",
        ),
        # No data
        (
            "{{ coverage }}|{{ coverage | percent }}|{{ coverage | round(1) }}|{{ coverage | duration }}",
            "|".join(["no data"] * 4),
        ),
        ("{{ coverage + 1 }}|{{ -coverage }}|{{ coverage | upper | trim | int }}", "no data|no data|no data"),
        (
            "{{ reason }}|{{ coverage | default('none') }}|{{ labels.absent | default('nobody') }}",
            "no data|none|nobody",
        ),
        ("{% if coverage < 70 %}low{% elif coverage >= 70 %}high{% else %}unknown{% endif %}", "unknown"),
        (
            "{{ coverage is none }} {{ coverage is defined }} {{ value is number }} {{ period is string }}",
            "true false true true",
        ),
        ("{{ coverage == none }} {{ coverage == 1 }} {{ coverage != 1 }} {{ 1 < coverage }}", "true false true false"),
        ("{{ '%d' | format(coverage) }} {{ coverage | length }}", "no data 0"),
        ("{{ evidence.first_failing.sha[:8] }} {{ evidence.last_green.jobs[0].name }}", "no data no data"),
        (
            "{{ baseline('coverage', '30d') }} {{ baseline('coverage', '30d') | percent }} {{ abs(coverage) }}",
            "no data no data no data",
        ),
        # Labels and text
        ("[{{ labels.absent }}] [{{ labels['team'] }}] [{{ labels.items }}]", "[] [payments] [3]"),
        (
            "{{ labels.team | upper }} {{ 'two words' | title }} {{ 'x' | capitalize }} {{ 'aXb' | lower }}",
            "PAYMENTS Two Words X axb",
        ),
        (
            "{{ 'one two three' | truncate(8) }} {{ 'one two' | replace('two', '2') }} {{ ' a ' | trim }}",
            "one… one 2 a",
        ),
        ("{{ 'a b/c' | urlencode }} {{ severity }} {{ severity | upper }}", "a%20b/c warning WARNING"),
        (
            "{% for name, value in labels | items %}{{ name }}={{ value }};{% endfor %}",
            "html=&lt;b&gt;&amp;;items=3;min_success=0.75;team=payments;",
        ),
        (
            "{{ [3, 1, 2] | sort | join('<') }} {{ [1, 1, 2] | unique | join }} {{ [1, 2] | last }}{{ [1] | first }}",
            "1&lt;2&lt;3 12 21",
        ),
        (
            "{{ [1, 2] | reverse | join(',') }} {{ 'abc' | length }} {{ [coverage, 1] | sort | join(' ') }}",
            "2,1 3 1 no data",
        ),
        ("{{ 'slow' if avg_duration_minutes > 30 else 'fast' }} [{{ 'x' if false }}]", "slow []"),
        ("{{ labels.team in ['payments', 'search'] }} {{ not true }} {{ true and false or true }}", "true false true"),
        # Evidence
        (
            "{% for run in evidence.runs if run.jobs %}{{ loop.index }}. {{ run.title }} {{ run.sha[:4] }} "
            "{{ run.duration }}"
            "{% for job in run.jobs %} {{ job.name }}{% else %} no jobs{% endfor %}{% endfor %}"
            ", {{ evidence.more }} more",
            "1. Fix &lt;it&gt; 0123 12m test, 12 more",
        ),
        ("{{ evidence.runs | length }} of {{ evidence.samples }}; {{ evidence.runs[1].number }}", "2 of 20; 1"),
        # Functions: `value` is a name and a function
        ("{{ value }} {{ value('success_rate', window='1h') }}", "0.9312 success_rate over 1h at None"),
        ("{{ samples('success_rate') }} {{ default('coverage', 80) }} {{ absent('coverage') }}", "20 80 true"),
        # The author's own text
        ("<b>{{ labels.html }}</b> {{ '<i>' }}", "<b>&lt;b&gt;&amp;</b> &lt;i&gt;"),
        ("{% raw %}{{ x }}{% endraw %}{# a comment #}", "{{ x }}"),
        ("", ""),
    ],
)
def test_messages_read_as_people_expect(source: str, text: str) -> None:
    assert render(source) == text


def test_a_template_knows_what_it_uses() -> None:
    used = template(
        "{{ coverage }}{{ labels.team }}\n{{ value('success_rate', window='1h') }}{{ abs(value - 1) }}{{ round(-2) }}"
    )
    assert used.variables == {"coverage", "labels", "value"}
    assert used.calls == (
        Call("value", ("success_rate",), (("window", "1h"),), 2),
        Call("abs", (...,), (), 2),
        Call("round", (-2,), (), 2),
    )
    assert used == template(used.source)


@pytest.mark.parametrize(
    ("source", "metrics"),
    [
        ("{{ success_rate | round(2) }}% in the last 24 hours", ("success_rate",)),
        ("{{ flaky_test_rate | round(2) }} % of tests", ("flaky_test_rate",)),
        ("{{ value('success_rate', window='1h') }}%", ("success_rate",)),
        ("{% if value %}{{ health_score }}%{% endif %}{{ health_score }}%", ("health_score",)),
        ("{{ success_rate | percent }}%", ()),
        ("{{ success_rate * 100 }}%", ()),
        ("{{ coverage_drop | round(1) }}%", ()),
        ("{{ coverage }}%", ()),
        ("{{ samples('success_rate') }}% {{ success_rate }} of 100%", ()),
        ("{{ success_rate }}", ()),
    ],
)
def test_a_ratio_before_a_percent_sign_is_noticed(source: str, metrics: tuple[str, ...]) -> None:
    assert ratio_before_percent(template(source), CATALOGUE) == metrics


ERRORS = [
    ("{{ sucess_rate }}", 1, "did you mean 'success_rate'?"),
    ("a\n\n{{ zzz }}", 3, "unknown name 'zzz'"),
    ("{{ samples }}", 1, "it is a function"),
    ("{{ smples('success_rate') }}", 1, "did you mean 'samples'?"),
    ("{{ success_rate | percnt }}", 1, "did you mean 'percent'?"),
    ("{{ success_rate is odd }}", 1, "unknown test 'odd'"),
    ("{{ evidence.runz }}", 1, "did you mean 'runs'?"),
    ("{{ labels.team.upper() }}", 1, "{{ x | upper }}"),
    ("{{ success_rate | safe }}", 1, "every value is escaped"),
    ("{{ labels | e }}", 1, "every value is escaped"),
    ("{{ 'a' ~ 'b' }}", 1, "one after the other"),
    ("{{ 'a' + 'b' }}", 1, "arithmetic is for numbers"),
    ("{{ 2 ** 3 }}", 1, "** is not allowed"),
    ("{{ '%s' % 3 }}", 1, "% is not allowed"),
    ("{{ 7 // 2 }}", 1, "// is not allowed"),
    ("{{ labels[value] }}", 1, "square brackets"),
    ("{{ labels['a' if value else 'b'] }}", 1, "square brackets"),
    ("{{ evidence.runs['a':] }}", 1, "square brackets"),
    ("{{ value(*labels) }}", 1, "* and **"),
    ("{{ value(**labels) }}", 1, "* and **"),
    ("{{ value | round(*labels) }}", 1, "* and **"),
    ('{{ value("coverage", window="1h", window="2h") }}', 1, "'window' is given twice"),
    ("{{ value | round(precision=1, precision=2) }}", 1, "'precision' is given twice"),
    ("{{ {'a': 1} }}", 1, "braces"),
    ("{{ 1e16 }}", 1, "number too large"),
    ("{{ '" + "x" * 201 + "' }}", 1, "text too long"),
    ("{% for loop in labels %}{% endfor %}", 1, "loop"),
    ("{% for _x in labels %}{% endfor %}", 1, "names its items"),
    ("{% for labels.x in labels %}{% endfor %}", 1, "'in'"),
    ("{% for x in labels recursive %}{% endfor %}", 1, "recursive"),
    ("{% for a in labels %}" * 3 + "{% endfor %}" * 3, 1, "at most 2 deep"),
    ("{% for x in labels %}{% endfor %}{{ x }}", 1, "unknown name 'x'"),
    ("{% for labels in labels %}{{ labels.team }}{% endfor %}", 1, "unknown attribute 'team'"),
    ("{{ loop.index }}", 1, "unknown name 'loop'"),
    ("{{ 1 ", 1, "end of"),
    ("{% if value %}", 1, "endif"),
    ("x" * 4097, 1, "too long"),
    ("{{ value }}" * 310, 1, "too large"),
]


@pytest.mark.parametrize(("source", "line", "said"), ERRORS, ids=[source[:40] for source, _, _ in ERRORS])
def test_an_error_says_what_and_on_which_line(source: str, line: int, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        template(source)
    assert said in caught.value.text
    assert caught.value.line == line


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ labels.__class__ }}",
        "{{ labels['__class__'] }}",
        "{{ labels | attr('__class__') }}",
        "{{ labels | map(attribute='__class__') | join }}",
        "{{ self }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ joiner }}",
        "{{ namespace() }}",
        "{{ lipsum(n=100000) }}",
        "{{ dict() }}",
        "{% for i in range(99999) %}{% endfor %}",
        "{{ 9**9**9 }}",
        "{{ 'a' * 500000000 }}",
        "{{ [1] * 500000000 }}",
        "{{ 'a' | center(500000000) }}",
        "{{ 'a' | indent(500000000) }}",
        "{{ 'a' | batch(500000000) | list }}",
        "{{ 'a' | wordwrap(1) }}",
        "{{ value | pprint }}",
        "{{ value | tojson }}",
        "{% set x = 1 %}",
        "{% set x %}a{% endset %}",
        "{% macro m() %}{% endmacro %}",
        "{% call value() %}{% endcall %}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}{% endfilter %}",
        "{% autoescape false %}{% endautoescape %}",
        "{% with x = 1 %}{% endwith %}",
        "{% do labels.pop() %}",
        "{{ labels.pop('team') }}",
        "{{ value.real.__class__ }}",
        "{{ k2alert_call_value }}",
        "{{ (value)('success_rate').x }}",
        "{{ value('a')('b') }}",
        "{{ " + "(" * 2000,
        "{{ " + "[" * 1500 + "]" * 1500 + " }}",
        "{{ " + "-" * 3000 + "1 }}",
        "{{ " + "not " * 900 + "1 }}",
        "{{ 1" + "|abs" * 900 + " }}",
        "{{ " + "1 if 1 else " * 300 + "1 }}",
        "{% if 1 %}" * 200 + "{% endif %}" * 200,
        "{{ " + "9" * 4000 + " }}",
        "x" * 1_000_000,
    ],
    ids=lambda source: source[:40],
)
def test_what_could_escape_or_run_away_is_refused_at_load(source: str) -> None:
    with pytest.raises(TemplateError):
        template(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ '%500000000d' | format(1) }}", "no data"),
        ("{{ '%(a)s' | format(1) }} {{ '%s %s' | format(1) }} {{ '%*d' | format(9, 1) }}", "no data no data no data"),
        ("{{ ('%99d' | format(1)) | length }}", "99"),
        ("{{ labels.team.title }}", "no data"),  # text's own method, not a field of evidence
        ("{{ evidence.runs.count }}", None),
        ("{{ 1e15 * 1e15 | round(400) }}", "1000000000000000019884624838656"),
        ("{{ 1 | round(-5) }} {{ 1 | round('x') }} {{ 1 | round(1, 'x') }}", "1 1 no data"),
        ("{{ 1e15 | duration('hours') }} {{ 1 | duration('weeks') }}", "no data no data"),
    ],
)
def test_what_is_let_in_is_bounded(source: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(TemplateError):
            template(source)
    else:
        assert render(source) == text


def test_no_value_is_longer_than_the_bound_whatever_the_filters() -> None:
    huge = {"labels": Labels({f"l{index:03}": "a" * 1_000_000 for index in range(100)})}
    shown = template("{{ labels.l001 }}").render(huge, escape=str)
    assert shown == "a" * (LONGEST_TEXT - 1) + "…"
    for chain in ("replace('a', 'bbbbbbbbbb')", "urlencode", "upper | replace('A', 'aa') | replace('a', 'AA')"):
        assert len(template("{{ labels.l001 | " + chain + " }}").render(huge, escape=str)) <= LONGEST_TEXT
    assert len(template("{{ labels | join('" + "x" * 200 + "') }}").render(huge, escape=str)) <= LONGEST_TEXT
    assert template("{% for a in labels %}{% for b in labels %}.{% endfor %}{% endfor %}").render(
        huge, escape=str
    ) == "." * (MOST_ITEMS * MOST_ITEMS)


def test_the_whole_message_is_cut_between_two_values() -> None:
    huge = {"labels": Labels({f"l{index:03}": "&" * 1000 for index in range(20)})}
    text = template("{% for a in labels %}<{{ labels.l001 }}>{% endfor %}").render(huge, escape=html.escape)
    assert len(text) <= 16_385
    assert text.endswith("…")
    assert "&" not in text.replace("&amp;", "")  # no half of an entity


def test_a_message_that_cannot_be_rendered_says_so_and_is_sent() -> None:
    source = "<b>{% if success_rate < labels.team %}x{% endif %}"
    assert render(source) == f"{source} (k2alert could not render this: TypeError)"


def test_a_name_without_a_value_is_no_data() -> None:
    assert (
        template("{{ success_rate }} {{ labels.team }} {% for run in evidence.runs %}x{% endfor %}").render(
            {}, escape=str
        )
        == "no data no data "
    )


def test_text_from_a_forge_never_becomes_a_template_or_markup() -> None:
    hostile = run(1, title="{{ labels }}<script>@here{% for %}")
    text = template("{{ evidence.runs[0].title }}").render({"evidence": Evidence(runs=(hostile,))}, escape=html.escape)
    assert text == "{{ labels }}&lt;script&gt;@here{% for %}"


NAMES = st.sampled_from(
    ["success_rate", "coverage", "value", "period", "labels", "labels.team", "evidence.runs", "now"]
)
FILTERS = st.sampled_from(
    [
        "percent",
        "duration",
        "round(1)",
        "upper",
        "join(',')",
        "length",
        "sort",
        "first",
        "default('x')",
        "int",
        "truncate(3)",
    ]
)


@given(
    parts=st.lists(st.tuples(NAMES, st.lists(FILTERS, max_size=3)), min_size=1, max_size=4),
    value=st.one_of(st.none(), st.text(max_size=9), st.integers(), st.floats(), st.just(T0), st.lists(st.integers())),
)
def test_rendering_always_gives_text(parts: list[tuple[str, list[str]]], value: Any) -> None:
    source = " ".join("{{ " + " | ".join([name, *filters]) + " }}" for name, filters in parts)
    context = dict.fromkeys(("success_rate", "coverage", "value", "period", "labels", "evidence", "now"), value)
    assert "could not render" not in template(source).render(context, escape=html.escape)
