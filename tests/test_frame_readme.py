"""What the README promises, tried: its configuration, its example message, its commands. Links: test_site.py."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from k2alert.cli import main
from k2alert.filters import FILTERS
from k2alert.measure.catalogue import METRICS
from k2alert.model import Alert, Evidence, JobEvidence, Result, RunEvidence
from k2alert.notify import slack
from k2alert.notify.message import Item, compose
from k2alert.telling import value_text
from tests.support.notified import World, run
from tests.support.pages import ROOT, fenced
from tests.support.slack import all_blocks, texts_of

README = (ROOT / "README.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A folder as the README leaves one: its configuration and the shipped rules."""
    (tmp_path / "k2alert.yml").write_text(fenced(README, "yaml")[0])
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    return tmp_path / "k2alert.yml"


def test_the_configuration_has_nothing_wrong(configured: Path) -> None:
    names = re.findall(r"\$([A-Z_]+)", configured.read_text())
    checked = CliRunner(env=dict.fromkeys(names, "mail.example.com")).invoke(
        main, ["check", "--strict", str(configured)]
    )
    assert checked.exit_code == 0, checked.output


def test_the_configuration_has_no_secret_in_it() -> None:
    for source in yaml.safe_load(fenced(README, "yaml")[0])["sources"]:
        assert source["token"].startswith("$")


def test_a_variable_that_is_not_set_is_named(configured: Path) -> None:
    checked = CliRunner(env={"GITLAB_TOKEN": None}).invoke(main, ["check", str(configured)])
    assert "k2alert.yml:5:12: warning" in checked.output
    assert "$GITLAB_TOKEN is not set" in checked.output


# -------------------------------------------------------------------------------- the example message


def failed(number: int, title: str, job: str, reason: str, **changes: object) -> RunEvidence:
    culprit = JobEvidence(name=job, stage="", result=Result.FAILURE, reason=reason, web_url="https://gitlab.test/j")
    return run(number, title=title, jobs=(culprit,), **changes)


EVIDENCE = Evidence(
    runs=(
        failed(1207, "Merge branch 'faster-replay'", "test_integration", "script_failure"),
        failed(1205, "Retry the feed handshake", "test_e2e", "job_execution_timeout", result=Result.TIMEOUT),
        failed(1204, "Tidy the order book", "test_integration", "script_failure", sha="9c1f0d2e55"),
        failed(1198, "Add symbols of Xetra", "test_integration", "script_failure"),
    ),
    faults=4,
    samples=46,
    first_failing=run(1204, title="Tidy the order book", sha="9c1f0d2e55"),
    last_green=run(1203, title="Bump the base image", sha="4b7a8e1077", jobs=()),
    compare_url="https://gitlab.test/compare",
)


def item(alert: Alert) -> Item:
    metric = METRICS["success_rate"]
    return Item(
        alert=alert,
        text=f"Pipeline success rate is {FILTERS['percent'](alert.value)} in the last 24h",
        value_text=value_text(alert.value, metric),
        threshold_text=f"< {value_text(0.95, metric)}",
        before_text="97.4%",
        before_span="24h",
        owner="platform",
        evidence=EVIDENCE,
        annotations={"runbook_url": "https://wiki.test/red"},
    )


def test_the_example_is_what_slack_is_sent() -> None:
    world = World()
    alert = world.fire("k2/market-data", rule="pipeline_success_rate_low", value=0.913)
    world.now += timedelta(seconds=30)
    (due,) = world.due()
    payload = slack.build(compose(due, [item(alert)], now=world.now))
    said = [text["text"].replace("*\n", ": ") for block in all_blocks(payload) for text in texts_of(block)]
    seen = re.sub(r"<[^|>]+\|([^>]+)>", r"\1", "\n".join(said)).replace("*", "").replace("&lt;", "<")
    assert seen == fenced(README, "text")[0].rstrip("\n")


# --------------------------------------------------------------------------------- commands and pages


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"^ *make ([a-z0-9]+)|`make ([a-z0-9]+)`", page.read_text(), re.MULTILINE))
        assert {first or second for first, second in named} <= targets, page.name


def test_every_command_that_is_named_exists() -> None:
    known = set(main.list_commands(None))  # type: ignore[attr-defined]
    for page in PAGES:
        named = set(re.findall(r"`k2alert ([a-z]+)|\.venv/bin/k2alert ([a-z]+)", page.read_text()))
        assert {first or second for first, second in named} <= known, page.name


def test_every_page_stands_once_in_the_index_of_the_readme() -> None:
    index = README.partition("## Documentation\n")[2]
    for page in (ROOT / "docs").glob("*.md"):
        assert index.count(f"(docs/{page.name})") == 1, page.name
