"""The stand-ins that listen: what clients of Slack and of a mail server say to them arrives whole."""

from email.message import EmailMessage
from typing import Any

import aiohttp
import aiosmtplib
import pytest

from k2alert.rehearse.loopback import serve_web
from k2alert.rehearse.mail_standin import serve_mail
from k2alert.rehearse.slack_standin import SlackPost, SlackStandin

TOKEN = "xoxb-demo"


def a_mail(text: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ci@example.com", "shop@example.com", "naïve – 1"
    mail.set_content(text)
    return mail


@pytest.mark.parametrize(
    "text",
    ["one line\n", ".\n..\n.begins with a dot\nend\n", "naïve “quotes”\n" * 200],
    ids=["short", "dots", "long and not ASCII"],
)
async def test_a_mail_arrives_as_it_was_sent(text: str) -> None:
    heard: list[EmailMessage] = []
    async with serve_mail(heard.append) as address:
        host, _, port = address.rpartition(":")
        errors, _ = await aiosmtplib.send(a_mail(text), hostname=host, port=int(port), start_tls=False)
    assert errors == {}
    assert [str(mail["Subject"]) for mail in heard] == ["naïve – 1"]
    body = heard[0].get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == text


async def test_two_mails_in_one_conversation_are_two_mails() -> None:
    heard: list[EmailMessage] = []
    async with serve_mail(heard.append) as address:
        host, _, port = address.rpartition(":")
        async with aiosmtplib.SMTP(hostname=host, port=int(port), start_tls=False) as client:
            await client.send_message(a_mail("first\n"))
            await client.noop()
            await client.send_message(a_mail("second\n"))
    assert len(heard) == 2


async def test_what_the_mail_server_does_not_know_it_says() -> None:
    async with serve_mail(lambda mail: None) as address:
        host, _, port = address.rpartition(":")
        async with aiosmtplib.SMTP(hostname=host, port=int(port), start_tls=False) as client:
            assert (await client.execute_command(b"TURN")).code == 502


async def call(url: str, method: str, body: dict[str, Any], token: str = TOKEN) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    target = f"{url}/api/{method}"
    async with aiohttp.ClientSession() as session, session.post(target, json=body, headers=headers) as answer:
        data: dict[str, Any] = await answer.json()
        return data


async def test_a_post_can_be_edited_and_answered() -> None:
    heard: list[SlackPost] = []
    slack = SlackStandin(TOKEN, heard.append)
    async with serve_web(slack.app()) as url:
        first = await call(url, "chat.postMessage", {"channel": "#ci", "text": "red"})
        await call(url, "chat.update", {"channel": "#ci", "ts": first["ts"], "text": "green"})
        await call(url, "chat.postMessage", {"channel": "#ci", "thread_ts": first["ts"], "text": "resolved"})
    assert [(post.body["text"], post.edits, post.thread) for post in heard] == [
        ("red", 0, ""),
        ("green", 1, ""),
        ("resolved", 0, first["ts"]),
    ]
    assert [post.body["text"] for post in slack.posts.values()] == ["green", "resolved"]


@pytest.mark.parametrize(
    ("method", "body", "token", "error"),
    [
        ("chat.postMessage", {"channel": "#ci", "text": "x"}, "xoxb-other", "invalid_auth"),
        ("chat.update", {"channel": "#ci", "ts": "1.2", "text": "x"}, TOKEN, "message_not_found"),
        ("chat.delete", {"channel": "#ci", "ts": "1.2"}, TOKEN, "unknown_method"),
    ],
)
async def test_slack_refuses_in_its_own_words(method: str, body: dict[str, Any], token: str, error: str) -> None:
    async with serve_web(SlackStandin(TOKEN, lambda post: None).app()) as url:
        assert await call(url, method, body, token) == {"ok": False, "error": error}
