"""The JSON Schema for editors agrees with what `check` says."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

from k2alert.config.schema import json_schema
from k2alert.document import parse_document
from tests.support.broken_files import RULE, rule_but, rule_with
from tests.support.loading import FULL, RULES
from tests.test_config_load import seed

__all__ = ["seed"]  # a fixture

Kind = Literal["main", "rules"]
VALIDATORS: dict[Kind, Draft202012Validator] = {
    "main": Draft202012Validator(json_schema("main")),
    "rules": Draft202012Validator(json_schema("rules")),
}


def complaints(kind: Kind, text: str) -> list[str]:
    """Where an editor would underline."""
    document, problems = parse_document(text.encode(), "f.yml")
    assert document is not None, problems
    return [error.json_path for error in VALIDATORS[kind].iter_errors(document.data)]


@pytest.mark.parametrize("kind", ["main", "rules"])
def test_it_is_a_schema(kind: Kind) -> None:
    schema = json_schema(kind)

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(schema)


DESCRIBED = (
    "GitlabSource",
    "GithubSource",
    "RouteSettings",
    "RuleSettings",
    "RuleDefaults",
    "WebSettings",
    "ExportSettings",
)


def test_every_key_is_described() -> None:
    schema = json_schema("main")
    parts = {"top": schema, **{name: schema["$defs"][name] for name in DESCRIBED}}

    bare = [
        (name, key)
        for name, part in parts.items()
        for key, value in part["properties"].items()
        if "description" not in value
    ]

    assert bare == []


@pytest.mark.parametrize("kind", ["main", "rules"])
def test_the_seed_is_right(kind: Kind, seed: Path) -> None:
    assert complaints(kind, seed.read_text()) == []


@pytest.mark.parametrize(("kind", "text"), [("main", FULL), ("main", RULES), ("rules", RULES)])
def test_right_files_are_right(kind: Kind, text: str) -> None:
    assert complaints(kind, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "retention: $DAYS\nweb: {listen: $LISTEN}\n",
        "sources: [{type: gitlab, name: $NAME, url: $URL, max_requests_per_minute: $MOST, poll_interval: $POLL}]\n",
        "notifications: {slack: {webhook_url: $HOOK, send_resolved: $RESOLVED}, email: {tls: $TLS}}\n",
        "route: {group_wait: $WAIT, continue: $X, group_by: [$LABEL]}\n",
        "export: {windows: [$WINDOW]}\n",
    ],
)
def test_a_reference_may_stand_for_any_value_of_the_main_file(text: str) -> None:
    assert complaints("main", text) == []


@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        ("main", "recievers: []\n", "$"),
        ("main", "retention: soon\n", "$.retention"),
        ("main", "web: {listen: x, extrnal_url: y}\n", "$.web"),
        ("main", "sources: [{type: svn, name: x}]\n", "$.sources[0]"),
        ("main", "sources: [{type: gitlab, name: g, projects: a/b}]\n", "$.sources[0]"),
        ("main", "notifications: {slack: {chanel: x}}\n", "$.notifications"),
        ("main", "notifications: {slack: x}\n", "$.notifications"),
        ("main", "route: {routes: [{name: a, contineu: true}]}\n", "$.route"),
        ("main", rule_but("24h", "$PERIOD"), "$.alert_rules[0].period"),
        ("main", rule_but("warning", "warn"), "$.alert_rules[0].severity"),
        ("rules", rule_but("warning", "$SEVERITY"), "$.alert_rules[0].severity"),
        ("rules", rule_with("for: soon"), "$.alert_rules[0].for"),
        ("rules", rule_with("severty: x"), "$.alert_rules[0]"),
        ("rules", RULE + "sources: []\n", "$"),
        ("rules", "defaults: {min_samples: 0}\n", "$.defaults.min_samples"),
    ],
)
def test_wrong_files_are_wrong_there(kind: Kind, text: str, place: str) -> None:
    found = complaints(kind, text)

    assert found
    assert all(path.startswith(place) for path in found)


def properties(schema: dict[str, Any], name: str) -> set[str]:
    """The keys of one definition."""
    return set(schema["$defs"][name]["properties"])


def test_an_editor_completes_the_keys_of_sources_and_receivers() -> None:
    schema = json_schema("main")

    assert {"projects", "groups", "token"} <= properties(schema, "GitlabSource")
    assert {"repositories", "organizations", "app"} <= properties(schema, "GithubSource")
    assert {"webhook_url", "bot_token", "channel"} <= properties(schema, "slack")
    assert {"smtp_server", "to_addresses"} <= properties(schema, "email")
