"""Receivers that hear every message as soon as it is taken, just before they answer: a place to kill who sent it.

An incoming webhook and the Web API of Slack, a mail server and a webhook for JSON, all real servers on loopback. Each
lane (an alert group of its own) has a channel, an address and a path of its own, so that a message tells by where it
went whom it was for. Every message meets a mood (moods.py), and is noted whether it was taken or not.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.moods import Mood, Moods
from tests.support.slack import TOKEN, Slack, texts

INTEGRATIONS = {"hook": "slack[0]", "bot": "slack[1]", "mail": "email[0]", "json": "webhook[0]"}
"""The ways in which a lane is told, and what the notification log calls each."""

SINCE = "red since "
"""Comes before the time at which an alert began to fire, in the rules' messages: by it an incident is known."""

_STATE = re.compile(r"\*\[?(FIRING:\d+|RESOLVED|CLOSED)\b")
_BEGAN = re.compile(rf"{SINCE}([0-9T:.-]+)Z")


class Said(NamedTuple):
    """A message as it came: by which integration, for which lane, what it says, in which mood it was met.

    `incident` is when the first alert in it began to fire. `state` is firing, worse (two alerts fire), resolved or
    closed, or edit: one that only changes what was there. `root`: it stands for itself, and in no thread. `life` is
    the daemon's; `at` is on the loop's clock.
    """

    integration: str
    lane: str
    incident: str
    state: str
    root: bool
    life: int
    at: float
    mood: Mood


@dataclass
class Ears(Slack):
    """Everything that was said, and what was only tried.

    `on_asked` is called with each message before it is taken: True, and it is not. `on_said` is called after it was
    taken, before that is answered. `true_time` takes a lane and when an alert is said to have begun, and says when it
    did: who sends may have a clock that is wrong.
    """

    heard: list[Said] = field(default_factory=list)
    mails: list[tuple[Said, EmailMessage]] = field(default_factory=list)
    moods: Moods = field(default_factory=Moods)
    life: Callable[[], int] = lambda: 0
    on_asked: Callable[[], Awaitable[bool]] | None = None
    on_said: Callable[[Said], Awaitable[None]] | None = None
    true_time: Callable[[str, str], str] = lambda _, began: began
    smtp_port: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _incidents: dict[str, str] = field(default_factory=dict)  # of the bot's messages, by ts

    @property
    def said(self) -> list[Said]:
        """What was taken, edits left out, in order."""
        return [said for said in self.heard if said.mood.takes and said.state != "edit"]

    def add_lane(self, lane: str) -> None:
        self.channels[f"#{lane}"] = f"C-{lane}"

    def of(self, lane: str, integration: str) -> list[Said]:
        """What one integration took about one lane, in order."""
        return [said for said in self.said if (said.lane, said.integration) == (lane, integration)]

    async def meet(self, integration: str, lane: str, incident: str, state: str, *, root: bool = True) -> Said:
        """A message comes: notes it with the mood that it meets."""
        killed = self.on_asked is not None and await self.on_asked()
        mood = Mood.SILENT_BEFORE if killed else self.moods.draw(integration, lane)
        now = asyncio.get_running_loop().time()
        said = Said(integration, lane, incident, state, root, self.life(), now, mood)
        self.heard.append(said)
        return said

    async def taken(self, said: Said) -> None:
        """It is taken, and not answered yet."""
        if self.on_said is not None and said.state != "edit":
            await self.on_said(said)

    async def answer(self, request: web.Request, mood: Mood, good: web.Response) -> web.Response:
        """What the mood says; `good` where nothing is wrong."""
        if mood is Mood.GOOD:
            return good
        if mood in (Mood.BUSY, Mood.BROKEN, Mood.LYING):
            status = {Mood.BUSY: 429, Mood.BROKEN: 503, Mood.LYING: 502}[mood]
            return web.Response(status=status, headers={"Retry-After": "1"})
        if mood in (Mood.SILENT_BEFORE, Mood.SILENT_AFTER):
            await self.released.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def shown(self, lane: str) -> dict[str, str]:
        """What the bot's channel shows of each incident: the state of its last message that is in no thread."""
        return {self._incidents[post.ts]: _state(post.body["text"]) for post in self.top(f"C-{lane}")}

    def _began(self, lane: str, text: str) -> str:
        """When the first alert in a text began to fire; marks that keep Slack from seeing emoji are left out."""
        return min((self.true_time(lane, began) for began in _BEGAN.findall(text.replace("\u2060", ""))), default="")

    # ------------------------------------------------------------------------------- Slack

    async def hook(self, request: web.Request) -> web.Response:
        body = await request.json()
        lane = body["channel"].removeprefix("#")
        said = await self.meet("hook", lane, self._began(lane, texts(body)), _state(body["text"]))
        good = await super().hook(request) if said.mood.takes else web.Response()
        if said.mood.takes and good.status == 200:
            await self.taken(said)
        return await self.answer(request, said.mood, good)

    async def api(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        posted = request.match_info["method"] == "chat.postMessage"
        lane = body["channel"].removeprefix("C-").removeprefix("#")
        ts = body.get("thread_ts") or body.get("ts") or ""
        incident = self._incidents.get(ts) or self._began(lane, texts(body))
        state = (_reply(body["text"]) if ts else _state(body["text"])) if posted else "edit"
        said = await self.meet("bot", lane, incident, state, root=not ts)
        if not said.mood.takes:
            return await self.answer(request, said.mood, web.Response())
        good = await super().api(request)
        if posted and not ts:
            self._incidents[self.posts[-1].ts] = incident
        await self.taken(said)
        return await self.answer(request, said.mood, good)

    # ------------------------------------------------------------------------------- mail and JSON

    async def posted(self, request: web.Request) -> web.Response:
        """An Alertmanager's webhook."""
        body = await request.json()
        firing = sum(one["status"] == "firing" for one in body["alerts"])
        state = _states(firing) if firing else body["status"]
        lane, words = request.match_info["lane"], (one["annotations"].get("message", "") for one in body["alerts"])
        said = await self.meet("json", lane, self._began(lane, " ".join(words)), state)
        if said.mood.takes:
            await self.taken(said)
        return await self.answer(request, said.mood, web.Response())

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        part = mail.get_body(("plain",))
        text = part.get_content() if part is not None else ""
        state = str(mail["X-K2Alert-State"])
        state = _states(str(mail["Subject"]).count("FIRING:2") + 1) if state == "firing" else state
        lane = envelope.rcpt_tos[0].partition("@")[0]
        said = await self.meet("mail", lane, self._began(lane, text), state)
        if said.mood.takes:
            self.mails.append((said, mail))
            await self.taken(said)
        return await self._answer_mail(server, said.mood)

    async def _answer_mail(self, server: SMTP, mood: Mood) -> str:
        if mood in (Mood.GOOD, Mood.BUSY, Mood.BROKEN):
            return {Mood.GOOD: "250 OK", Mood.BUSY: "421 Come again", Mood.BROKEN: "451 Not now"}[mood]
        if mood in (Mood.SILENT_BEFORE, Mood.SILENT_AFTER):
            await self.released.wait()
        server.transport.abort()
        return "451 Nobody hears this"


def _state(text: str) -> str:
    """What a whole message says of its incident."""
    found = _STATE.match(text)
    state = found[1].lower() if found else text
    return _states(int(state.removeprefix("firing:"))) if state.startswith("firing:") else state


def _states(firing: int) -> str:
    return "firing" if firing == 1 else "worse"


def _reply(text: str) -> str:
    """What is said in a thread: another alert fires, or all is over."""
    if text.startswith("*Firing:*"):
        return "worse"
    return "resolved" if text.startswith("*Resolved:*") else text


@asynccontextmanager
async def listening_ears() -> AsyncIterator[Ears]:
    """Running receivers."""
    ears = Ears()
    app = web.Application()
    app.router.add_post("/services/{rest:.*}", ears.hook)
    app.router.add_post("/api/{method}", ears.api)
    app.router.add_post("/json/{lane}", ears.posted)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    ears.url = str(server.make_url("")).rstrip("/")
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(lambda: SMTP(ears, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    ears.smtp_port = mail.sockets[0].getsockname()[1]
    try:
        yield ears
    finally:
        ears.released.set()
        mail.close()
        await mail.wait_closed()
        await server.close()


def receiver(ears: Ears, lane: str) -> str:
    """A receiver of the lane's name, told in all ways, as it is written in the configuration."""
    return f"""
  - name: {lane}
    slack:
      - {{webhook_url: "{ears.hook_url}", channel: "#{lane}"}}
      - {{bot_token: {TOKEN}, api_url: "{ears.api_url}", channel: "#{lane}"}}
    email: {{smtp_server: "127.0.0.1:{ears.smtp_port}", tls: none, from_address: ci@k2.test,
             to_addresses: [{lane}@k2.test]}}
    webhook: {{url: "{ears.url}/json/{lane}"}}"""
