"""Loading: what right files come to, what is warned of, and what must never be seen."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from k2alert.config.load import load, load_rules
from k2alert.config.secrets import secrets_of
from k2alert.config.watch import fingerprint
from k2alert.labels import Labels, parse_matcher
from k2alert.measure.catalogue import METRICS
from k2alert.model import NoDataPolicy, Severity, Window
from k2alert.notify import email, slack
from tests.conftest import SHARED
from tests.support.broken_files import RULE, rule_with
from tests.support.loading import FULL, NOTIFIED, RULES, TOKEN, load_text, said


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


def test_everything_that_the_contract_shows_is_read(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, FULL, {"TOKEN": TOKEN}, rules=RULES)

    assert {problem.code for problem in loaded.problems} == {"unowned", "unset"}
    assert said(loaded, "unset") == ['ca_file: there is no file "/etc/ssl/corp.pem"']
    assert loaded.config is not None


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
    assert [integration.kind for integration in receivers["team"].integrations] == [
        "slack",
        "email",
        "webhook",
        "alertmanager",
    ]
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
    loaded = load_text(tmp_path, "sources: [{type: gitlab, name: g, exclude: [k2/a]}]\n")

    assert loaded.config is not None
    assert 'the source "g" names no projects: nothing is read from it' in said(loaded)


def test_a_postgresql_store_is_taken_and_its_password_not_shown(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "store: postgresql://k2:hunter22@db/k2\n")

    assert loaded.config is not None
    assert loaded.config.store == "postgresql://k2:hunter22@db/k2"
    assert "hunter22" not in repr(loaded)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        pytest.param("postgresql://k2:hunter22@db/k2", {"hunter22"}, id="plain"),
        pytest.param("postgresql://k2:p%40ss@db/k2", {"p%40ss", "p@ss"}, id="written as %XX"),
        pytest.param("postgresql://k2:[hunter22@db/k2", {"[hunter22"}, id="not written as it should be"),
        pytest.param("postgresql://db/k2?password=a&sslpassword=b", {"a", "b"}, id="behind the question mark"),
        pytest.param("postgresql://k2@db/k2", set(), id="none"),
    ],
)
def test_passwords_of_a_store_are_secrets(tmp_path: Path, url: str, secrets: set[str]) -> None:
    loaded = load_text(tmp_path, f"store: {url!r}\n".replace("'", '"'))

    assert loaded.config is not None
    assert secrets_of(loaded.config) == secrets


def test_a_gauge_over_a_time_that_is_not_kept_is_refused(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "export: {windows: [24h, 60d]}\n")

    (problem,) = (found for found in loaded.problems if not found.warning)
    assert problem.text == "export: a window of 60d is longer than retention (35d)"
    assert (problem.place.line, problem.place.column) == (1, 25)


@pytest.mark.parametrize(("kept", "hours"), [("2d", [24]), ("2h", [2]), ("30d", [24, 168])])
def test_of_the_default_windows_those_remain_that_are_kept(tmp_path: Path, kept: str, hours: list[int]) -> None:
    loaded = load_text(tmp_path, f"retention: {kept}\n")

    assert loaded.config is not None
    assert loaded.config.export.windows == tuple(timedelta(hours=number) for number in hours)


@pytest.mark.parametrize("changed", [("success_rate < 0.95", "consecutive_failures > 2"), ("24h", "20 runs")])
def test_streaks_and_periods_in_runs_need_seven_days_kept(tmp_path: Path, changed: tuple[str, str]) -> None:
    rule = RULE.replace("success_rate | percent", "period").replace(*changed)
    loaded = load_text(tmp_path, "retention: 2d\n" + rule)

    (problem,) = (found for found in loaded.problems if not found.warning)
    assert problem.text == "the rule looks back 7d, as streaks, ages and periods in runs do; retention is 2d"


def test_a_certificate_file_that_is_not_there_is_told_and_stops_a_run(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "sources: [{type: gitlab, name: g, projects: [a/b], ca_file: nowhere.pem}]\n")

    assert 'ca_file: there is no file "nowhere.pem"' in said(loaded, "unset")
    assert not loaded.runnable


def test_a_metric_that_nothing_collects_is_warned_of(tmp_path: Path) -> None:
    main = tmp_path / "k2alert.yml"
    main.write_text(RULE.replace("success_rate < 0.95", "benchmark_regressions > 2"))
    metric = replace(METRICS["benchmark_regressions"], kind=None, collected=False)
    loaded = load(main, environ={}, metrics={**METRICS, metric.name: metric})

    assert said(loaded, "no-collector") == ["condition: nothing collects benchmark_regressions yet: it has no data"]


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
    file.write_text(rule_with("by: [team]\n    min_samples: 10"))

    alone = load_rules([file], metrics=METRICS)
    known = load_rules([file], metrics=METRICS, project_labels=frozenset({"team"}))

    assert [rule.name for rule in alone.rules] == ["red"]
    assert [problem.text for problem in alone.problems] == [
        'by: "team" is no label of facts; only project_labels may give it'
    ]
    assert known.problems == ()


# -------------------------------------------------------------------------------------------- hashes


def test_the_hash_tells_files_apart_and_says_nothing_of_the_environment(tmp_path: Path) -> None:
    main = f"labels: {{x: $NAME}}\nrule_files: [rules.yml]\n{NOTIFIED}"

    def hash_of(name: str, rules: str) -> str:
        loaded = load_text(tmp_path, main, {"NAME": name, "HOOK": "https://x.example"}, rules=rules)
        assert loaded.config is not None
        return loaded.config.hash

    assert hash_of("a", RULE) == hash_of("b", RULE)
    assert hash_of("a", RULE) != hash_of("a", RULE.replace("0.95", "0.9"))


def test_a_rule_leaves_out_the_time_intervals_that_it_names(tmp_path: Path) -> None:
    night = "time_intervals: [{name: night, time_intervals: [{times: [{start_time: '02:00', end_time: '04:00'}]}]}]\n"
    loaded = load_text(tmp_path, f"{NOTIFIED}{night}{rule_with('exclude_during: [night]')}", {"HOOK": "https://x"})

    assert loaded.config is not None
    (rule,) = loaded.config.rules
    assert rule.selection.without == (loaded.config.intervals["night"],)
    assert [rule.selection.counts(hour * 3_600_000) for hour in (1, 2, 3, 4)] == [True, False, False, True]
