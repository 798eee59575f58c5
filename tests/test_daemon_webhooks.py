"""Webhooks through the whole daemon: from a forge's request to a message, with looks an hour apart."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from k2alert.model import RunTotal
from k2alert.record import Store, open_store
from k2alert.rehearse.gitlab_standin_json import StandinPipeline, StandinProject
from tests.support.daemon import PROJECT, Running, World, a_world, daemon, until, until_judged, until_seen
from tests.support.hook_load import send_at_a_rate
from tests.support.hooks import gitlab_payload
from tests.support.slack import TOKEN, Slack, stand_in_slack


def write_config(folder: Path, world: World, slack: Slack) -> Path:
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: t, projects: [{PROJECT}], poll_interval: 1h, backfill: 2d,
     max_staleness: 2d, webhook_secret: [new-secret, old-secret]}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 1h
receivers:
  - name: team
    slack: {{bot_token: {TOKEN}, api_url: "{slack.api_url}", channel: "#ci"}}
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
alert_rules:
  - {{name: main_is_red, condition: consecutive_failures >= 2, period: 24h, severity: critical, message: red}}
"""
    )
    return config


async def post(running: Running, world: World, number: int, status: str, secret: str = "old-secret") -> int:
    """A pipeline ends, and GitLab says so; the forge itself shows nothing of it."""
    now = world.clock.now()
    pipeline = StandinPipeline(
        id=number, created_at=now, started_at=now, finished_at=now, status=status, title="Break <!channel>"
    )
    body = json.dumps(gitlab_payload(StandinProject(1, PROJECT), pipeline, now, world.url))
    headers = {"X-Gitlab-Token": secret, "Idempotency-Key": f"{number}-{status}"}
    url = f"http://127.0.0.1:{running.port}/webhooks/gitlab"
    async with running.session.post(url, data=body, headers=headers) as answer:
        return answer.status


async def test_a_webhook_is_told_at_once_while_looks_and_rounds_are_an_hour_apart(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=1))
        async with daemon(write_config(tmp_path, world, slack), world.clock) as running:
            await until_judged(running)
            assert await post(running, world, 2001, "failed", secret="guessed") == 401
            assert await post(running, world, 2002, "failed") == 200
            assert await post(running, world, 2003, "failed") == 200
            assert await post(running, world, 2003, "failed") == 200
            await until(lambda: slack.top(), "the message")
            metrics = await running.text("/metrics")

        (message,) = slack.top()
        assert "main_is_red" in message.body["text"]
        assert "<!channel>" not in json.dumps(message.body)
        assert 'k2alert_webhooks_received_total{outcome="accepted",source="gitlab"} 2.0' in metrics
        assert 'k2alert_webhooks_received_total{outcome="duplicate",source="gitlab"} 1.0' in metrics


class SlowTotals:
    """A store that does not give the totals, of which gauges are drawn, while it is not let."""

    def __init__(self, store: Store) -> None:
        self._store, self.go = store, asyncio.Event()
        self.go.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def totals(self) -> list[RunTotal]:
        await self.go.wait()
        return await self._store.totals()


async def test_no_message_waits_for_the_gauges_and_who_follows_it_finds_the_alert(tmp_path: Path) -> None:
    stores: list[SlowTotals] = []

    def opener(url: str) -> Store:
        stores.append(SlowTotals(open_store(url)))
        return cast(Store, stores[-1])

    failed = 'k2alert_ci_runs_total{{source="gitlab",project="k2/app",ref_type="default",result="failure"}} {}'
    value = 'k2alert_rule_value{{project="k2/app",source="gitlab",rule="main_is_red"}} {}'
    fires = 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 1.0'
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=1))
        async with daemon(write_config(tmp_path, world, slack), world.clock, opener=opener) as running:
            await until_judged(running)
            assert await post(running, world, 2002, "failed") == 200
            await until_seen(running, value.format(1.0))
            stores[-1].go.clear()
            assert await post(running, world, 2003, "failed") == 200
            await until(lambda: slack.top(), "the message")
            (alert,) = await running.alerts()
            meanwhile = (await running.text("/metrics")).splitlines()
            stores[-1].go.set()
            await until_seen(running, value.format(2.0))
            in_the_end = (await running.text("/metrics")).splitlines()

    assert (alert["state"], alert["annotations"]) == ("firing", {"message": "red"})
    assert {fires, failed.format(1.0), value.format(1.0)} <= set(meanwhile)
    assert {fires, failed.format(2.0), value.format(2.0)} <= set(in_the_end)


async def test_no_accepted_webhook_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    report = await send_at_a_rate(tmp_path, rate=200, seconds=3, kill=True)

    assert report.lost == set()
    assert report.sent == 600
    assert len(report.accepted) > 200
