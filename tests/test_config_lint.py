"""What `check` warns of though it is allowed: tables of what is written, and what is said of it."""

from pathlib import Path

import pytest

from k2alert.config.codes import CODES
from k2alert.config.ignore import ignored_in
from k2alert.config.load import load, load_rules
from k2alert.judge.condition import compile_condition
from k2alert.judge.lint import suspicions
from k2alert.measure.catalogue import METRICS
from k2alert.model import Window
from scripts.checks_page import page

ROOT = Path(__file__).parents[1]


def a_rule(condition: str, *more: str, period: str = "24h", samples: str = "min_samples: 10") -> str:
    keys = [f"condition: {condition}", f"period: {period}", "severity: info", "message: red", samples, *more]
    return "alert_rules:\n  - name: red\n" + "".join(f"    {key}\n" for key in keys if key)


def said(folder: Path, text: str, main: str = "") -> list[str]:
    """The warnings of a rule file, as code and place; of a main file with these rules where one is given."""
    file = folder / "rules.yml"
    file.write_text(main + text)
    loaded = load(file, environ={}, metrics=METRICS) if main else load_rules([file], metrics=METRICS)
    assert not [problem for problem in loaded.problems if not problem.warning]
    return [f"{problem.code} {problem.place.line}:{problem.place.column}" for problem in loaded.problems]


NEVER = ["success_rate < 0.5 and success_rate > 0.9", "0.9 < success_rate < 0.5", "failed_pipelines < 0"]
NEVER += ["not success_rate <= 1", "success_rate * 100 > 101", "success_rate < success_rate", "1 > 2"]
NEVER += ['value("success_rate", window="1h") < 0.2 and value("success_rate", window="1h") >= 0.2']
NEVER += ["success_rate < 0.5 and (failed_pipelines > 3 and success_rate == 0.6)", "min(success_rate, error_rate) > 1"]
ALWAYS = ["success_rate <= 1", "failed_pipelines >= 0", "success_rate < 0.9 or success_rate >= 0.9", "1 < 2"]
ALWAYS += ["abs(coverage_drop) >= 0", "not failed_pipelines < 0", "success_rate == success_rate"]
UNIT = ["success_rate < 95", "95 > success_rate", "coverage_drop > 200", 'lower("success_rate") < 95', "coverage > 101"]
UNIT += ["success_rate < 95 and failed_pipelines > 3", "failed_pipelines == -1"]
FINE = ["success_rate < 0.95", "success_rate < 0.5 or success_rate > 0.9", "consecutive_failures >= 3"]
FINE += ["0.5 < success_rate < 0.9", "coverage_drop > 2", 'label("x", 1) > 3', "max_benchmark_regression_percent > 200"]
FINE += ['value("success_rate", window="1h") < 0.2 and value("success_rate", window="6h") >= 0.2', "success_rate != 1"]
FINE += ["success_rate / error_rate > 5", "success_rate - error_rate < 0.5", 'absent("coverage")', "success_rate == 1"]
FINE += ["success_rate < 0.5 if failed_pipelines > 3 else success_rate < 0.9", 'label("team", "") in ["a", "b"]']
FINE += [
    'default("success_rate", 5) > 3',
    "success_rate < 0.9 and not success_rate < 0.5",
    'samples("success_rate") > 99',
]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        *((text, {"never"}) for text in NEVER),
        *((text, {"always"}) for text in ALWAYS),
        *((text, {"unit"}) for text in UNIT),
        *((text, set()) for text in FINE),
    ],
)
def test_a_condition_that_can_hardly_be_meant_is_told(text: str, codes: set[str]) -> None:
    condition = compile_condition(text, metrics=METRICS, window=Window(), retention=None)
    assert {found.code for found in suspicions(condition, METRICS)} == codes


def test_a_threshold_in_the_wrong_unit_is_told_at_its_place_and_with_the_right_one(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(a_rule("success_rate < 95"))
    (problem,) = load_rules([file], metrics=METRICS).problems
    assert str(problem) == (
        f"{file}:3:31: warning: condition: 95 is outside of what success_rate can be (ratio, from 0 to 1): write 0.95"
    )


MAIN = "sources: [{type: gitlab, name: g, projects: [k2/app], poll_interval: 5m, max_staleness: 1h}]\n"
HEARD = "receivers: [{name: a, slack: {webhook_url: https://h.example.com/x}}]\n"
TWO = "receivers: [{name: a, slack: {webhook_url: https://h.example.com/x}}, {name: b, slack: {webhook_url: https://h.example.com/y}}]\n"
ROUTED = MAIN + HEARD + "route: {receiver: a}\n"
NIGHT = "time_intervals: [{name: night, time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}]}]}]\n"
RULE = a_rule("failed_pipelines > 3")

WRITTEN = {
    "a ratio without samples": (a_rule("success_rate < 0.95", samples=""), "", ["min-samples 3:5"]),
    "one sample, if that is meant": (a_rule("success_rate < 0.95", samples="min_samples: 1"), "", []),
    "a ratio with confidence": (a_rule('upper("success_rate") < 0.95', samples=""), "", []),
    "a clear that overlaps": (a_rule("success_rate < 0.95", "clear: success_rate >= 0.9"), "", ["overlap 8:5"]),
    "a clear with a gap": (a_rule("success_rate < 0.95", "clear: success_rate >= 0.97"), "", []),
    "a clear about something else": (a_rule("success_rate < 0.95", "clear: consecutive_failures < 1"), "", []),
    "a clear that never comes": (a_rule("success_rate < 0.95", "clear: success_rate > 1"), "", ["never 8:12"]),
    "an unknown kind of ref": (a_rule("failed_pipelines > 3", "match: ['ref_type=\"main\"']"), "", ["value 8:13"]),
    "a known kind of ref": (a_rule("failed_pipelines > 3", "match: ['ref_type!=\"tag\"']"), "", []),
    "a period shorter than the poll": (a_rule("failed_pipelines > 3", period="1m"), ROUTED, ["window 7:5"]),
    "a window shorter than the poll": (
        a_rule('value("failed_pipelines", window="1m") > 3'), ROUTED, ["window 6:16"]),
    "a receiver that nobody routes to": (RULE, MAIN + TWO + "route: {receiver: a}\n", ["unused 2:72"]),
    "an interval that nothing uses": (RULE, MAIN + HEARD + NIGHT + "route: {receiver: a}\n", ["unused 3:19"]),
    "an interval that a rule uses": (
        a_rule("failed_pipelines > 3", "exclude_during: [night]"), MAIN + HEARD + NIGHT + "route: {receiver: a}\n", []),
    "a route behind one that takes all": (
        RULE,
        MAIN + HEARD + "route: {receiver: a, routes: [{name: x}, {name: y, matchers: ['a=\"b\"']}]}\n",
        ["unreachable 3:42"],
    ),
    "a route behind one that continues": (
        RULE, MAIN + HEARD + "route: {receiver: a, routes: [{name: x, continue: true}, {name: y}]}\n", []),
    "a route behind a narrower one": (
        RULE, MAIN + HEARD + "route: {receiver: a, routes: [{name: x, matchers: ['a=\"b\"']}, {name: y}]}\n", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "main", "wanted"), WRITTEN.values(), ids=WRITTEN)
def test_what_can_hardly_be_meant_is_told(tmp_path: Path, text: str, main: str, wanted: list[str]) -> None:
    assert said(tmp_path, text, main) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("    condition: success_rate < 95  # k2alert: ignore unit", []),
        ("    # k2alert: ignore unit\n    condition: success_rate < 95", []),
        (
            "    # k2alert: ignore never, unit because we count so\n\n    # more\n    condition: success_rate < 95",
            ["ignore"] * 4,
        ),
        ("    condition: success_rate < 95  # k2alert: ignore never", ["unit"]),
        ("    condition: success_rate < 95\n    # k2alert: ignore unit", ["unit"]),
        ("    condition: success_rate < 95  # k2alert: ignore precent", ["unit", "ignore"]),
    ],
)
def test_a_comment_ignores_a_code_on_its_line_or_the_next(tmp_path: Path, text: str, wanted: list[str]) -> None:
    written = a_rule("success_rate < 95").replace("    condition: success_rate < 95", text)
    assert [line.split()[0] for line in said(tmp_path, written)] == wanted


def test_errors_and_what_is_not_set_cannot_be_ignored() -> None:
    ignored = ignored_in("a: 1 # k2alert: ignore config, unset, unreadable", "f")
    assert ignored.codes == frozenset()
    assert [problem.code for problem in ignored.problems] == ["ignore"] * 3


def test_every_code_is_said_somewhere_and_has_its_section() -> None:
    folders = ("config", "judge", "cli")
    sources = [file for folder in folders for file in (ROOT / "k2alert" / folder).glob("*.py")]
    text = "".join(file.read_text() for file in sources if file.name != "codes.py")
    said_somewhere = {code for code in CODES if f'"{code}"' in text} | {"config"}
    assert said_somewhere == set(CODES)
    assert (ROOT / "docs/checks.md").read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("rules", sorted((ROOT / "rules").glob("*.yml")), ids=lambda path: path.name)
def test_only_known_codes_are_said_of_the_shipped_rules(rules: Path) -> None:
    assert {problem.code for problem in load_rules([rules], metrics=METRICS).problems} <= set(CODES)
