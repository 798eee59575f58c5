"""Receivers that hear every message as soon as it is taken, just before they answer: a place to kill who sent it.

A webhook, the Web API and a mail server, all real servers on loopback. Each lane (an alert group of its own) has a
channel and an address of its own, so that a message tells by where it went whom it was for.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.slack import TOKEN, Slack

INTEGRATIONS = ("webhook", "bot", "mail")
_STATE = re.compile(r"\*\[?(FIRING|Firing|RESOLVED|Resolved|CLOSED|Closed|Still firing)\b")


class Said(NamedTuple):
    """A message as it was taken: by whom, for which lane, what it says, and by which life of the daemon."""

    integration: str
    lane: str
    state: str
    life: int
    at: float


@dataclass
class Ears(Slack):
    """Everything that was said.

    `on_asked` is called with each message before it is taken: True, and it is not. `on_said` is called after it was
    taken, before that is answered.
    """

    said: list[Said] = field(default_factory=list)
    life: Callable[[], int] = lambda: 0
    on_asked: Callable[[], Awaitable[bool]] | None = None
    on_said: Callable[[Said], Awaitable[None]] | None = None
    smtp_port: int = 0

    def add_lane(self, lane: str) -> None:
        self.channels[f"#{lane}"] = f"C-{lane}"

    def of(self, lane: str, integration: str) -> list[Said]:
        """What one integration heard about one lane, in order."""
        return [said for said in self.said if (said.lane, said.integration) == (lane, integration)]

    async def hear(self, integration: str, lane: str, state: str) -> None:
        said = Said(integration, lane, state.lower(), self.life(), asyncio.get_running_loop().time())
        self.said.append(said)
        if self.on_said is not None:
            await self.on_said(said)

    async def refuses(self) -> bool:
        return self.on_asked is not None and await self.on_asked()

    async def hook(self, request: web.Request) -> web.Response:
        if await self.refuses():
            return web.Response(status=503)
        answer = await super().hook(request)
        body = self.hooked[-1]
        await self.hear("webhook", body["channel"].removeprefix("#"), _state(body["text"]))
        return answer

    async def api(self, request: web.Request) -> web.Response:
        if await self.refuses():
            return web.Response(status=503)
        answer = await super().api(request)
        body: dict[str, Any] = await request.json()
        if request.match_info["method"] == "chat.postMessage" and answer.status == 200:
            lane = body["channel"].removeprefix("C-").removeprefix("#")
            await self.hear("bot", lane, _state(body["text"]))
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if await self.refuses():
            return "451 Not now"
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        await self.hear("mail", envelope.rcpt_tos[0].partition("@")[0], str(mail["X-K2Alert-State"]))
        return "250 OK"


def _state(text: str) -> str:
    found = _STATE.match(text)
    return found[1] if found else text


@asynccontextmanager
async def listening_ears() -> AsyncIterator[Ears]:
    """Running receivers."""
    ears = Ears()
    app = web.Application()
    app.router.add_post("/services/{rest:.*}", ears.hook)
    app.router.add_post("/api/{method}", ears.api)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    ears.url = str(server.make_url("")).rstrip("/")
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(lambda: SMTP(ears, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    ears.smtp_port = mail.sockets[0].getsockname()[1]
    try:
        yield ears
    finally:
        mail.close()
        await mail.wait_closed()
        await server.close()


def receiver(ears: Ears, lane: str) -> str:
    """A receiver of the lane's name, told in all three ways, as it is written in the configuration."""
    return f"""
  - name: {lane}
    slack:
      - {{webhook_url: "{ears.hook_url}", channel: "#{lane}"}}
      - {{bot_token: {TOKEN}, api_url: "{ears.api_url}", channel: "#{lane}"}}
    email: {{smtp_server: "127.0.0.1:{ears.smtp_port}", tls: none, from_address: ci@k2.test,
             to_addresses: [{lane}@k2.test]}}"""
