"""Names that mean harm, from a forge to every way out of a whole daemon: nothing pings, links, breaks or runs.

Each name is a branch whose last two runs failed, with a commit of the same title; one message is about all of them.
"""

import asyncio
import io
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from k2alert.cli import main
from k2alert.logs import Secrets, set_up_logging
from k2alert.rehearse.gitlab_standin import StandinPipeline
from tests.support.daemon import PROJECT, Running, World, a_world, daemon, until, until_drawn
from tests.support.posts import Posts, taking_posts
from tests.support.slack import TOKEN, Slack, all_blocks, stand_in_slack, texts_of, wrong_payload
from tests.support.smtp import MailServer, mail_server

NAMES = (
    "<!channel> <@U1> <!here>",
    "<https://evil.test|ok>",
    "https://evil.test/login",
    "x\r\nBcc: all@evil.test",
    "\u202egnp.exe\u2066\u200f\u200b",
    "b" * 10_000,
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    '"><a href="https://evil.test">x</a>',
    "{{ 9173*8231 }}{% raw %}${9173*8231}",
    "\x1b[2J\x1b]8;;https://evil.test\x07\x00\x9b31m",
    "*b* _i_ ~s~ `c` :boom:",
    "[a](https://evil.test) | b",
    "javascript:alert(1)",
)
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f-\x9f]")
CONFIG = """
sources:
  - {{type: gitlab, name: gitlab, url: "{world}", token: t, projects: [k2/app], poll_interval: 1s, backfill: 2d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 300ms
web: {{external_url: "https://k2alert.test"}}
alert_rules:
  - name: branch_is_red
    condition: consecutive_failures >= 2
    period: 24h
    severity: critical
    by: [project, branch]
    message: "{{{{ labels.branch }}}} is red{{% for run in evidence.runs %}}, {{{{ run.title }}}}{{% endfor %}}"
    annotations: {{runbook_url: "https://wiki.test/{{{{ labels.branch }}}}"}}
receivers:
  - name: team
    slack:
      - {{webhook_url: "{slack.hook_url}"}}
      - {{bot_token: {token}, api_url: "{slack.api_url}", channel: "#ci"}}
    email: {{smtp_server: "127.0.0.1:{mail.port}", tls: none, from_address: ci@k2.test, to_addresses: [a@k2.test]}}
    webhook: {{url: "{posts.url}/hook"}}
    alertmanager: {{url: "{posts.url}"}}
route: {{receiver: team, group_wait: 3s, group_interval: 1s, group_by: [alertname]}}
"""
PAGES = (
    *("/", "/?filter=%3Cimg", "/rules", "/rules/branch_is_red", "/rules/branch_is_red?span=1d", "/sources"),
    *("/silences", "/notifications", "/flaky", "/flaky?project=%3Cimg", "/flaky?%3Cimg=x", "/sign-in"),
)
TAGS = {
    *("!doctype", "html", "head", "meta", "title", "link", "body", "header", "nav", "main", "footer", "div", "section"),
    *(
        "h1",
        "h2",
        "h3",
        "p",
        "a",
        "b",
        "strong",
        "code",
        "span",
        "br",
        "wbr",
        "time",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
    ),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption", "svg", "rect", "path"),
    *("form", "label", "input", "textarea", "button"),
}


@dataclass
class Ears:
    """What everybody heard, and the daemon."""

    running: Running
    slack: Slack
    mail: MailServer
    posts: Posts
    config: Path

    def heard(self, path: str) -> list[Any]:
        return [taken.body for taken in self.posts.taken if taken.path.startswith(path)]


@asynccontextmanager
async def a_hostile_world(folder: Path) -> AsyncIterator[Ears]:
    async with (
        a_world() as world,
        stand_in_slack() as slack,
        mail_server(folder, tls="none", login=False) as mail,
        taking_posts() as posts,
    ):
        for number, name in enumerate(NAMES):
            fail_twice(world, name, 100 + 10 * number)
        config = folder / "k2alert.yml"
        config.write_text(
            CONFIG.format(world=world.url, folder=folder, slack=slack, token=TOKEN, mail=mail, posts=posts)
        )
        async with daemon(config, world.clock) as running:
            ears = Ears(running, slack, mail, posts, config)
            await until(lambda: slack.hooked and slack.posts and mail.mails, "messages to people")
            await until(lambda: ears.heard("/hook") and ears.heard("/api/v2/alerts"), "messages to programs")
            yield ears


def fail_twice(world: World, name: str, number: int) -> None:
    for again in range(2):
        at = world.clock.now() - timedelta(minutes=30 - again)
        world.forge.put(
            PROJECT,
            StandinPipeline(
                id=number + again, created_at=at, started_at=at, finished_at=at, status="failed", ref=name, title=name
            ),
        )


async def test_no_name_of_a_forge_acts_wherever_it_is_told_or_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with a_hostile_world(tmp_path) as ears:
        for payload in [*ears.slack.hooked, *(post.body for post in ears.slack.posts)]:
            check_slack(payload)
        for mail in ears.mail.mails:
            check_mail(mail)
        for hook in ears.heard("/hook"):
            check_annotations(hook["alerts"])
        for alerts in ears.heard("/api/v2/alerts"):
            check_annotations(alerts)
        await check_pages(ears.running)
        await check_api(ears.running)
        await until_drawn(ears.running)  # its gauges are drawn after its messages are told
        check_metrics(await ears.running.text("/metrics"))
        for arguments in (["explain", "branch_is_red"], ["explain", "branch_is_red", "--message"], ["alerts"]):
            await check_terminal(ears, tmp_path, arguments)
    check_logs(caplog.records)


def check_slack(payload: dict[str, Any]) -> None:
    """Within Slack's limits; the only markup is links of ours; nothing is bold, an emoji or turned round."""
    assert wrong_payload(payload) == ""
    written = [text["text"] for block in all_blocks(payload) for text in texts_of(block) if text["type"] == "mrkdwn"]
    for text in [payload["text"], *written]:
        for markup in re.findall(r"<[^<>]*>", text):
            assert re.fullmatch(r"<https?://(127\.0\.0\.1|wiki\.test|k2alert\.test)[^|<>]*\|[^|<>]+>", markup), markup
        assert not UNSEEN.search(text)
        text = re.sub(r"<[^<>|]*\|", "<", text)  # an address is no text
        assert ":boom:" not in text
        assert not re.search(r"\*b\*|_i_|~s~|`c`", text)


def check_mail(mail: EmailMessage) -> None:
    """No header of others, no tag of others, no link but ours, nothing unseen."""
    assert mail.defects == []
    assert not {"Bcc", "Cc"} & set(mail)
    assert not UNSEEN.search(str(mail["Subject"]))
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    page, text = (part.get_content().replace("\r\n", "\n") for part in (html, plain))
    assert not UNSEEN.search(text)
    assert not UNSEEN.search(page)
    assert not re.search(r"<(script|a href=\"https://evil|img src=x)", page)
    for url in re.findall(r'(?:href|src)="([^"]*)"', page):
        assert re.match(r"https?://(127\.0\.0\.1|wiki\.test|k2alert\.test)|cid:|data:image/png", url), url


def check_annotations(alerts: list[dict[str, Any]]) -> None:
    """Labels are as they are, for they are identity; what is said is safe to look at."""
    for alert in alerts:
        for text in alert["annotations"].values():
            assert not UNSEEN.search(text)
            assert "75502963" not in text.replace(alert["labels"].get("branch", ""), "")


async def check_pages(running: Running) -> None:
    keys = [alert["k2alert"]["fingerprint"] for alert in await running.alerts()]  # type: ignore[index]
    assert len(keys) == len(NAMES)
    every = [*PAGES, *(f"/alerts/{key}" for key in keys), *(f"/silences/new?alert={key}" for key in keys)]
    for path in every:
        page = await running.text(path)
        tags = {tag.lower() for tag in re.findall(r"<(!?[a-zA-Z0-9]+)", page)}
        assert tags <= TAGS, (path, tags - TAGS)
        assert not UNSEEN.search(page), path
        assert not re.search(r"\son\w+=", re.sub(r'"[^"]*"|>[^<]*<', "><", page)), path
        for url in re.findall(r'(?:href|src|action)="([^"]*)"', page):
            assert not re.match(r"(https?:)?//(?!127\.0\.0\.1|wiki\.test)|javascript:", url), (path, url)


async def check_api(running: Running) -> None:
    """JSON, whatever is in it; and a page that a browser would take for one is none."""
    for path in (
        *("/api/v1/rules", "/api/v1/alerts", "/api/v1/explain?rule=branch_is_red", "/api/v1/notifications"),
        *("/api/v2/alerts", "/api/v2/alerts/groups", "/api/v2/silences"),
    ):
        async with running.session.get(f"http://127.0.0.1:{running.port}{path}") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json"), path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            json.loads(await answer.text())


def check_metrics(text: str) -> None:
    values = {
        value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert len(values & set(NAMES)) >= len(NAMES) - 3  # long ones are cut, NUL is none in a store


async def check_terminal(ears: Ears, folder: Path, arguments: list[str]) -> None:
    """What a person at a prompt sees moves no cursor and makes no link."""
    where = ["--url", f"http://127.0.0.1:{ears.running.port}"] if arguments[0] == "alerts" else []
    asked = [*arguments, *where, *(["--config", str(ears.config)] if not where else [])]
    if "--message" in asked:
        asked[asked.index("--message") + 1 : asked.index("--message") + 1] = [str(folder / "messages")]
    result = await asyncio.to_thread(CliRunner().invoke, main, asked)
    assert result.exit_code == 0, result.output
    assert not UNSEEN.search(result.output)


def check_logs(records: list[logging.LogRecord]) -> None:
    """One line a record in both formats, and nothing in it that a terminal would act on."""
    ours = [record for record in records if record.name.startswith("k2alert")]
    assert any("branch_is_red" in record.getMessage() for record in ours)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        for style in ("text", "json"):
            set_up_logging(style, "info", Secrets(), io.StringIO())  # type: ignore[arg-type]
            lines = [root.handlers[0].format(record) for record in ours if not record.exc_info]
            assert not [line for line in lines if UNSEEN.search(line) or "\n" in line]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
