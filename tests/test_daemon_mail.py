"""From a red pipeline to a mail in the box: whole daemons, a real SMTP server with STARTTLS and a login.

The configuration is the short form of the document that the product comes from, and in the end that very document.
"""

import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from k2alert.cli.check import command as check
from tests.conftest import SHARED
from tests.support.daemon import PROJECT, World, a_world, daemon, until, until_judged
from tests.support.mortal import Mortal
from tests.support.slack import Slack, stand_in_slack
from tests.support.smtp import PASSWORD, USER, MailServer, mail_server

TO = ["devops@k2-platform.com", "qa@k2-platform.com"]

CONFIG = """
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: secret-token-1, projects: [{project}],
     poll_interval: 100ms, backfill: 2d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
alert_rules:
  - name: "pipeline_success_rate_low"
    condition: "success_rate < 0.95"
    period: "1h"
    severity: "warning"
    message: "Pipeline success rate is {{{{ success_rate | percent }}}} in the last hour"
notifications:
  slack:
    webhook_url: "$SLACK_WEBHOOK_URL"
    channel: "#ci-cd-alerts"
  email:
    smtp_server: "$SMTP_SERVER"
    smtp_user: {user}
    smtp_password: $SMTP_PASSWORD
    ca_file: {mail.ca_file}
    from_address: "ci-cd@k2-platform.com"
    to_addresses: ["devops@k2-platform.com", "qa@k2-platform.com"]
route: {{receiver: default, group_wait: 0s, group_interval: 1s}}
"""


def write_config(folder: Path, world: World, mail: MailServer) -> Path:
    config = folder / "k2alert.yml"
    config.write_text(CONFIG.format(world=world, project=PROJECT, folder=folder, user=USER, mail=mail))
    return config


def environ(slack: Slack, mail: MailServer) -> dict[str, str]:
    return {
        "SLACK_WEBHOOK_URL": slack.hook_url,
        "SMTP_SERVER": f"localhost:{mail.port}",
        "SMTP_PASSWORD": PASSWORD,
    }


def read_strictly(raw: bytes) -> EmailMessage:
    """The mail as a strict reader sees it: a defect anywhere in it is an error."""
    mail = message_from_bytes(raw, policy=policy.strict)
    assert isinstance(mail, EmailMessage)
    for part in mail.walk():
        assert part.defects == []
        assert [header for header in part.values() if getattr(header, "defects", ())] == []
        if part.get_content_maintype() == "image":
            assert part["Content-Transfer-Encoding"] == "base64"
        elif not part.is_multipart():
            assert part["Content-Transfer-Encoding"] == "quoted-printable"
            assert part.get_content_charset() == "utf-8"
            part.get_content()
    return mail


async def test_an_incident_is_a_thread_of_two_flawless_mails_and_two_slack_messages(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack, mail_server(tmp_path) as server:
        world.run()
        config = write_config(tmp_path, world, server)
        async with daemon(config, world.clock, environ(slack, server)) as running:
            await until_judged(running)
            world.clock.move(minutes=10)
            world.run("failed")
            await until(lambda: server.raw and slack.hooked, "the first mail and message")
            world.clock.move(hours=2)
            world.run()
            await until(lambda: len(server.raw) == len(slack.hooked) == 2, "the end")

    assert server.encrypted == [True, True]
    assert server.logins == [USER, USER]
    assert [sorted(envelope.rcpt_tos) for envelope in server.envelopes] == [TO, TO]
    first, last = mails = [read_strictly(raw) for raw in server.raw]
    assert [mail["Subject"] for mail in mails] == [
        f"[FIRING:1] pipeline_success_rate_low {PROJECT}",
        f"[RESOLVED] pipeline_success_rate_low {PROJECT}",
    ]
    assert_headers(first, last)
    text, page = (part.get_content() for part in first.iter_parts())
    assert "Pipeline success rate is 50% in the last hour" in text
    assert f"{world.url}/{PROJECT}/-/pipelines/1002" in text
    assert f'href="{world.url}/{PROJECT}/-/pipelines/1002"' in page
    assert [body["text"].partition(" ")[0] for body in slack.hooked] == ["*[FIRING:1]*", "*[RESOLVED]*"]


def assert_headers(first: EmailMessage, last: EmailMessage) -> None:
    """What programs that sort and thread mail go by."""
    for mail in (first, last):
        assert mail.get_content_type() == "multipart/alternative"
        text, page = mail.iter_parts()
        assert text.get_content_type() == "text/plain"
        assert page.get_content_type() in ("text/html", "multipart/related")  # where there is something to draw
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["List-Id"] == "<default.k2alert.k2-platform.com>"
        assert mail["From"] == "ci-cd@k2-platform.com"
        assert mail["To"] == ", ".join(TO)
        assert mail["X-K2Alert-Rule"] == "pipeline_success_rate_low"
        assert mail["In-Reply-To"] == mail["References"] == first["References"]
        assert "Bcc" not in mail
    assert first["Message-ID"] != last["Message-ID"]
    assert first["X-K2Alert-Fingerprint"] == last["X-K2Alert-Fingerprint"]
    assert [mail["X-K2Alert-State"] for mail in (first, last)] == ["firing", "resolved"]
    assert parsedate_to_datetime(last["Date"]) > parsedate_to_datetime(first["Date"])


# ------------------------------------------------------------------------------------------- the seed

_ENVIRON = {"SLACK_WEBHOOK_URL": "http://127.0.0.1:9/services/x", "SMTP_SERVER": "127.0.0.1:9"}


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """The document's alert file, byte for byte."""
    document = SHARED / "design" / "seed.md"
    if not document.is_file():
        pytest.skip("the shared data is not here")
    content = document.read_bytes()
    start = content.index(b"# .gitlab-ci-alerts.yml")
    file = tmp_path / ".gitlab-ci-alerts.yml"
    file.write_bytes(content[start : content.index(b"```", start)])
    return file


def test_check_finds_no_error_in_the_seeds_file(seed: Path) -> None:
    said = CliRunner().invoke(check, [str(seed)], env=_ENVIRON)
    assert said.exit_code == 0
    assert said.output.splitlines()[-1].startswith("1 file, 4 rules, 0 errors")


async def test_the_daemon_runs_the_seeds_file_and_says_that_there_is_nothing_to_read(seed: Path) -> None:
    running = Mortal(seed, _ENVIRON)
    await running.start()
    try:
        url = f"http://127.0.0.1:{await running.ready()}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/-/ready") as answer:
                assert answer.status == 200
            rules = await rules_of(session, url)
    finally:
        ended = await running.stop()
    assert ended == 0
    assert rules == [
        "pipeline_success_rate_low",
        "pipeline_duration_high",
        "test_flakiness_high",
        "coverage_drop_significant",
    ]
    warnings = [line["msg"] for line in running.lines() if line["level"] == "warning"]
    assert any(line.endswith("there are no sources: nothing is read") for line in warnings)
    assert [line for line in running.lines() if line["level"] == "error"] == []


async def rules_of(session: aiohttp.ClientSession, url: str) -> list[str]:
    """The rules that the API lists, once the first round is over."""
    while True:
        async with session.get(f"{url}/api/v1/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
        if groups:
            return [rule["name"] for group in groups for rule in group["rules"]]
        await asyncio.sleep(0.05)
