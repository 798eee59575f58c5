"""Every kind of message through every integration, as files to look at: `make gallery`.

With `screenshots`, Chromium takes pictures of them as a phone would show them, in light and in dark.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from math import sin
from pathlib import Path

from pydantic import SecretStr

from k2alert.labels import Labels
from k2alert.model import (
    Alert,
    DeploymentEvidence,
    EndReason,
    Evidence,
    JobEvidence,
    LogEntry,
    Result,
    Severity,
    TestEvidence,
)
from k2alert.notify import INTEGRATIONS, alertmanager, email, slack, webhook
from k2alert.notify.chart import Chart
from k2alert.notify.dues import Due, Kind, Part
from k2alert.notify.message import Item, Message, compose, shown
from k2alert.notify.route import Integration, Receiver, Route
from k2alert.previews import Preview, files_of, write_files
from tests.support.notified import HOUR, MINUTE, T0, World, alert, always, ended, item, run

HOSTILE_TEXT = (
    "<!channel> <https://evil.test|x> *b* `c` {{ 7*7 }} <img src=x onerror=alert(1)>\r\nBcc: all@evil.test \u202egnp"
)
BASE = "https://k2alert.test"
CHART_POINTS = 49

SETTINGS = {
    "slack": slack.Settings(bot_token=SecretStr("xoxb-1"), channel="#ci"),
    "email": email.Settings(
        smtp_server="mail.test", from_address="k2alert <ci@k2.test>", to_addresses=("devops@k2.test",)
    ),
    "webhook": webhook.Settings(url=SecretStr("https://hooks.test/ci")),
    "alertmanager": alertmanager.Settings(url=(SecretStr("http://am.test:9093"),)),
}


def rate_chart() -> Chart:
    """A success rate that falls below its threshold in the end."""
    values = [0.97 + 0.015 * sin(step / 3) - max(0, step - 36) * 0.006 for step in range(CHART_POINTS)]
    return Chart(
        values=(None, None, *values[2:]),
        is_bad=tuple(value < 0.95 for value in values),
        threshold=0.95,
        title="success rate",
        span="4d",
        low_text="88.3%",
        high_text="98.5%",
        threshold_text="< 95%",
    )


RUNS = (
    run(1207, title="Merge branch 'faster-replay' into main", jobs=()),
    run(1205, title="Retry the feed handshake", result=Result.TIMEOUT),
    run(1204, title="Tidy the order book", sha="9c1f0d2e55"),
    run(1198, title="Add symbols of Xetra"),
)


def rich(of: Alert, text: str = "Pipeline success rate is 91.3% in the last 24h") -> Item:
    """An alert with all that a message can say of it."""
    return item(
        of,
        text=text,
        html=text,
        value_text="91.3%",
        threshold_text="< 95%",
        before_text="97.4%",
        before_span="24h",
        owner="platform",
        chart=rate_chart(),
        evidence=Evidence(
            runs=RUNS,
            faults=12,
            samples=138,
            first_failing=run(1204, title="Tidy the order book", sha="9c1f0d2e55"),
            last_green=run(1203, title="Bump the base image", sha="4b7a8e1077", result=Result.SUCCESS),
            compare_url="https://gitlab.test/k2/market-data/-/compare/4b7a8e1077...9c1f0d2e55",
        ),
    )


def flaky(of: Alert) -> Item:
    tests = tuple(
        TestEvidence(
            suite="tests.feed.test_replay",
            test=f"test_replays_in_order[{number}]",
            job="test_integration",
            message="AssertionError: expected 42 quotes, found 41\nmore of it",
            file="tests/feed/test_replay.py",
            branch="main",
            sha="9c1f0d2e55",
            finished_at=T0,
            web_url=f"https://gitlab.test/k2/market-data/-/jobs/{number}",
        )
        for number in range(10)
    )
    evidence = Evidence(tests=tests, faults=23, samples=1840)
    return item(of, "23 tests failed", value_text="23 tests", threshold_text="> 0", noun="tests", evidence=evidence)


def deployed(of: Alert) -> Item:
    one = DeploymentEvidence(
        project="k2/market-data",
        id="77",
        environment="production",
        tier="production",
        branch="main",
        sha="9c1f0d2e55",
        result=Result.FAILURE,
        finished_at=T0,
        run_id="1",
        web_url="https://gitlab.test/k2/market-data/-/environments/77",
    )
    evidence = Evidence(deployments=(one,), faults=1, samples=5)
    return item(of, "A deployment failed", value_text="1", threshold_text="> 0", noun="deployments", evidence=evidence)


def hostile(of: Alert) -> Item:
    text = HOSTILE_TEXT
    jobs = (JobEvidence(name=text, stage=text, result=Result.FAILURE, reason=text, web_url=text),) * 9
    bad = replace(run(1, title=text, branch=text * 100, workflow=text, sha=text, jobs=jobs), number=text, web_url=text)
    evidence = Evidence(runs=(bad,) * 10, faults=99, samples=100, first_failing=bad, last_green=bad, compare_url=text)
    return Item(
        alert=of,
        text="Main is red",
        html="Main is red",
        value_text="3 runs",
        threshold_text=">= 3",
        owner=text,
        evidence=evidence,
        annotations={"runbook_url": text},
    )


Story = Iterator[tuple[str, Due, Message]]


def stories(kind: str, storm_of: int) -> Story:
    """Every kind of message through one integration: name, why it is due, and the message."""
    world = _world(kind)
    red = world.fire("k2/market-data", rule="pipeline_success_rate_low", severity=Severity.WARNING, value=0.913)
    yield from _said(world, "firing", rich, 30 * MINUTE)
    flap = world.fire("k2/market-data-2", rule="pipeline_success_rate_low", severity=Severity.CRITICAL)
    yield from _said(world, "changed", rich, 6 * MINUTE)
    yield from _said(world, "repeat", rich, 5 * HOUR)
    world.end(flap)
    world.end(red)
    yield from _said(world, "resolved", rich, 6 * MINUTE)
    gone = world.fire("k2/archive", rule="main_is_red")
    yield from _said(world, "tests", flaky)
    world.end(gone, EndReason.PROJECT_GONE)
    yield from _said(world, "closed", rich, 6 * MINUTE)
    silent = world.fire("k2/deploys", rule="deployment_failed", severity=Severity.CRITICAL)
    yield from _said(world, "deployment", deployed)
    world.put(replace(world.alerts[silent.key], no_data_since=world.now))
    yield from _said(world, "no-data", rich, 5 * HOUR)
    labels = Labels({"alertname": "K2AlertSourceStale", "severity": "warning", "source": "gitlab"})
    stale = alert(rule="K2AlertSourceStale", at=world.now, labels=labels, identity=Labels({"source": "gitlab"}))
    world.put(replace(stale, value=3))
    yield from _said(world, "stale-source", _stale)
    identity = Labels({"receiver": "on-call", "integration": "slack[0]"})
    labels = identity.merged({"alertname": "K2AlertNotificationsFailing", "severity": "warning"})
    failing = alert(rule="K2AlertNotificationsFailing", at=world.now, labels=labels, identity=identity)
    world.put(replace(failing, value=2))
    yield from _said(world, "notifications-failing", _failing)
    name = HOSTILE_TEXT
    labels = Labels({"alertname": "main_is_red", "severity": "critical", "source": "gitlab", "project": name})
    world.put(alert(at=world.now, labels=labels, identity=Labels({"source": "gitlab", "project": name})))
    yield from _said(world, "hostile", hostile)
    yield from _digest(kind)
    storm = _world(kind, group_by=("alertname", "source", "project"))
    for number in range(storm_of):
        name = f"k2/app-{number:05}" if number else f"{HOSTILE_TEXT} first"
        storm.fire(name, rule="main_is_red", severity=Severity.CRITICAL)
    yield from _said(storm, "storm", item)


def _digest(kind: str) -> Story:
    """A week's summary: some still fire, some have ended."""
    world = _world(kind)
    firing = [world.fire(name, rule="main_is_red") for name in ("k2/red-0", "k2/red-1", HOSTILE_TEXT)]
    over = [
        ended(alert(project=f"k2/green-{number}", rule="slow_pipeline", at=T0 - 3 * HOUR), T0 - HOUR, reason)
        for number, reason in enumerate((EndReason.RECOVERED, EndReason.RECOVERED, EndReason.NO_DATA))
    ]
    entry = LogEntry(
        incident="week", group="weekly:digest", group_labels=Labels(), receiver="team", integration=f"{kind}[0]"
    )
    alerts = (*firing, *over)
    told = {one.key: one.state for one in alerts}
    part = Part(kind=Kind.DIGEST, entry=entry, alerts=alerts, news=alerts, told=told)
    integration = world.receivers["team"].integrations[0]
    due = Due(kind=Kind.DIGEST, receiver="team", integration=integration, parts=(part,))
    items = [item(one) for one in shown(due, INTEGRATIONS[kind].shows)]
    yield "digest", due, compose(due, items, now=T0 + 30 * MINUTE, external_url=BASE)


def _stale(of: Alert) -> Item:
    said = "3 project(s) of source gitlab could not be read for 15m: k2/a, k2/b and k2/c: 401 Unauthorized."
    return Item(alert=of, text=said, html=said)


def _failing(of: Alert) -> Item:
    said = (
        "Receiver on-call does not get what it should by slack[0]. The last message of 2 incidents was given up: "
        "#ci: Slack answered 200 channel_not_found."
    )
    return Item(alert=of, text=said, html=said, value_text="2")


def _world(kind: str, group_by: tuple[str, ...] = ("alertname", "source")) -> World:
    receiver = Receiver("team", (Integration(kind, f"{kind}[0]", SETTINGS[kind]),))
    return World(route=Route(name="root", receiver="team", group_by=group_by), receivers={"team": receiver})


def _said(world: World, name: str, make: Callable[[Alert], Item], after: timedelta = 30 * MINUTE) -> Story:
    """What is due a while later, told."""
    before = world.now
    world.now += after
    for due in world.due():
        alerts = shown(due, INTEGRATIONS[due.integration.kind].shows)
        items = [make(one) for one in alerts]
        yield name, due, compose(due, items, now=world.now, external_url=BASE)
    world.now = before
    world.tick(after, always)


def gallery(storm_of: int = 10_000) -> tuple[Preview, ...]:
    """All of it, as files."""
    found = []
    for kind in INTEGRATIONS:
        for name, due, message in stories(kind, storm_of):
            for preview in files_of(due, message):
                found.append(Preview(f"{name}-{preview.name}", preview.content))
    return tuple(found)


def take_screenshots(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
            for path in sorted(folder.glob("*.html")):
                page.goto(path.resolve().as_uri())
                page.screenshot(path=str(path.with_suffix(f".{scheme}.png")), full_page=True)
        browser.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for path in write_files(gallery(), folder):
        print(path)
    if "screenshots" in sys.argv[2:]:
        take_screenshots(folder)
