"""The templates by which others run k2alert in their CI: they are YAML, and call commands as these are."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from k2alert.cli import main

ROOT = Path(__file__).parents[1]
TEMPLATES = [*sorted((ROOT / "deploy/ci").rglob("*.yml")), ROOT / ".pre-commit-hooks.yaml"]


def texts(data: object) -> list[str]:
    """Every text in some YAML."""
    if isinstance(data, dict):
        return [text for value in data.values() for text in texts(value)]
    if isinstance(data, list):
        return [text for value in data for text in texts(value)]
    return [data] if isinstance(data, str) else []


def calls(path: Path) -> list[list[str]]:
    """The calls of k2alert in a template, as words."""
    lines = [line for text in texts(yaml.safe_load(path.read_text())) for line in text.replace("\\\n", " ").split("\n")]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"\s*k2alert \w", line) and "==" not in line]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_call_names_a_command_and_options_that_there_are(path: Path) -> None:
    context = click.Context(main)
    found = calls(path)
    for _, name, *words in found:
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            command, name = command.get_command(context, words[0]), f"{name} {words[0]}"
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, name
    assert len(found) >= 2


def test_the_hooks_of_pre_commit_are_what_it_asks_for() -> None:
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()):
        assert {"id", "name", "entry", "language", "files"} <= hook.keys()
        assert hook["language"] == "python"
    check, tests = (re.compile(hook["files"]) for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()))
    assert all(map(check.search, ["k2alert.yml", "ci/rules/main.yml", ".gitlab-ci-alerts.yml"]))
    assert not check.search("rules/tests/main.yml")
    assert tests.search("rules/tests/main.yml")
