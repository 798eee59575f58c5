"""`k2alert test`: what a person writes of runs and expects of rules, and what comes of it."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import Result

from k2alert.rehearse.rule_test_spec import test_schema as schema_of_tests
from tests.support.rule_tests import one_test
from tests.support.rule_tests import run_tests as run_with

RULES = """
alert_rules:
  - {name: red, condition: consecutive_failures >= 3, period: 24h, severity: critical,
     message: "{{ consecutive_failures }} in a row"}
  - {name: slow_job, condition: p95_job_duration_minutes > 10, period: 24h, severity: warning, message: slow,
     by: [project, job]}
  - {name: waits, condition: oldest_pending_minutes > 10, period: 1h, severity: warning, message: waits, for: 5m}
  - {name: low_coverage, condition: coverage < 80, period: 7d, severity: info, message: "{{ coverage }}"}
  - {name: flaky, condition: flaky_tests > 0, period: 7d, severity: info, message: "{{ flaky_tests }}"}
  - {name: broken_deploys, condition: failed_deployments > 0, period: 1d, severity: info, message: "x",
     by: [project, environment]}
"""


def run_tests(folder: Path, text: str, *options: str, rules: str = RULES) -> Result:
    return run_with(folder, text, *options, rules=rules)


def test_the_contracts_own_example_passes(tmp_path: Path) -> None:
    text = """
rule_files: [ci.yml]
tests:
  - name: three reds in a row page the owner
    runs: {project: k2/app, branch: main, every: 10m, results: "++++---+", duration: 12m}
    expect:
      - {at: 75m, alert: main_is_red, state: firing, labels: {project: k2/app}, message: "3 in a row"}
      - {at: 90m, alert: main_is_red, state: inactive}
"""
    rule = RULES.replace("name: red", "name: main_is_red")
    (tmp_path / "ci.yml").write_text(rule)
    result = run_tests(tmp_path, text)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "1 test, 0 failed"), result.output


RED = '{project: k2/app, every: 10m, results: "---", duration: 5m}'

HELD = [
    # Created at 0, 10 and 20 minutes, the third ends at 25: not a second earlier is it the third.
    (RED, ["{at: 24m30s, alert: red, state: inactive}", "{at: 25m, alert: red, state: firing}"]),
    # Told after group_wait, 30 s; once; and again after repeat_interval.
    (
        RED,
        ["{at: 24m, receiver: default, count: 0}", "{at: 25m, receiver: default, kind: firing, contains: 3 in a row}"],
    ),
    (RED, ["{at: 26m, receiver: default, count: 0}", "{at: 265m, receiver: default, kind: repeat, count: 1}"]),
    # Nothing ran for longer than the period: no data, and a firing alert is kept.
    (RED, ["{at: 25h, alert: red, state: no_data}", "{at: 25h, alert: red, state: firing}"]),
    # Several series.
    (
        f'[{RED}, {{project: k2/lib, every: 10m, results: "--+"}}]',
        [
            "{at: 30m, alert: red, state: firing, labels: {project: k2/app}}",
            "{at: 30m, alert: red, state: inactive, labels: {project: k2/lib}}",
        ],
    ),
    # Cancelled and skipped runs decide nothing; errors and timeouts do; _ is none.
    ('{project: k2/app, every: 10m, results: "-cs_T_E"}', ["{at: 65m, alert: red, state: firing, value: 3}"]),
    # A letter may be repeated, and spaces are for the eye.
    ('{project: k2/app, every: 1m, results: "+x20 -x3"}', ["{at: 27m, alert: red, state: firing, value: 3}"]),
    # Jobs, by their labels; GitLab's number is cut.
    (
        "{project: k2/app, result: failure, duration: 20m, jobs: [{name: test 1/2}, {name: lint, duration: 2m}]}",
        [
            "{at: 20m, alert: slow_job, state: firing, labels: {job: test}}",
            "{at: 20m, alert: slow_job, state: inactive, labels: {job: lint}}",
        ],
    ),
    # What waits now, and for how long.
    (
        "{project: k2/app, result: success, queued: 20m, duration: 25m}",
        [
            "{at: 10m30s, alert: waits, state: pending}",
            "{at: 15m30s, alert: waits, state: firing}",
            "{at: 20m, alert: waits, state: ended}",
        ],
    ),
    # Reports.
    (
        "{project: k2/app, result: success, coverage: 79.5}",
        ["{at: 5m, alert: low_coverage, state: firing, value: 79.5}"],
    ),
    (
        "{project: k2/app, result: success, tests: {passed: [a, b], flaky: [c]}}",
        ['{at: 5m, alert: flaky, state: firing, message: "1"}'],
    ),
    ("{project: k2/app, result: success, tests: {total: 10}}", ["{at: 5m, alert: flaky, state: inactive}"]),
]


@pytest.mark.parametrize(("runs", "expect"), HELD)
def test_what_is_expected_comes_true(tmp_path: Path, runs: str, expect: Sequence[str]) -> None:
    result = run_tests(tmp_path, one_test(runs, *expect))
    assert result.exit_code == 0, result.output


def test_deployments_count(tmp_path: Path) -> None:
    deployed = "deployments: [{project: k2/app, environment: live, at: 10m, duration: 2m, result: failure}]"
    expect = ["{at: 11m, alert: broken_deploys, state: inactive}", "{at: 12m, alert: broken_deploys, state: firing}"]
    assert run_tests(tmp_path, one_test("[]", *expect, more=deployed)).exit_code == 0


def test_while_a_forge_cannot_be_read_its_alerts_hold_still(tmp_path: Path) -> None:
    unread = "unread: [{from: 26m, to: 60m}]"
    runs = '{project: k2/app, every: 10m, results: "---+", duration: 5m}'
    expect = [
        "{at: 30m, alert: red, state: firing}",
        "{at: 45m, alert: red, state: unknown}",
        "{at: 45m, alert: red, state: inactive}",
        "{at: 60m, alert: red, state: inactive}",
    ]
    assert run_tests(tmp_path, one_test(runs, *expect, more=unread)).exit_code == 0


def test_a_main_files_routes_say_who_is_told(tmp_path: Path) -> None:
    (tmp_path / "k2alert.yml").write_text(
        """
receivers:
  - {name: team, webhook: {url: http://hooks.example.com}}
  - {name: pager, slack: {bot_token: $NOT_SET, channel: "#a"}}
route: {receiver: team, routes: [{name: pages, matchers: ['severity="critical"'], receiver: pager, group_wait: 5m}]}
rule_files: [rules.yml]
"""
    )
    expect = ["{at: 30m, receiver: pager, kind: firing}", "{at: 30m, receiver: team, count: 0}"]
    text = one_test(RED, *expect).replace("rule_files: [rules.yml]", "config: k2alert.yml")
    result = run_tests(tmp_path, text)
    assert result.exit_code == 0, result.output


def test_a_test_files_own_route_may_name_anybody(tmp_path: Path) -> None:
    route = "route: {receiver: a, routes: [{matchers: ['project=\"k2/app\"'], receiver: b, group_wait: 0s}]}\n"
    result = run_tests(tmp_path, route + one_test(RED, "{at: 25m, receiver: b}", "{at: 25m, receiver: a, count: 0}"))
    assert result.exit_code == 0, result.output


def test_what_did_not_come_true_is_shown_with_what_came_instead(tmp_path: Path) -> None:
    expect = ["{at: 24m, alert: red, state: firing}", "{at: 25m, receiver: default, kind: resolved}"]
    result = run_tests(tmp_path, one_test(RED, *expect))
    assert result.exit_code == 1
    assert result.output.replace(str(tmp_path), "") == (
        "FAIL  /tests.yml: it\n"
        "      /tests.yml:6:9\n"
        "        expected  at 24m: red is firing\n"
        "        got       source=gitlab project=k2/app is inactive (consecutive_failures 2 runs of 2 samples)\n"
        "      /tests.yml:7:9\n"
        "        expected  at 25m: default is told something (resolved)\n"
        "        got       25m30s: default was told (firing): red · k2/app: 3 runs >= 3, 3 of 3 runs,"
        " since 2026-01-05 00:25 UTC (30s): 3 in a row\n"
        "1 test, 1 failed\n"
    )


def test_only_the_tests_that_are_wanted_run(tmp_path: Path) -> None:
    text = one_test(RED, "{at: 24m, alert: red, state: firing}")
    assert run_tests(tmp_path, text, "--run", "^that$").output == "0 tests, 0 failed\n"
    assert run_tests(tmp_path, text, "--run", "(").exit_code == 2


def test_programs_and_ci_read_the_same(tmp_path: Path) -> None:
    text = one_test(RED, "{at: 24m, alert: red, state: firing}")
    result = run_tests(tmp_path, text, "--output", "json", "--junit", str(tmp_path / "junit.xml"))
    found = json.loads(result.output)
    (test,) = found["files"][0]["tests"]
    assert (found["passed"], test["passed"], test["differences"][0]["line"]) == (False, False, 6)
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suites[0].get("tests"), suites[0].get("failures"), suites[0].get("errors")) == ("1", "1", "0")
    assert "24m" in str(suites[0][0][0].get("message"))


WRONG = [
    ("tests: []", ":1:1: there are no rules to test"),
    ("rule_files: [gone.yml]\ntests: []", ":1:14: rule_files: there is no file"),
    (one_test(RED, "{at: 1m, alert: rd, state: firing}"), ':6:25: alert: unknown rule "rd"; did you mean "red"?'),
    (one_test(RED, "{at: 1m, alert: red, state: fire}"), ":6:37: state: must be inactive, pending, firing, ended"),
    (one_test(RED, "{at: 1m, alert: red, stat: firing}"), ':6:30: unknown key "stat"; did you mean "state"?'),
    (one_test(RED, "{at: 1m, receiver: ops}"), ':6:28: receiver: unknown receiver "ops"'),
    (one_test(RED, "{at: 1m}"), ":6:9: expect[0]: expects either of an `alert`"),
    (one_test("{project: a/b, results: '+?'}", "{at: 1m, receiver: default}"), ":4:35: results: '?' is no result"),
    (one_test("{project: a/b, results: '++'}", "{at: 1m, receiver: default}"), "several results need `every`"),
    (one_test("{project: a/b}", "{at: 1m, receiver: default}"), "needs either"),
    (one_test("{project: a/b, result: god}", "{at: 1m, receiver: default}"), ":4:34: result: must be success,"),
    ("tests: [\n", ":2:1: "),
    ("- a", "must be a mapping"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_told_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    result = run_tests(tmp_path, text)
    assert result.exit_code == 1
    assert said in result.output, result.output


def test_wrong_rules_are_told_at_theirs(tmp_path: Path) -> None:
    result = run_tests(tmp_path, one_test(RED, "{at: 1m, receiver: default}"), rules=RULES.replace(">= 3", ">= x"))
    assert result.exit_code == 1
    assert "rules.yml:3:" in result.output
    assert "unknown name 'x'" in result.output


def test_the_schema_takes_the_shipped_tests_and_refuses_nonsense() -> None:
    schema = schema_of_tests()
    for file in Path("rules/tests").glob("*.yml"):
        jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    wrong = {"tests": [{"name": "x", "runs": {"projct": "a"}, "expect": [{"at": "1m"}]}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
