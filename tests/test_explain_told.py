"""What was sent to whom, in explanations: at the prompt, in JSON, and as far as it was known at an earlier time."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from k2alert.cli import main
from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, Severity, Telling, TellingOutcome, ToldAlert, Transition
from k2alert.record import open_store
from k2alert.times import iso
from tests.support.bench import MAIN, MINUTE, RED, T0, project

IDENTITY = Labels({"source": "gitlab", "project": "pay/api"})
ALERT = Alert(
    rule="main_is_red",
    identity=IDENTITY,
    labels=IDENTITY.merged({"alertname": "main_is_red", "severity": "critical"}),
    severity=Severity.CRITICAL,
    state=AlertState.FIRING,
    by=("project", "source"),
    active_at=T0,
    fired_at=T0,
)
SENT = Telling(
    at=T0 + MINUTE,
    receiver="team",
    integration="slack[0]",
    kind="firing",
    incident="i1",
    alerts=(ToldAlert(key=ALERT.key, rule=ALERT.rule, identity=IDENTITY),),
    total=1,
    outcome=TellingOutcome.SENT,
)
HISTORY = (
    replace(SENT, at=T0 - timedelta(days=1), incident="of an earlier one"),
    SENT,
    replace(
        SENT, at=T0 + 5 * MINUTE, kind="list", total=4, outcome=TellingOutcome.RETRY, error="HTTP 500\x1b[2J\u202e"
    ),
    replace(SENT, at=T0 + 6 * MINUTE, alerts=(ToldAlert(key="another", rule="x", identity=IDENTITY),)),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in which an alert fires, and messages were tried."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k2alert.yml").write_text(MAIN)
    (tmp_path / "rules.yml").write_text(RED)
    edge = Transition(
        rule=ALERT.rule,
        identity=IDENTITY,
        before=AlertState.INACTIVE,
        after=AlertState.FIRING,
        at=T0,
        reason=None,
        value=3.0,
    )

    async def record() -> None:
        store = open_store("sqlite:///k2alert.db")
        await store.save_project(project("pay/api"))
        await store.save_alerts([ALERT], transitions=[edge])
        await store.save_log([], tellings=HISTORY)
        await store.close()

    asyncio.run(record())
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["explain", "main_is_red", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_was_sent_since_the_alert_began_is_said_the_newest_first(folder: Path) -> None:
    lines = [line for line in run().splitlines() if "slack[0]: " in line and "route" not in line]

    assert lines == [
        f"  told       {iso(T0 + 5 * MINUTE)} list with 3 more to team by slack[0]: retry: HTTP 500[2J",
        f"             {iso(T0 + MINUTE)} firing to team by slack[0]: sent",
    ]


def test_of_an_earlier_time_only_what_had_been_sent_by_then_is_said(folder: Path) -> None:
    (one,) = json.loads(run("--at", iso(T0 + 2 * MINUTE), "--output", "json"))["explanations"]

    assert one["told"] == [
        {
            "at": iso(SENT.at),
            "receiver": "team",
            "integration": "slack[0]",
            "kind": "firing",
            "total": 1,
            "outcome": "sent",
            "error": "",
        }
    ]
