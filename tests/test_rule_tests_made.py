"""What rule tests can make up: runs that go again, jobs with retries, what is open, schedules, defaults of a file."""

import re
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
import yaml

from k2alert.rehearse.rule_test_spec import test_schema as schema_of_tests
from tests.support.rule_tests import one_test, run_tests

RULES = """
alert_rules:
  - {name: red, condition: consecutive_failures >= 1, period: 24h, severity: critical, message: red}
  - {name: rate, condition: success_rate < 0.99, period: 24h, severity: warning, message: "{{ success_rate }}"}
  - {name: runs, condition: total_pipelines >= 0, period: 24h, severity: info, message: "{{ total_pipelines }}"}
  - {name: running, condition: running_pipelines > 0, period: 1h, severity: info, message: x}
  - {name: queue, condition: pending_pipelines > 0, period: 1h, severity: info, message: x}
  - {name: waiting, condition: oldest_pending_minutes >= 10, period: 1h, severity: warning, message: x}
  - {name: job_queue, condition: pending_jobs > 0, period: 1h, severity: info, message: x, by: [project, runner]}
  - {name: job_waits, condition: oldest_pending_job_minutes >= 10, period: 1h, severity: info, message: x}
  - {name: retried, condition: job_retry_rate > 0, period: 24h, severity: info,
     message: "{{ job_retry_rate | percent }}", by: [project, job]}
  - {name: bad_jobs, condition: failed_jobs > 0, period: 24h, severity: info, message: x, by: [project, job]}
  - {name: slow_job, condition: avg_job_duration_minutes > 0, period: 24h, severity: info, message: x,
     by: [project, job]}
  - {name: job_wait, condition: avg_job_queue_minutes > 0, period: 24h, severity: info, message: x, by: [project, job]}
  - {name: flaky, condition: flaky_tests > 0, period: 24h, severity: info, message: "{{ flaky_tests }}"}
  - {name: missed, condition: schedule_overdue_minutes > 0, period: 24h, severity: warning, message: "overdue",
     by: [project, schedule]}
  - {name: deployed, condition: deployments > 0, period: 24h, severity: info, message: x}
"""

ONE = "project: k2/app, duration: 10m"

HELD = [
    # A run that goes again counts by its last outcome until the next one is there.
    pytest.param(
        f"{{{ONE}, result: failure, reruns: [{{after: 5m, result: success, duration: 4m}}]}}",
        [
            "{at: 10m, alert: red, state: firing}",
            "{at: 18m30s, alert: red, state: firing}",
            "{at: 16m, alert: running, state: firing}",
            "{at: 19m, alert: red, state: inactive}",
            "{at: 19m, alert: runs, state: firing, value: 1}",
        ],
        id="a run that goes again",
    ),
    pytest.param(
        f'{{{ONE}, every: 1h, results: "-_-",'
        " reruns: [{after: 0s, result: timeout}, {after: 0s, result: success}]}",
        [
            "{at: 29m, alert: red, state: firing}",
            "{at: 30m, alert: red, state: inactive}",
            "{at: 2h15m, alert: red, state: firing}",
            "{at: 2h30m, alert: red, state: inactive}",
            "{at: 3h, alert: runs, state: firing, value: 2}",
        ],
        id="each of a series, twice",
    ),
    pytest.param(
        f"{{{ONE}, result: failure, reruns: [{{after: 5m, result: running}}]}}",
        ["{at: 40m, alert: red, state: firing}", "{at: 40m, alert: running, state: firing}"],
        id="one that goes again and does not end",
    ),
    pytest.param(
        f"{{{ONE}, result: failure, tests: {{failed: [a], passed: [b]}},"
        " reruns: [{after: 5m, result: success, tests: {passed: [a, b]}}]}",
        ["{at: 10m, alert: flaky, state: inactive}", "{at: 25m, alert: flaky, state: firing, value: 1}"],
        id="a test that passes the second time is flaky",
    ),
    # What is open.
    pytest.param(
        f"{{{ONE}, result: running}}",
        ["{at: 30m, alert: running, state: firing, value: 1}", "{at: 30m, alert: runs, state: firing, value: 0}"],
        id="a run that does not end",
    ),
    pytest.param(
        '{project: k2/app, every: 1m, results: "++qq"}',
        [
            "{at: 1m30s, alert: queue, state: inactive}",
            "{at: 3m, alert: queue, state: firing, value: 2}",
            "{at: 12m, alert: waiting, state: firing}",
            "{at: 11m30s, alert: waiting, state: inactive}",
        ],
        id="runs that never start",
    ),
    pytest.param(
        "{project: k2/app, queued: 2m, duration: 10m, result: success}",
        ["{at: 1m30s, alert: queue, state: firing}", "{at: 2m, alert: queue, state: inactive}"],
        id="a run waits before it runs",
    ),
    # Jobs, while their run is open and after.
    pytest.param(
        f"{{{ONE}, result: running, jobs: [{{name: a, result: pending, runner: gpu}}, {{name: b, duration: 2m}}]}}",
        [
            "{at: 0s, alert: job_queue, state: firing, value: 1, labels: {runner: gpu}}",
            "{at: 9m30s, alert: job_waits, state: inactive}",
            "{at: 10m, alert: job_waits, state: firing}",
            "{at: 2m, alert: slow_job, state: firing, value: 2, labels: {job: b}}",
            "{at: 2m, alert: slow_job, state: inactive, labels: {job: a}}",
        ],
        id="a job that waits for its runner",
    ),
    pytest.param(
        f"{{{ONE}, result: success, jobs: [{{name: a, at: 1m, queued: 3m, duration: 2m}}]}}",
        [
            "{at: 30s, alert: job_queue, state: inactive}",
            "{at: 3m30s, alert: job_queue, state: firing}",
            "{at: 4m, alert: job_queue, state: inactive}",
            "{at: 5m30s, alert: slow_job, state: inactive}",
            "{at: 6m, alert: slow_job, state: firing, value: 2}",
            "{at: 6m, alert: job_wait, state: firing, value: 3}",
        ],
        id="a job in the middle of its run",
    ),
    pytest.param(
        f'{{{ONE}, result: success, jobs: [{{name: a, results: "-+", queued: 1m}}, {{name: b}}]}}',
        [
            "{at: 5m, alert: bad_jobs, state: firing, labels: {job: a}}",
            "{at: 10m, alert: bad_jobs, state: inactive, labels: {job: a}}",
            "{at: 10m, alert: slow_job, state: firing, value: 4, labels: {job: a}}",
            '{at: 10m, alert: retried, state: firing, labels: {job: a}, message: "100%"}',
            "{at: 10m, alert: retried, state: inactive, labels: {job: b}}",
        ],
        id="a job that is retried",
    ),
    pytest.param(
        f'{{{ONE}, result: running, jobs: [{{name: a, results: "-r", duration: 2m}}]}}',
        ["{at: 2m, alert: bad_jobs, state: firing}", "{at: 30m, alert: bad_jobs, state: firing}"],
        id="a retry that does not end",
    ),
    pytest.param(
        f"{{{ONE}, result: failure, jobs: [{{name: a 1/2}}, {{name: b, result: success}}],"
        " reruns: [{after: 5m, result: success}]}",
        [
            "{at: 10m, alert: bad_jobs, state: firing, labels: {job: a}}",
            "{at: 25m, alert: bad_jobs, state: inactive, labels: {job: a}}",
            "{at: 25m, alert: retried, state: firing, labels: {job: a}, value: 1}",
            "{at: 25m, alert: retried, state: inactive, labels: {job: b}}",
        ],
        id="what failed goes again with its run",
    ),
    pytest.param(
        f"{{{ONE}, result: failure, jobs: [{{name: a}}],"
        " reruns: [{after: 5m, result: failure, jobs: [{name: a, result: success}, {name: c}]}]}",
        [
            "{at: 25m, alert: bad_jobs, state: inactive, labels: {job: a}}",
            "{at: 25m, alert: bad_jobs, state: firing, labels: {job: c}}",
        ],
        id="or what is written",
    ),
]


@pytest.mark.parametrize(("runs", "expect"), HELD)
def test_what_is_expected_comes_true(tmp_path: Path, runs: str, expect: Sequence[str]) -> None:
    result = run_tests(tmp_path, one_test(runs, *expect), rules=RULES)
    assert result.exit_code == 0, result.output


NIGHTLY = 'schedules: [{project: k2/app, name: nightly, cron: "0 3 * * *", timezone: Europe/Berlin}]'


def test_a_schedule_that_starts_nothing_is_overdue_and_one_that_does_is_not(tmp_path: Path) -> None:
    # Midnight in UTC is one o'clock in Berlin; GitLab may start it up to 15 minutes late.
    runs = '{project: k2/app, at: 2h5m, every: 24h, results: "+_+", event: schedule}'
    expect = [
        "{at: 3h, alert: missed, state: inactive}",
        "{at: 26h10m, alert: missed, state: inactive, labels: {schedule: nightly}}",
        "{at: 26h15m, alert: missed, state: firing, value: 15, message: overdue}",
        "{at: 50h5m, alert: missed, state: ended}",
    ]
    result = run_tests(tmp_path, one_test(runs, *expect, more=NIGHTLY, top="evaluation_interval: 1m"), rules=RULES)
    assert result.exit_code == 0, result.output


def test_a_schedule_counts_from_when_it_is_made_until_it_is_taken_away(tmp_path: Path) -> None:
    more = 'schedules: [{project: k2/app, name: hourly, cron: "0 * * * *", at: 90m, until: 150m, delay: 5m}]'
    expect = [
        "{at: 119m, alert: missed, state: inactive}",
        "{at: 125m, alert: missed, state: firing}",
        "{at: 149m30s, alert: missed, state: firing, value: 29.5}",
        "{at: 150m, alert: missed, state: no_data}",
    ]
    result = run_tests(tmp_path, one_test("[]", *expect, more=more), rules=RULES)
    assert result.exit_code == 0, result.output


def test_a_files_defaults_stand_wherever_nothing_else_is_said(tmp_path: Path) -> None:
    top = (
        "defaults: {project: k2/app, every: 10m, duration: 12m, branch: dev, default_branch: dev, jobs: [{name: unit}]}"
    )
    more = "deployments: [{environment: production, at: 0s}]"
    expect = [
        "{at: 31m, alert: red, state: inactive, labels: {project: k2/app}}",
        "{at: 32m, alert: red, state: firing, labels: {project: k2/app}}",
        "{at: 32m, alert: bad_jobs, state: firing, labels: {project: k2/app, job: unit}}",
        "{at: 5m, alert: deployed, state: firing, labels: {project: k2/app}}",
        "{at: 6m, alert: red, state: firing, labels: {project: k2/lib}}",
    ]
    runs = '[{results: "++-"}, {project: k2/lib, result: failure, duration: 6m}]'
    result = run_tests(tmp_path, one_test(runs, *expect, more=more, top=top), rules=RULES)
    assert result.exit_code == 0, result.output


def test_the_example_in_the_docs_passes(tmp_path: Path) -> None:
    found = re.findall(r"```yaml\n(.*?)```", Path("docs/rehearse.md").read_text(), re.DOTALL)
    (example,) = [block for block in found if "defaults:" in block]
    example = example.replace("[../*.yml]", f"[{Path('rules').absolute()}/*.yml]")
    result = run_tests(tmp_path, f"evaluation_interval: 1m\n{example}", rules=RULES)
    assert result.output.splitlines()[-1] == "2 tests, 0 failed", result.output


EXPECT = "{at: 1m, receiver: default}"


def alone(runs: str) -> str:
    return one_test(runs, EXPECT)


WRONG = [
    (alone('{project: a/b, every: 1m, results: "+x"}'), ":4:46: results: 'x' is no result: write + success,"),
    (
        alone('{project: a/b, every: 1m, results: "+r", reruns: [{after: 1m, result: success}]}'),
        ":4:61: what has not ended cannot go again",
    ),
    (alone("{project: a/b, result: failure, reruns: [{result: success}]}"), ':4:52: reruns[0] lacks the key "after"'),
    (
        alone("{project: a/b, result: failure, reruns: [{after: 1m, result: success, queued: 9m}]}"),
        ":4:89: queued: longer than the duration",
    ),
    (
        alone("{project: a/b, result: success, jobs: [{name: a, result: running}]}"),
        ":4:50: jobs[0]: its run has ended, so it cannot be running or pending",
    ),
    (
        alone("{project: a/b, result: success, jobs: [{name: a, at: 4m, duration: 2m}]}"),
        "jobs[0]: ends 1m after its run",
    ),
    (alone('{project: a/b, result: success, jobs: [{name: a, results: "-+", duration: 4m}]}'), "ends 3m after its run"),
    (alone("{project: a/b, result: success, jobs: [{name: a, queued: 6m}]}"), "jobs[0]: ends 1m after its run"),
    (alone("{project: a/b, result: running, jobs: [{name: a, result: failure}]}"), "jobs[0]: needs its `duration`"),
    (alone("{project: a/b, result: pending, jobs: [{name: a, result: failure, duration: 1m}]}"), "only be pending"),
    (alone("{project: a/b, result: success, jobs: [{name: a}, {name: a}]}"), ":4:68: name: the job is there twice"),
    (alone('{project: a/b, result: success, jobs: [{name: a, results: "r+"}]}'), "r and q can only be last"),
    (alone('{project: a/b, result: success, jobs: [{name: a, results: "", duration: 1m}]}'), "no execution in it"),
    (alone('{project: a/b, result: success, jobs: [{name: a, results: "-+", result: failure}]}'), "either `result` or"),
    (alone("{result: success}"), ":4:11: runs: needs a `project`, here or in the file's `defaults`"),
    (
        one_test("[]", EXPECT, more='schedules: [{project: a/b, name: n, cron: "every day"}]'),
        ":5:47: cron: must be a cron line of five fields",
    ),
    (one_test("[]", EXPECT, more='schedules: [{project: a/b, name: n, cron: "0 0 30 2 *"}]'), "that is ever due"),
    (
        one_test("[]", EXPECT, more='schedules: [{project: a/b, name: n, cron: "0 3 * * *", timezone: Berlin}]'),
        ":5:70: timezone: must be the name of a time zone, such as Europe/Berlin",
    ),
    (one_test("[]", EXPECT, more='schedules: [{project: a/b, name: n, cron: "0 3 * * *", until: 0s}]'), "after `at`"),
    (
        one_test("{result: success}", EXPECT, top="defaults: {projct: a/b}"),
        ':2:12: unknown key "projct"; did you mean "project"?',
    ),
    (
        one_test("{result: success}", EXPECT, top="defaults: {project: a/b, results: '+'}"),
        ':2:26: unknown key "results"',
    ),
    (one_test("{result: success}", EXPECT, top="defaults: [a]"), ":2:11: defaults: must be a mapping"),
]


WRONG += [
    (one_test("[]", EXPECT, more='start: "9999-12-31T23:00:00Z"'), ":5:12: start: must lie between 1990 and 2200"),
    (one_test("[]", "{at: 20y, receiver: default}"), ":6:14: at: must be at most ten years: longer is no test"),
    (one_test("[]", "{at: 9y, receiver: default}"), ":6:14: at: the rules would be judged 9,460,800 times before"),
    (alone('{project: a/b, every: 1y, results: "+x20"}'), ":4:33: every: the last run would come after ten years"),
    (alone("{project: a/b, result: success, duration: 99y}"), ":4:53: duration: must be at most ten years"),
    (alone("{project: a/b, result: success, coverage: .nan}"), ":4:53: coverage: must be a number"),
    (alone("{project: a/b, result: success, benchmarks: {parse: .nan}}"), "parse: must be a number"),
    (alone("{project: a/b, result: success, benchmarks: {parse: -1}}"), "parse: must be"),
    (alone("{project: a/b, result: success, benchmarks: [parse]}"), ":4:55: benchmarks: must be a mapping"),
    (one_test("[]", EXPECT, more="unread: [{from: 5h, to: 1h}]"), ":5:14: unread[0]: to: must be after `from`"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_cannot_be_is_told_at_its_place_and_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    result = run_tests(tmp_path, text, rules=RULES)
    line, count = result.output.splitlines()
    assert (result.exit_code, count) == (1, "0 tests, 1 failed")
    assert line.startswith(f"{tmp_path}/tests.yml:")
    assert said in line


GOOD = [*(one_test(held.values[0], *held.values[1]) for held in HELD), one_test("[]", EXPECT, more=NIGHTLY)]
BAD = [
    {"runs": {"project": "a/b", "results": "+?"}},
    {"runs": {"project": "a/b", "result": "open"}},
    {"runs": {"project": "a/b", "result": "failure", "reruns": [{"after": "1m"}]}},
    {"runs": {"project": "a/b", "result": "failure", "jobs": [{"name": "a", "results": "?"}]}},
    {"schedules": [{"project": "a/b", "name": "n"}]},
    {"schedules": [{"project": "a/b", "name": "n", "cron": "0 3 * * *", "at": 5}]},
]


@pytest.mark.parametrize("text", GOOD)
def test_the_schema_takes_what_is_right(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), schema_of_tests())


@pytest.mark.parametrize("given", BAD)
def test_the_schema_refuses_what_is_wrong(given: dict[str, object]) -> None:
    test = {"name": "x", "expect": [{"at": "1m", "receiver": "default"}], **given}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tests": [test]}, schema_of_tests())
