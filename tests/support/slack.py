"""A stand-in Slack on loopback: an incoming webhook and the Web API's chat.postMessage and chat.update.

It keeps Slack's limits and answers with Slack's errors; `script` queues answers to be given instead.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

TOKEN = "xoxb-1111-secret-token"
HOOK = "/services/T0001/B0001/secretsecretsecret"


@dataclass
class Post:
    """A message as a channel shows it now; `edits` are its earlier payloads."""

    channel: str
    ts: str
    body: dict[str, Any]
    thread_ts: str = ""
    edits: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Scripted:
    """An answer to give instead of the true one."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass
class Slack:
    """What the stand-in knows: its channels by name, and what was said."""

    url: str = ""
    channels: dict[str, str] = field(default_factory=lambda: {"#ci": "C0001", "#qa": "C0002", "#pay-ci": "C0003"})
    hooked: list[dict[str, Any]] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    script: list[Scripted] = field(default_factory=list)

    @property
    def hook_url(self) -> str:
        return self.url + HOOK

    @property
    def api_url(self) -> str:
        return self.url + "/api/"

    def top(self, channel: str = "C0001") -> list[Post]:
        return [post for post in self.posts if post.channel == channel and not post.thread_ts]

    def thread(self, channel: str = "C0001") -> list[str]:
        return [post.body["text"] for post in self.posts if post.channel == channel and post.thread_ts]

    async def hook(self, request: web.Request) -> web.Response:
        if self.script:
            return _scripted(self.script.pop(0))
        if request.path != HOOK:
            return web.Response(status=404, text="no_service")
        body = await request.json()
        wrong = wrong_payload(body)
        if wrong:
            return web.Response(status=400, text=wrong)
        self.hooked.append(body)
        return web.Response(text="ok")

    async def api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        body = await request.json()
        self.calls.append((method, body.get("channel", "")))
        if self.script:
            return _scripted(self.script.pop(0))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _refusal("invalid_auth")
        channel = self.channels.get(body.get("channel", ""), body.get("channel", ""))
        if channel not in self.channels.values():
            return _refusal("channel_not_found")
        wrong = wrong_payload(body)
        if wrong:
            return _refusal(wrong)
        return self._post(channel, body) if method == "chat.postMessage" else self._update(channel, body)

    def _post(self, channel: str, body: dict[str, Any]) -> web.Response:
        ts = f"17000000{len(self.posts):02d}.000100"
        self.posts.append(Post(channel, ts, body, body.get("thread_ts", "")))
        return web.json_response({"ok": True, "channel": channel, "ts": ts})

    def _update(self, channel: str, body: dict[str, Any]) -> web.Response:
        for post in self.posts:
            if (post.channel, post.ts) == (channel, body.get("ts")):
                post.edits.append(post.body)
                post.body = body
                return web.json_response({"ok": True, "channel": channel, "ts": post.ts})
        return _refusal("message_not_found")


def _refusal(word: str) -> web.Response:
    return web.json_response({"ok": False, "error": word})


def _scripted(answer: Scripted) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return web.Response(status=answer.status, body=answer.body.encode(), headers=headers)


def texts(body: dict[str, Any]) -> str:
    """All that a reader sees of a payload, line by line; a button as its link."""
    lines = [body["text"]]
    for block in all_blocks(body):
        lines += [text["text"] for text in texts_of(block)]
        if block["type"] == "actions":
            lines += [f"<{button['url']}|{button['text']['text']}>" for button in block["elements"]]
    return "\n".join(lines)


def all_blocks(body: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [block for attachment in body.get("attachments", ()) for block in attachment["blocks"]]
    return [*body.get("blocks", ()), *inner]


def texts_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The text objects of a block, buttons left out."""
    alone = [block["text"]] if "text" in block else []
    return [*alone, *block.get("fields", ()), *(one for one in block.get("elements", ()) if "url" not in one)]


# Characters of one text, by the block it stands in: docs.slack.dev/reference/block-kit/blocks
_LONGEST = {"header": 150, "section": 3000, "context": 3000, "actions": 75}


def wrong_payload(body: dict[str, Any]) -> str:
    """Slack's limits: 40,000 characters of text, 50 blocks, those of each block, about 13,000 in all."""
    if not body.get("text") and not body.get("attachments"):
        return "no_text"
    if len(body.get("text", "")) > 40_000:
        return "msg_too_long"
    if any(not 1 <= len(each["blocks"]) <= 50 for each in body.get("attachments", ())):
        return "invalid_blocks"
    blocks = all_blocks(body)
    if len(blocks) > 50 or any(map(_is_wrong_block, blocks)):
        return "invalid_blocks"
    total = sum(len(text["text"]) for block in blocks for text in texts_of(block))
    return "msg_blocks_too_long" if total > 13_000 else ""


def _is_wrong_block(block: dict[str, Any]) -> bool:
    if any(not 1 <= len(text["text"]) <= _LONGEST[block["type"]] for text in texts_of(block)):
        return True
    if "fields" in block:
        return not 1 <= len(block["fields"]) <= 10 or any(len(field["text"]) > 2000 for field in block["fields"])
    if block["type"] == "header":
        return bool(block["text"]["type"] != "plain_text")
    return block["type"] in ("context", "actions") and not 1 <= len(block["elements"]) <= 10


@asynccontextmanager
async def stand_in_slack(slack: Slack | None = None) -> AsyncIterator[Slack]:
    """A running stand-in, of a kind of its own where one is given."""
    slack = slack or Slack()
    app = web.Application()
    app.router.add_post("/services/{rest:.*}", slack.hook)
    app.router.add_post("/api/{method}", slack.api)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    slack.url = str(server.make_url("")).rstrip("/")
    try:
        yield slack
    finally:
        await server.close()
