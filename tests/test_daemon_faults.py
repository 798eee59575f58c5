"""Whole daemons beside a broken forge: what cannot be read is unknown, never zero, and it holds up nobody else."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from tests.support.daemon import Clock, Running, daemon, until, until_drawn, until_seen
from tests.support.faults import Fault, answer, html, reset, truncated
from tests.support.slack import TOKEN, Slack, stand_in_slack

HEALTHY = "k2/well"
FORBIDDEN = {"k2/denied": answer({"message": "401 Unauthorized"}, status=401), "k2/gone": html(404)}
SICK: dict[str, Fault] = FORBIDDEN | {"k2/page": html(), "k2/cut": truncated(), "k2/mute": reset}
ALL = (HEALTHY, *SICK)
COUNTERS = ("k2alert_ci_runs_total", "k2alert_ci_run_duration_seconds_")  # what ever was seen, from the store


@dataclass
class Ward:
    """A stand-in GitLab of several projects, some of them ill."""

    clock: Clock
    forge: StandinGitLab
    url: str = ""
    ill: dict[str, Fault] = field(default_factory=dict)
    number: int = 0

    def run(self, project: str, status: str = "success") -> None:
        """A pipeline that has just finished."""
        self.number += 1
        now = self.clock.now()
        begun = now - timedelta(minutes=5)
        self.forge.put(
            project,
            StandinPipeline(id=self.number, created_at=begun, started_at=begun, finished_at=now, status=status),
        )

    @web.middleware
    async def admit(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Has requests about an ill project fail in its way; one about several is answered without it."""
        body = await request.text()
        if '"ids"' in body:
            return self._without_the_ill(await handler(request))
        for project, fault in self.ill.items():
            named = re.match(
                rf"/api/v4/projects/({project.replace('/', '%2F')}|{1 + ALL.index(project)})\b", request.raw_path
            )
            if named or f'"{project}"' in body:
                return await fault(request)
        response: web.StreamResponse = await handler(request)
        return response

    def _without_the_ill(self, response: web.Response) -> web.Response:
        answer = json.loads(response.text or "")
        projects = answer["data"]["projects"]
        projects["nodes"] = [node for node in projects["nodes"] if node["fullPath"] not in self.ill]
        return web.json_response(answer)


@asynccontextmanager
async def a_ward() -> AsyncIterator[Ward]:
    clock = Clock()
    ward = Ward(clock, StandinGitLab(clock.now))
    for project in ALL:
        ward.forge.add_project(project)
    server = TestServer(ward.forge.app(middlewares=[ward.admit]))
    await server.start_server()
    ward.url = str(server.make_url("")).rstrip("/")
    try:
        yield ward
    finally:
        await server.close()


def write_config(folder: Path, ward: Ward, slack: Slack) -> Path:
    (folder / "rules.yml").write_text(
        """
alert_rules:
  - {name: main_is_red, condition: consecutive_failures >= 1, period: 24h, severity: critical, message: "red"}
"""
    )
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{ward.url}", projects: [{", ".join(ALL)}],
     poll_interval: 100ms, backfill: 2d, max_staleness: 15m}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
receivers: [{{name: team, slack: {{bot_token: {TOKEN}, api_url: "{slack.api_url}", channel: "#ci"}}}}]
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
"""
    )
    return config


def projects(state: str, number: int) -> str:
    return f'k2alert_projects{{source="gitlab",state="{state}"}} {number}.0'


def alerts(state: str, number: int) -> str:
    return f'k2alert_alerts{{rule="main_is_red",severity="critical",state="{state}"}} {number}.0'


async def gauges(running: Running) -> dict[str, dict[str, float]]:
    """The CI gauges' values by project, then by name and window; counters left out."""
    await until_drawn(running)
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(await running.text("/metrics")):
        for sample in family.samples:
            if sample.name.startswith("k2alert_ci_") and not sample.name.startswith(COUNTERS):
                name = f"{sample.name} {sample.labels.get('window', '')}".strip()
                found.setdefault(sample.labels.get("project", ""), {})[name] = sample.value
    found.pop("", None)
    return found


async def held(running: Running) -> dict[str, bool]:
    """The projects whose alerts fire, and whether only because nothing newer is known."""
    open_alerts: list[Any] = await running.alerts()
    return {one["labels"].get("project", ""): one["k2alert"]["unknown"] for one in open_alerts}


def titles(slack: Slack) -> list[str]:
    return [re.sub(r":.*", "", post.body["text"].partition("]* ")[2]) for post in slack.top()]


async def test_what_cannot_be_read_any_more_is_unknown_and_all_is_well_again_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "k2alert")
    async with a_ward() as ward, stand_in_slack() as slack:
        for project in ALL:
            ward.run(project)
        async with daemon(write_config(tmp_path, ward, slack), ward.clock) as running:
            await until_seen(running, alerts("inactive", len(ALL)))
            ward.run("k2/page", "failed")
            await until_seen(running, alerts("firing", 1))
            before = await gauges(running)

            ward.ill = SICK
            ward.run("k2/cut", "failed")  # nobody can see that
            await until(lambda: len(said(caplog, "cannot be read")) == len(SICK), "every failure's line in the log")
            await until_seen(running, projects("forbidden", len(FORBIDDEN)))
            during = await gauges(running)
            assert {project: values for project, values in during.items() if lower(values, before[project])} == {}

            ward.clock.move(minutes=16)
            await until_seen(running, projects("stale", len(SICK) - len(FORBIDDEN)))
            await until_seen(running, alerts("unknown", len(SICK)))
            assert set(await gauges(running)) == {HEALTHY}
            ward.clock.move(minutes=1)
            await until_seen(running, 'k2alert_alerts{rule="K2AlertSourceStale",severity="warning",state="firing"} 1.0')
            ward.run(HEALTHY, "failed")
            await until_seen(running, alerts("firing", 1))
            assert await held(running) == {"": False, HEALTHY: False, "k2/page": True}
            await until(lambda: len(titles(slack)) == 3, "all that fires to be told")
            assert titles(slack)[:1] == ["main_is_red · k2/page"]
            assert sorted(titles(slack)[1:]) == ["K2AlertSourceStale · gitlab", f"main_is_red · {HEALTHY}"]
            assert slack.thread() == []  # nothing has ended

            ward.ill = {}
            ward.run("k2/page")
            ward.clock.move(minutes=16)
            await until_seen(running, projects("ok", len(ALL)))
            await until_seen(
                running, 'k2alert_alerts{rule="K2AlertSourceStale",severity="warning",state="inactive"} 1.0'
            )
            await until_seen(running, alerts("firing", 2))
            assert set(await gauges(running)) == set(ALL)
            await until(lambda: len(titles(slack)) == 4 and len(slack.thread()) == 2, "all of it to be told")
        assert sorted(re.findall(r"\*(Resolved:)\* ([^:]+)", "\n".join(slack.thread()))) == [
            ("Resolved:", "K2AlertSourceStale · gitlab"),
            ("Resolved:", "main_is_red · k2/page"),
        ]
        assert titles(slack)[3:] == ["main_is_red · k2/cut"]
    assert sorted(said(caplog, "cannot be read")) == sorted(SICK)  # once each
    assert sorted(said(caplog, "can be read again")) == sorted(SICK)


def said(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    """The projects that the log says this of."""
    found = (re.match(rf"project (\S+) of source gitlab {what}", record.getMessage()) for record in caplog.records)
    return [one[1] for one in found if one]


def lower(values: dict[str, float], before: dict[str, float]) -> set[str]:
    """What fell, ages and the like left out: something that was there and now looks like nothing."""
    return {name for name, value in values.items() if value < before.get(name, 0.0)}


async def test_what_could_never_be_read_has_no_numbers_and_is_told_as_a_stale_source(tmp_path: Path) -> None:
    async with a_ward() as ward, stand_in_slack() as slack:
        ward.ill = SICK
        for project in ALL:
            ward.run(project, "failed")
        async with daemon(write_config(tmp_path, ward, slack), ward.clock) as running:
            await until_seen(running, alerts("firing", 1))
            await until_seen(running, alerts("unknown", len(SICK)))
            await until_seen(running, projects("forbidden", len(FORBIDDEN)))
            assert set(await gauges(running)) == {HEALTHY}
            ward.clock.move(minutes=16)
            await until_seen(running, projects("stale", len(SICK) - len(FORBIDDEN)))
            ward.clock.move(minutes=1)
            await until_seen(running, 'k2alert_alerts{rule="K2AlertSourceStale",severity="warning",state="firing"} 1.0')
            assert set(await gauges(running)) == {HEALTHY}
            assert await held(running) == {"": False, HEALTHY: False}
