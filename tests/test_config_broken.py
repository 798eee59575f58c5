"""Broken main files: what a person reads about each, line by line, to the column."""

from pathlib import Path

import pytest

from k2alert.config.load import load
from k2alert.measure.catalogue import METRICS
from tests.support.broken_files import RULE, WITH_RECEIVERS, rule_but, rule_with

BROKEN = [
    pytest.param(
        RULE + "\tx: 1\n",
        ["7:1: not YAML: a tab cannot indent; use spaces"],
        id="a tab indents",
    ),
    pytest.param(
        "alert_rules: [\n",
        ["2:1: not YAML: did not find expected node content while parsing a flow node"],
        id="a list is not closed",
    ),
    pytest.param(
        RULE + "retention: 1d\nretention: 2d\n",
        ['8:1: the key "retention" is written twice (first in line 7)'],
        id="a key is written twice",
    ),
    pytest.param(
        "defaults: &d {min_samples: 1}\nalert_rules:\n  - <<: *d\n",
        ["3:5: merge keys (<<) are not read: repeat the keys, or use `defaults`"],
        id="a merge key",
    ),
    pytest.param(
        "- name: x\n",
        ["1:1: the file must be a mapping, such as `alert_rules: […]`"],
        id="the file is a list",
    ),
    pytest.param(
        "labels: !!python/object {}\n",
        ["1:9: tags are not read: !!python/object"],
        id="a tag",
    ),
    pytest.param(
        RULE + "recievers: []\n",
        ['7:1: unknown key "recievers"; did you mean "receivers"?'],
        id="an unknown key at the top",
    ),
    pytest.param(
        rule_with("severty: warning"),
        ['7:5: unknown key "severty"; did you mean "severity"?'],
        id="an unknown key of a rule",
    ),
    pytest.param(
        "web: {listen: ':9725', extrnal_url: http://x}\n",
        ['1:24: unknown key "extrnal_url"; did you mean "external_url"?'],
        id="an unknown key further down",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, projects: [a/b], tokn: x}\n",
        ['2:46: unknown key "tokn"; did you mean "token"?'],
        id="an unknown key of a source",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, repositories: [a/b]}\n",
        ['2:29: unknown key "repositories"; did you mean "projects"?'],
        id="GitLab has no repositories",
    ),
    pytest.param(
        rule_but("name: red", "alert: red").replace("condition:", "expr:").replace("message:", "summary:"),
        [
            '2:5: alert_rules[0] lacks the key "condition"',
            '2:5: alert_rules[0] lacks the key "message"',
            '2:5: alert_rules[0] lacks the key "name"',
            '2:5: unknown key "alert"; did you mean "name"?',
            '3:5: unknown key "expr"; did you mean "condition"?',
            '6:5: unknown key "summary"; did you mean "message"?',
        ],
        id="a rule in Prometheus's words",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, app: {id: 1, private_key: k, installation_id: 2}}\n",
        ["2:34: app: must be left out here"],
        id="GitLab has no apps",
    ),
    pytest.param(
        "sources:\n  - {type: gitlba, name: g}\n",
        ['2:12: type: must be gitlab or github; did you mean "gitlab"?'],
        id="an unknown forge",
    ),
    pytest.param(
        "alert_rules:\n  - name: red\n    period: 24h\n",
        [
            '2:5: alert_rules[0] lacks the key "condition"',
            '2:5: alert_rules[0] lacks the key "severity"',
            '2:5: alert_rules[0] lacks the key "message"',
        ],
        id="a rule without most of it",
    ),
    pytest.param(
        rule_but("severity: warning", "severity: warnning"),
        ['5:15: severity: must be info, warning or critical; did you mean "warning"?'],
        id="a severity that is none",
    ),
    pytest.param(
        rule_but("24h", "24 hours"),
        ['4:13: period: not a length of time: \'24 hours\' (write it as "24h", "7d" or "20 runs")'],
        id="a period in words",
    ),
    pytest.param(
        rule_but("24h", "24"),
        ['4:13: period: must be a length of time with its unit, such as 24h, or a number of runs: "20 runs"'],
        id="a period without a unit",
    ),
    pytest.param(
        rule_but("24h", "0s"),
        ["4:13: period: '0s' is no time at all"],
        id="a period of nothing",
    ),
    pytest.param(
        rule_with("for: ten minutes"),
        ["7:10: for: not a duration: 'ten minutes' (write it as 30s, 5m, 24h, 7d or 1h30m)"],
        id="a duration in words",
    ),
    pytest.param(
        rule_with("min_samples: 0"),
        ["7:18: min_samples: must be at least 1"],
        id="a number too small",
    ),
    pytest.param(
        rule_with("by: project"),
        ["7:9: by: must be a list"],
        id="text where a list belongs",
    ),
    pytest.param(
        rule_with("labels: {version: 1.10}"),
        ["7:23: version: must be text: put it in quotes"],
        id="a label that YAML reads as a number",
    ),
    pytest.param(
        rule_with("labels: {my-team: x}"),
        ['7:14: "my-team": not a label name: letters, digits and _, no digit first, not starting with __'],
        id="a label name with a dash",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, projects: [a/b], poll_interval: 60}\n",
        ["2:61: poll_interval: must be a duration with its unit, such as 60s"],
        id="a duration without a unit",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, url: gitlab.example.com, projects: [a/b]}\n",
        ["2:34: url: must be a URL that starts with http:// or https://"],
        id="a URL without a scheme",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, projects: [market-data, 'k2/*']}\n",
        [
            "2:40: projects[0]: must be group/project or the project's number, without globs",
            "2:53: projects[1]: must be group/project or the project's number, without globs",
        ],
        id="projects that are no paths",
    ),
    pytest.param(
        "sources:\n  - {type: github, name: g, repositories: [a/b/c]}\n",
        ["2:44: repositories[0]: must be owner/name, without globs"],
        id="a repository too deep",
    ),
    pytest.param(
        "sources:\n  - {type: gitlab, name: g, projects: [a/b]}\n  - {type: github, name: g, repositories: [a/b]}\n",
        ['3:26: name: two sources are called "g"'],
        id="two sources of one name",
    ),
    pytest.param(
        "web: {listen: localhost}\n",
        ["1:15: listen: must be host:port, such as 127.0.0.1:9725 or [::1]:9725"],
        id="a listener without a port",
    ),
    pytest.param(
        "store: mysql://root:hunter2@db/k2\n",
        ["1:8: store: must be sqlite:///FILE (sqlite:////FILE from the root) or postgresql://user:password@host/db"],
        id="a store of another kind keeps its password to itself",
    ),
    pytest.param(
        "labels: {severity: high, project: x}\n",
        [
            "1:20: labels: severity is a label that alerts and facts have already",
            "1:35: labels: project is a label that alerts and facts have already",
        ],
        id="labels that are taken",
    ),
    pytest.param(
        rule_but("success_rate < 0.95", "sucess_rate < 0.95"),
        ["3:16: condition: unknown name 'sucess_rate'; did you mean 'success_rate'?"],
        id="an unknown metric",
    ),
    pytest.param(
        rule_but("success_rate < 0.95", '"total_pipelines > 5 and sucess_rate < 0.95"'),
        ["3:41: condition: unknown name 'sucess_rate'; did you mean 'success_rate'?"],
        id="a column in a quoted condition",
    ),
    pytest.param(
        rule_but("success_rate < 0.95", "|\n      total_pipelines > 5\n      and sucess_rate < 0.95"),
        ["5:11: condition: unknown name 'sucess_rate'; did you mean 'success_rate'?"],
        id="a column in a condition of several lines",
    ),
    pytest.param(
        rule_but("success_rate < 0.95", "success_rate"),
        ["3:16: condition: a condition must be true or false: compare it with something, as in success_rate < 0.95"],
        id="a condition that is no truth",
    ),
    pytest.param(
        rule_but("success_rate < 0.95", "().__class__ == 1"),
        ["3:16: condition: a dot after a name is not allowed: names stand alone"],
        id="an attempt to escape",
    ),
    pytest.param(
        rule_with("clear: success_rate => 0.97"),
        ["7:25: clear: write >= instead of =>"],
        id="a clear that does not parse",
    ),
    pytest.param(
        "retention: 7d\n" + rule_but("24h", "30d"),
        [
            "4:16: condition: success_rate looks back 30d, but retention is 7d",
            "7:15: message: success_rate looks back 30d, but retention is 7d",
        ],
        id="a period longer than retention",
    ),
    pytest.param(
        rule_but("24h", "20 runs").replace("success_rate < 0.95", "coverage < 75"),
        ["3:16: condition: coverage is not counted in runs: give it a length of time, such as 24h"],
        id="coverage in runs",
    ),
    pytest.param(
        rule_but("success_rate | percent", "sucess_rate | percent"),
        ["6:15: message: unknown name 'sucess_rate'; did you mean 'success_rate'?"],
        id="an unknown name in a message",
    ),
    pytest.param(
        rule_but('"{{ success_rate | percent }}"', "|\n      one\n      {{ labels.project | uper }}"),
        ["8:7: message: unknown filter 'uper'; did you mean 'upper'?"],
        id="the line in a message of several lines",
    ),
    pytest.param(
        rule_with("annotations: {runbook_url: '{{ nope }}'}"),
        ["7:33: annotations.runbook_url: unknown name 'nope'; did you mean 'now'?"],
        id="an annotation",
    ),
    pytest.param(
        rule_with("match: ['brnch=\"main\"', 'branch']"),
        [
            '7:13: match: unknown label "brnch"; did you mean "branch"?',
            "7:29: match[1]: not a matcher: 'branch' (write it as name=\"value\", with =, !=, =~ or !~)",
        ],
        id="matchers that match nothing",
    ),
    pytest.param(
        rule_with("match: ['branch=~\"(\"']"),
        ["7:13: match[0]: not a regular expression RE2 reads: '(' (missing ): ()"],
        id="a regular expression that is none",
    ),
    pytest.param(
        rule_with("by: [job]"),
        ['7:10: by: what success_rate counts has no label "job"'],
        id="a label that the metric's facts lack",
    ),
    pytest.param(
        rule_with("by: [projct]"),
        ['7:10: by: unknown label "projct"; did you mean "project"?'],
        id="an unknown label",
    ),
    pytest.param(
        rule_with("exclude_during: [weekend]"),
        ['7:22: exclude_during: unknown time interval "weekend"'],
        id="an unknown time interval",
    ),
    pytest.param(
        rule_with("labels: {severity: high}"),
        ["7:24: labels: severity is set by the rule itself"],
        id="a label that the rule sets itself",
    ),
    pytest.param(
        "project_labels:\n  - {match: ['branch=\"main\"'], labels: {team: a, project: b}}\n",
        [
            "2:14: match: only source and project are known here, not branch",
            "2:59: labels: project is a label that alerts and facts have already",
        ],
        id="project_labels of branches",
    ),
    pytest.param(
        "export: {by: [projct], labels: [team]}\n",
        [
            '1:15: by: unknown label "projct"; did you mean "project"?',
            '1:33: labels: unknown label "team"',
        ],
        id="gauges by unknown labels",
    ),
    pytest.param(
        RULE + RULE.split("\n", 1)[1],
        ['7:11: name: two rules are called "red"; the other is at k2alert.yml:2:11'],
        id="two rules of one name",
    ),
    pytest.param(
        rule_but("name: red", "name: K2AlertSourceStale"),
        ["2:11: name: K2AlertSourceStale is k2alert's own"],
        id="a rule with the name of a built-in one",
    ),
    pytest.param(
        rule_but("name: red", "name: K2AlertNotificationsFailing"),
        ["2:11: name: K2AlertNotificationsFailing is k2alert's own"],
        id="a rule with the name of the other built-in one",
    ),
    pytest.param(
        WITH_RECEIVERS + "route: {receiver: taem}\n",
        ['6:19: receiver: there is no receiver "taem"; did you mean "team"?'],
        id="an unknown receiver",
    ),
    pytest.param(
        WITH_RECEIVERS,
        ["3:1: receivers: without a `route` nobody is told anything"],
        id="receivers that no route leads to",
    ),
    pytest.param(
        "notifications: {slack: {webhook_url: https://hooks.example.com/x}}\nroute: {receiver: team}\n",
        ['2:19: receiver: there is no receiver "team"'],
        id="another receiver than the short form's",
    ),
    pytest.param(
        WITH_RECEIVERS
        + "route:\n  receiver: team\n  routes:\n    - {name: a, matchers: [x]}\n    - {name: a, contineu: true}\n",
        [
            "9:28: matchers[0]: not a matcher: 'x' (write it as name=\"value\", with =, !=, =~ or !~)",
            '10:14: name: two routes are called "a"; the other is at k2alert.yml:9:14',
            '10:17: unknown key "contineu"; did you mean "continue"?',
        ],
        id="two routes of one name",
    ),
    pytest.param(
        WITH_RECEIVERS + "route: {receiver: team, matchers: ['a=\"b\"'], continue: true, group_interval: 0s}\n",
        [
            "6:35: matchers: not on the root, which hears every alert",
            "6:56: continue: not on the root, which hears every alert",
            "6:78: group_interval: must be longer than 0s",
        ],
        id="a root that is choosy",
    ),
    pytest.param(
        WITH_RECEIVERS + "time_intervals: [{name: nights, time_intervals: []}]\n"
        "route: {receiver: team, mute_time_intervals: [night]}\n",
        ['7:47: mute_time_intervals: unknown time interval "night"; did you mean "nights"?'],
        id="an unknown time to be mute",
    ),
    pytest.param(
        "notifications:\n  slack: {chanel: '#x', webhook_url: hooks.slack.com/x}\n",
        [
            '2:11: unknown key "chanel"; did you mean "channel"?',
            "2:38: webhook_url: must be a URL that starts with http:// or https://",
        ],
        id="slack misspelt",
    ),
    pytest.param(
        "notifications:\n  slack: {channel: '#x'}\n",
        ["2:10: slack: needs webhook_url or bot_token"],
        id="slack without a way in",
    ),
    pytest.param(
        "notifications:\n  email: {smtp_server: 'mail:25:1', to_addresses: [nobody],"
        + ' from_address: "a@b.example\\r\\nBcc: x@y.example"}\n',
        [
            "2:24: smtp_server: not host or host:port",
            "2:52: to_addresses: must be one mail address, such as team@example.com",
            "2:75: from_address: not a mail address",
        ],
        id="mail addresses that hold a header",
    ),
    pytest.param(
        "notifications:\n  email: {smtp_server: mail, from_address: a@b.example, to_addresses: a@b.example}\n",
        ["2:71: to_addresses: must be a list"],
        id="a recipient that is no list",
    ),
    pytest.param(
        "project_labels: [{labels: {team: x}}]\n"
        "notifications:\n  slack: {bot_token: x, channel: '#{{ labels.branch }}'}\n",
        ['3:34: channel: "branch" is no label that somebody configured; it must not be text from a forge'],
        id="a channel made of a branch's name",
    ),
    pytest.param(
        "project_labels: [{labels: {team: x}}]\n"
        "notifications:\n  slack: {bot_token: x, channel: ['#a', '#{{ labels.taem }}']}\n",
        ['3:41: channel: "taem" is no label that somebody configured; did you mean "team"?'],
        id="a channel made of a label nobody set",
    ),
    pytest.param(
        "notifications:\n  slack: {bot_token: x, channel: '#{{ labels }}'}\n",
        ["2:34: channel: labels are used one by one, as in {{ labels.team }}"],
        id="a channel made of all labels",
    ),
    pytest.param(
        "notifications: {slack: '#x'}\n",
        ["1:24: slack: must be a mapping or a list of them"],
        id="an integration that is text",
    ),
    pytest.param(
        "notifications: {slack: []}\n"
        + "receivers: [{name: a, email: {smtp_server: m, from_address: a@b.example}}, {name: a}, {nam: b}]\n"
        "route: {receiver: a}\n",
        [
            "1:24: slack: beside `receivers` it gives their defaults: one mapping",
            '2:23: email lacks the key "to_addresses"',
            '2:83: name: two receivers are called "a"',
            '2:87: receivers[2] lacks the key "name"',
            '2:88: unknown key "nam"; did you mean "name"?',
        ],
        id="receivers with half of what they need",
    ),
    pytest.param(
        "store: ${STORE:-sqlite:///x.db}\n",
        ["1:8: ${STORE…} is not a reference: write $NAME, ${NAME} or ${file:/path}; $$ is a dollar"],
        id="a reference with a default",
    ),
    pytest.param(
        "store: ${STORE\n",
        ["1:8: ${STORE…} is not a reference: write $NAME, ${NAME} or ${file:/path}; $$ is a dollar"],
        id="a reference that is not closed",
    ),
    pytest.param(
        "sources: [{type: gitlab, name: g, projects: [a/b], token: '${file:token}'}]\n",
        ["1:60: ${file:token} must name an absolute path"],
        id="a secret's file by a relative path",
    ),
    pytest.param(
        "rule_files: [nowhere.yml]\n",
        ["1:14: rule_files: there is no file nowhere.yml"],
        id="a rule file that is not there",
    ),
    pytest.param(
        "defaults: {severity: hgh}\nretention: soon\n"
        + rule_but("success_rate < 0.95", "succes_rate < 0.95")
        .replace("24h", "1 week")
        .replace("    severity: warning\n", ""),
        [
            "1:22: severity: must be info, warning or critical",
            "2:12: retention: not a duration: 'soon' (write it as 30s, 5m, 24h, 7d or 1h30m)",
            "5:16: condition: unknown name 'succes_rate'; did you mean 'success_rate'?",
            '6:13: period: not a length of time: \'1 week\' (write it as "24h", "7d" or "20 runs")',
        ],
        id="everything at once",
    ),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_every_error_of_a_file_is_told_at_its_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    main = tmp_path / "k2alert.yml"
    main.write_text(text)

    loaded = load(main, environ={}, metrics=METRICS)

    found = [str(problem).removeprefix(f"{main}:") for problem in loaded.problems if not problem.warning]
    assert [line.replace(f"{tmp_path}/", "") for line in found] == expected
    assert loaded.config is None
