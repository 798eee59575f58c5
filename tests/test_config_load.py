"""Loading: what right files come to, what is warned of, and what must never be seen."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from k2alert.config.load import Loaded, load, load_rules
from k2alert.config.watch import fingerprint
from k2alert.labels import Labels, parse_matcher
from k2alert.measure.catalogue import METRICS
from k2alert.model import NoDataPolicy, Severity, Window
from k2alert.notify import email, slack
from tests.conftest import SHARED
from tests.support.broken_files import RULE, WITH_RECEIVERS, rule_with

NOTIFIED = "notifications: {slack: {webhook_url: $HOOK}}\n"
TOKEN = "glpat-SECRETSECRET"


def load_text(folder: Path, text: str, environ: Mapping[str, str] | None = None, **rule_files: str) -> Loaded:
    """The main file of this text, beside rule files by name, loaded."""
    for name, content in rule_files.items():
        (folder / f"{name}.yml").write_text(content)
    main = folder / "k2alert.yml"
    main.write_text(text)
    return load(main, environ=environ or {}, metrics=METRICS)


def said(loaded: Loaded, code: str = "") -> list[str]:
    """The texts of the problems (of one code)."""
    return [problem.text for problem in loaded.problems if code in ("", problem.code)]


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """The alert file of the document that the product comes from, byte for byte."""
    document = SHARED / "design" / "seed.md"
    if not document.is_file():
        pytest.skip("the seed is not here")
    text = document.read_text()
    start = text.index("# .gitlab-ci-alerts.yml")
    file = tmp_path / ".gitlab-ci-alerts.yml"
    file.write_text(text[start : text.index("```", start)])
    return file


def test_the_seed_is_a_main_file(seed: Path) -> None:
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.example.com/x", "SMTP_SERVER": "mail.example.com:25"}

    loaded = load(seed, environ=environ, metrics=METRICS)

    assert loaded.runnable
    assert loaded.config is not None
    assert [(rule.name, rule.severity) for rule in loaded.config.rules] == [
        ("pipeline_success_rate_low", Severity.WARNING),
        ("pipeline_duration_high", Severity.WARNING),
        ("test_flakiness_high", Severity.CRITICAL),
        ("coverage_drop_significant", Severity.WARNING),
    ]
    assert [rule.window.length for rule in loaded.config.rules] == [
        timedelta(days=1),
        timedelta(days=1),
        timedelta(days=7),
        timedelta(hours=1),
    ]
    chat, mail = (integration.settings for integration in loaded.config.receivers["default"].integrations)
    assert isinstance(chat, slack.Settings)
    assert chat.channels == ("#ci-cd-alerts",)
    assert isinstance(mail, email.Settings)
    assert (mail.host, mail.port) == ("mail.example.com", 25)
    assert mail.to_addresses == ("devops@k2-platform.com", "qa@k2-platform.com")
    assert loaded.config.route is not None
    assert loaded.config.route.receiver == "default"
    assert loaded.config.route.group_by == ("alertname", "source", "project")


def test_the_seed_is_told_where_it_would_print_a_ratio_as_a_percentage(seed: Path) -> None:
    loaded = load(seed, environ={}, metrics=METRICS)

    assert [problem.place.line for problem in loaded.problems if problem.code == "percent"] == [9, 21]


def test_the_seed_is_a_rule_file_whose_notifications_are_unused(tmp_path: Path, seed: Path) -> None:
    loaded = load_text(tmp_path, f"rule_files: [{seed.name}]\n{NOTIFIED}", {"HOOK": "https://hooks.example.com/x"})

    assert loaded.config is not None
    assert len(loaded.config.rules) == 4
    assert [str(problem).partition(": ")[0] for problem in loaded.problems if problem.code == "unused"] == [
        f"{seed}:30:1"
    ]


FULL = """\
sources:
  - type: gitlab
    name: gitlab
    url: https://gitlab.example.com/
    token: $TOKEN
    projects: [k2/market-data, 42]
    groups: [k2]
    exclude: ["k2/archive-*"]
    poll_interval: 60s
    backfill: 7d
    max_staleness: 15m
    max_requests_per_minute: 300
    ca_file: /etc/ssl/corp.pem
    webhook_secret: [$TOKEN, $TOKEN]
    reports: {jobs: ["test*"], junit: ["**/junit*.xml"]}
  - {type: github, name: github, token: $TOKEN, repositories: [k2/app], webhook_secret: $TOKEN}
store: sqlite:///k2alert.db
retention: 35d
evaluation_interval: 30s
rule_files: ["*rules.yml"]
web: {listen: 127.0.0.1:9725, external_url: https://k2alert.example.com, admin_token: $TOKEN}
labels: {cluster: prod}
project_labels:
  - {match: ['project=~"payments/.*"'], labels: {team: payments, min_success: "0.75"}}
export: {windows: [24h, 7d], by: [project], match: ['ref_type="default"'], labels: [team]}
notifications:
  slack: {channel: "#ci-cd-alerts"}
  email: {smtp_server: mail.example.com, from_address: ci@example.com}
receivers:
  - name: team
    slack: {bot_token: $TOKEN, channel: "#{{ labels.team }}-ci"}
    email: {to_addresses: ["{{ labels.team }}@example.com"]}
    webhook: {url: http://hooks.example.com/x}
    alertmanager: {url: [http://am-0:9093, http://am-1:9093]}
  - name: on-call
    slack: [{bot_token: $TOKEN}, {webhook_url: https://hooks.example.com/x}]
  - name: nobody
route:
  receiver: team
  group_by: [alertname, source, project]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  mute_time_intervals: [maintenance]
  routes:
    - name: pages
      matchers: ['severity="critical"']
      receiver: on-call
      group_by: ["..."]
      routes:
        - {matchers: ['team="payments"'], continue: true, group_wait: 0s}
    - {name: weekly, matchers: ['severity="info"'], digest: "Mon 09:00 Europe/Berlin"}
inhibit_rules: [{source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [project]}]
time_intervals: [{name: maintenance, time_intervals: [{weekdays: ["saturday:sunday"], location: Europe/Berlin}]}]
"""

RULES = """\
defaults: {match: ['ref_type="default"'], min_samples: 10, labels: {area: ci}, annotations: {owner: "us"}}
alert_rules:
  - name: main_is_red
    condition: success_rate < label("min_success", 0.95)
    period: 20 runs
    severity: critical
    message: "{{ success_rate | percent }} over {{ period }}"
    by: [project, team]
    match: ['branch="main"', 'project=~"k2/.*"']
    for: 10m
    keep_firing_for: 15m
    clear: success_rate >= 0.97
    min_samples: 3
    no_data: resolve
    exclude_during: [maintenance]
    labels: {tier: one}
    annotations: {runbook_url: "https://runbooks.example.com/{{ labels.project }}"}
  - {name: slow, condition: p95_duration_minutes > 30, period: 24h, severity: info, message: slow}
"""


def test_everything_that_the_contract_shows_is_read(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert {problem.code for problem in loaded.problems} == {"not-built"}
    assert loaded.runnable


def test_what_this_release_does_not_act_on_is_said(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert {text.partition(":")[0] for text in said(loaded, "not-built")} == {
        *("groups", "exclude", "webhook_secret", "reports", "webhook", "alertmanager", "mute_time_intervals", "digest"),
        *("inhibit_rules", "time_intervals", "exclude_during"),
    }


def test_a_rule_has_its_own_keys_over_the_defaults_of_its_file(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert loaded.config is not None
    red, slow = loaded.config.rules
    assert red.window == Window(runs=20)
    assert red.period == "20 runs"
    assert red.selection.by == ("source", "project", "team")
    assert red.selection.match == (parse_matcher('branch="main"'), parse_matcher('project=~"k2/.*"'))
    assert (red.hold, red.keep_firing_for) == (timedelta(minutes=10), timedelta(minutes=15))
    assert (red.min_samples, red.no_data) == (3, NoDataPolicy.RESOLVE)
    assert red.labels == Labels({"area": "ci", "tier": "one"})
    assert set(red.annotations) == {"owner", "runbook_url"}
    assert red.look_back == timedelta(days=7)
    assert str(red.place) == f"{tmp_path / 'rules.yml'}:3:5"
    assert slow.selection.match == (parse_matcher('ref_type="default"'),)
    assert (slow.min_samples, slow.selection.by) == (10, ("source", "project"))


def test_a_github_source_calls_its_projects_repositories(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert loaded.config is not None
    gitlab, github = loaded.config.sources
    assert (gitlab.projects, gitlab.url) == (("k2/market-data", 42), "https://gitlab.example.com")
    assert (github.type, github.projects) == ("github", ("k2/app",))
    assert len(gitlab.webhook_secret) == 2
    assert len(github.webhook_secret) == 1


def test_notifications_give_receivers_their_defaults(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert loaded.config is not None
    receivers = loaded.config.receivers
    assert set(receivers) == {"team", "on-call", "nobody"}
    assert receivers["nobody"].integrations == ()
    assert [integration.name for integration in receivers["on-call"].integrations] == ["slack[0]", "slack[1]"]
    assert [integration.settings.channels for integration in receivers["on-call"].integrations] == [
        ("#ci-cd-alerts",)
    ] * 2
    assert [integration.kind for integration in receivers["team"].integrations] == ["slack", "email"]
    assert receivers["team"].integrations[1].settings.from_address == "ci@example.com"


def test_a_route_has_what_it_inherits(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert loaded.config is not None
    root = loaded.config.route
    assert root is not None
    pages, weekly = root.routes
    (inner,) = pages.routes
    assert [node.name for node in (root, pages, inner, weekly)] == ["root", "pages", "root/0/0", "weekly"]
    assert [node.receiver for node in (root, pages, inner, weekly)] == ["team", "on-call", "on-call", "team"]
    assert (inner.group_by, inner.group_wait, inner.group_interval) == (("...",), timedelta(0), timedelta(minutes=5))
    assert (inner.continues, pages.continues) == (True, False)


def test_the_short_form_may_have_a_route_beside_it(tmp_path: Path) -> None:
    text = f"{RULE}{NOTIFIED}route:\n  group_wait: 1m\n  routes: [{{matchers: ['team=\"a\"'], repeat_interval: 1d}}]\n"

    loaded = load_text(tmp_path, text, {"HOOK": "https://hooks.example.com/x"})

    assert loaded.config is not None
    route = loaded.config.route
    assert route is not None
    assert (route.receiver, route.routes[0].receiver) == ("default", "default")
    assert (route.group_wait, route.routes[0].repeat_interval) == (timedelta(minutes=1), timedelta(days=1))


def test_files_that_do_nothing_are_warned_of(tmp_path: Path) -> None:
    assert said(load_text(tmp_path, ""), "silent") == [
        "there are no rules: nothing will ever fire",
        "no notifications and no receivers: nobody is told anything",
        "there are no sources: nothing is read",
    ]


def test_projects_may_be_empty(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "sources: [{type: gitlab, name: g, groups: [k2]}]\n")

    assert loaded.config is not None
    assert 'the source "g" names no projects: nothing is read from it' in said(loaded)


def test_a_store_that_is_not_built_is_refused_without_its_password(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "store: postgresql://k2:hunter22@db/k2\n")

    assert said(loaded, "not-built") == ["store: this release has no PostgreSQL store; use sqlite:///FILE"]
    assert loaded.config is None
    assert "hunter22" not in repr(loaded)


@pytest.mark.parametrize(
    ("text", "place"),
    [("export: {windows: [24h, 60d]}\n", "1:25"), ("retention: 2d\n", "1:12")],
    ids=["a written window", "a default one"],
)
def test_a_gauge_over_a_time_that_is_not_kept_is_refused(tmp_path: Path, text: str, place: str) -> None:
    loaded = load_text(tmp_path, text)

    (problem,) = (found for found in loaded.problems if not found.warning)
    assert "is longer than retention" in problem.text
    assert f"{problem.place.line}:{problem.place.column}" == place


def test_a_metric_that_nothing_collects_is_warned_of(tmp_path: Path) -> None:
    rule = RULE.replace("success_rate < 0.95", "coverage_drop > 2")

    assert said(load_text(tmp_path, rule), "no-collector") == [
        "condition: nothing collects coverage_drop yet: it has no data"
    ]


# ---------------------------------------------------------------------------------------- rule files


def test_errors_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    one = RULE.replace("warning", "warn")
    two = RULE.replace("success_rate < 0.95", "succes_rate < 0.95")

    loaded = load_text(tmp_path, "retention: long\nrule_files: ['[ab].yml']\n", a=one, b=two)

    assert [
        (Path(problem.place.file).name, problem.place.line) for problem in loaded.problems if not problem.warning
    ] == [
        ("k2alert.yml", 1),
        ("a.yml", 5),
        ("b.yml", 2),
        ("b.yml", 3),
    ]


def test_two_rules_of_one_name_in_two_files_name_both_places(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "rule_files: ['?.yml']\n", a=RULE, b=RULE)

    (problem,) = (problem for problem in loaded.problems if not problem.warning)
    assert str(problem).startswith(f"{tmp_path}/b.yml:2:11: ")
    assert problem.text.endswith(f"the other is at {tmp_path}/a.yml:2:11")


def test_a_pattern_that_matches_the_main_file_does_not_read_it_twice(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, f"rule_files: ['*.yml', rules.yml]\n{NOTIFIED}", {"HOOK": "https://x.example"}, rules=RULE
    )

    assert loaded.config is not None
    assert [rule.name for rule in loaded.config.rules] == ["red"]


def test_a_pattern_that_matches_nothing_is_warned_of(tmp_path: Path) -> None:
    assert "rule_files: no file matches" in said(load_text(tmp_path, "rule_files: ['rules/*.yml']\n"))


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("odd.yml", "there is no file"),
        ("/dev/zero", "there is no file"),
        ("folder", "there is no file"),
        ("[oet]*.yml", "no file matches"),
        ("/proc/[0-9]*/fd/*.yml", "no file matches"),
    ],
)
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, named: str, text: str) -> None:
    os.mkfifo(tmp_path / "odd.yml")  # opening it would wait for a writer
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_itself.yml").symlink_to(tmp_path / "to_itself.yml")
    (tmp_path / "endless.yml").symlink_to("/dev/zero")
    loaded = load_text(tmp_path, f"rule_files: ['{named}']\n{NOTIFIED}", {"HOOK": "https://x.example"})

    assert any(problem.startswith(f"rule_files: {text}") for problem in said(loaded))
    assert fingerprint(loaded.watched) == loaded.watched


def test_a_rule_file_holds_rules_only(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "rule_files: [rules.yml]\n", rules=f"sources: []\n{RULE}")

    assert 'unknown key "sources"' in said(loaded)


def test_a_rule_file_alone_may_use_labels_that_its_main_file_knows(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(rule_with("by: [team]"))

    alone = load_rules([file], metrics=METRICS)
    known = load_rules([file], metrics=METRICS, project_labels=frozenset({"team"}))

    assert [rule.name for rule in alone.rules] == ["red"]
    assert [problem.text for problem in alone.problems] == [
        'by: "team" is no label of facts; only project_labels may give it'
    ]
    assert known.problems == ()


# --------------------------------------------------------------------------------------- environment


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("$NAME", "value"),
        ("${NAME}", "value"),
        ("a-$NAME-b", "a-value-b"),
        ("${NAME}_b", "value_b"),
        ("$$NAME", "$NAME"),
        ("$5 and $", "$5 and $"),
        ("$.x", "$.x"),
        ("$DOLLAR", "$NAME"),  # once: what comes out is not looked at again
    ],
)
def test_references_are_expanded_once(tmp_path: Path, written: str, expected: str) -> None:
    loaded = load_text(tmp_path, f"labels: {{x: '{written}'}}\n", {"NAME": "value", "DOLLAR": "$NAME"})

    assert loaded.config is not None
    assert loaded.config.labels["x"] == expected


def test_numbers_and_durations_may_come_from_the_environment(tmp_path: Path) -> None:
    text = "retention: $DAYS\nsources: [{type: gitlab, name: g, projects: [a/b], max_requests_per_minute: $MOST}]\n"

    loaded = load_text(tmp_path, text, {"DAYS": "9d", "MOST": "60"})

    assert loaded.config is not None
    assert loaded.config.retention == timedelta(days=9)
    assert loaded.config.sources[0].max_requests_per_minute == 60


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    text = f"sources: [{{type: gitlab, name: g, projects: [a/b], token: '${{file:{secret}}}'}}]\n"

    loaded = load_text(tmp_path, text)

    assert loaded.config is not None
    token = loaded.config.sources[0].token
    assert token is not None
    assert token.get_secret_value() == TOKEN
    assert secret in loaded.watched


def test_whoever_writes_a_rule_reaches_no_secret(tmp_path: Path) -> None:
    rule = RULE.replace('"{{ success_rate | percent }}"', "$TOKEN ${TOKEN} ${file:/etc/passwd} ${TOKEN:-x}")
    text = f"defaults: {{annotations: {{a: $TOKEN}}}}\n{rule}"

    for loaded in (
        load_text(tmp_path, text, {"TOKEN": TOKEN}),
        load_text(tmp_path, "rule_files: [rules.yml]\n", {"TOKEN": TOKEN}, rules=text),
    ):
        assert loaded.config is not None
        (red,) = loaded.config.rules
        assert red.message.source == "$TOKEN ${TOKEN} ${file:/etc/passwd} ${TOKEN:-x}"
        assert red.annotations["a"].source == "$TOKEN"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("$NOPE", "$NOPE is not set"),
        ("${NOPE}", "$NOPE is not set"),
        ("$EMPTY", "$EMPTY is not set"),
        ("${file:/nowhere/token}", "${file:/nowhere/token} cannot be read: No such file or directory"),
        ("${file:/dev/null}", "${file:/dev/null} cannot be read: not a regular file"),
    ],
)
def test_what_is_not_there_is_a_warning_and_stops_a_run(tmp_path: Path, reference: str, expected: str) -> None:
    text = f"sources:\n  - {{type: gitlab, name: g, projects: [a/b], token: '{reference}'}}\n"

    loaded = load_text(tmp_path, text, {"EMPTY": ""})

    (problem,) = (problem for problem in loaded.problems if problem.code == "unset")
    assert (problem.text, problem.warning) == (expected, True)
    assert str(problem.place) == f"{tmp_path}/k2alert.yml:2:54"
    assert loaded.config is not None
    assert not loaded.runnable


@pytest.mark.parametrize(
    "line",
    [
        "retention: $NOPE",
        "web: {listen: $NOPE, external_url: $NOPE}",
        "notifications: {slack: {webhook_url: $NOPE}}",
        "notifications: {email: {smtp_server: $NOPE, from_address: $NOPE, to_addresses: [$NOPE]}}",
        "sources: [{type: github, name: g, repositories: [$NOPE], max_requests_per_minute: $NOPE}]",
        "rule_files: [$NOPE]",
        "export: {match: [$NOPE]}",
    ],
)
def test_nothing_else_is_said_of_a_value_that_is_not_there(tmp_path: Path, line: str) -> None:
    loaded = load_text(tmp_path, f"{line}\n")

    assert [problem.text for problem in loaded.problems if not problem.warning] == []


@pytest.mark.parametrize(
    "line",
    [
        "retention: $TOKEN",
        "store: $TOKEN",
        "web: {listen: $TOKEN}",
        "web: {admin_token: [$TOKEN]}",
        "web: $TOKEN",
        "labels: $TOKEN",
        "sources: [{type: $TOKEN, name: g}]",
        "sources: [{type: gitlab, name: $TOKEN, url: $TOKEN, projects: ['$TOKEN x'], poll_interval: $TOKEN}]",
        "sources: [{type: github, name: $TOKEN, repositories: [$TOKEN]}, {type: github, name: $TOKEN}]",
        "notifications: {slack: {webhook_url: $TOKEN, tokn: $TOKEN}}",
        "notifications: {slack: {bot_token: $TOKEN, channel: '{{ $TOKEN }}'}}",
        "notifications: {email: {smtp_server: '$TOKEN:x', from_address: $TOKEN, to_addresses: [$TOKEN], tls: $TOKEN}}",
        "project_labels: [{match: ['$TOKEN'], labels: {team: x}}]",
        "export: {by: ['$TOKEN']}",
        f"{WITH_RECEIVERS}route: {{receiver: $TOKEN}}",
        "notifications: {slack: '$TOKEN'}",
        "time_intervals: [{name: $TOKEN, time_intervals: [{times: [{start_time: $TOKEN, end_time: '1'}]}]}]",
        "receivers: [{name: $TOKEN}, {name: $TOKEN}]\nroute: {receiver: x, routes: [{name: $TOKEN}, {name: $TOKEN}]}",
        "inhibit_rules: [{source_matchers: [$TOKEN], target_matchers: []}]",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, line: str) -> None:
    loaded = load_text(tmp_path, f"{line}\n", {"TOKEN": TOKEN})

    assert any(not problem.warning for problem in loaded.problems)
    for part in (TOKEN, TOKEN[:8], TOKEN[-8:]):
        assert part not in repr(loaded)
        assert not any(part in str(problem) for problem in loaded.problems)


def test_a_secret_in_its_place_is_in_no_repr(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert loaded.config is not None
    assert TOKEN not in repr(loaded)


@pytest.mark.parametrize(("content", "expected"), [(b"\xff", "not UTF-8"), (b"x" * 64_001, "larger than 64 kB")])
def test_a_secret_that_is_none_is_watched_as_it_is(tmp_path: Path, content: bytes, expected: str) -> None:
    secret = tmp_path / "token"
    secret.write_bytes(content)

    loaded = load_text(tmp_path, f"web: {{admin_token: '${{file:{secret}}}'}}\n")

    assert said(loaded, "unset") == [f"${{file:{secret}}} cannot be read: {expected}"]
    assert fingerprint(loaded.watched) == loaded.watched


# -------------------------------------------------------------------------------------------- hashes


def test_the_hash_tells_files_apart_and_says_nothing_of_the_environment(tmp_path: Path) -> None:
    main = f"labels: {{x: $NAME}}\nrule_files: [rules.yml]\n{NOTIFIED}"

    def hash_of(name: str, rules: str) -> str:
        loaded = load_text(tmp_path, main, {"NAME": name, "HOOK": "https://x.example"}, rules=rules)
        assert loaded.config is not None
        return loaded.config.hash

    assert hash_of("a", RULE) == hash_of("b", RULE)
    assert hash_of("a", RULE) != hash_of("a", RULE.replace("0.95", "0.9"))
