"""References to the environment and to files: what they come to, and that no secret is ever seen."""

from datetime import timedelta
from pathlib import Path

import pytest

from k2alert.config.watch import fingerprint
from tests.support.broken_files import RULE, WITH_RECEIVERS
from tests.support.loading import FULL, RULES, TOKEN, load_text, said


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
