"""A stand-in Slack: chat.postMessage and chat.update come in over HTTP, what its channels then show goes out.

https://docs.slack.dev/reference/methods/chat.postMessage and https://docs.slack.dev/reference/methods/chat.update
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

__all__ = ["SlackPost", "SlackStandin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackPost:
    """A message as its channel shows it now. `thread` is the `ts` of the message that it answers, or ""."""

    channel: str
    ts: str
    body: Mapping[str, Any]
    thread: str = ""
    edits: int = 0


@dataclass
class SlackStandin:
    """A Slack that has every channel. `hear` is told of every message that is posted or edited."""

    token: str = field(repr=False)
    hear: Callable[[SlackPost], None]
    posts: dict[str, SlackPost] = field(default_factory=dict)

    def app(self) -> web.Application:
        """The web application; the Web API is below /api/."""
        app = web.Application()
        app.router.add_post("/api/{method}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _refuse("invalid_auth")
        if request.match_info["method"] == "chat.postMessage":
            return self._show(self._make(body))
        if request.match_info["method"] != "chat.update":
            return _refuse("unknown_method")
        known = self.posts.get(body.get("ts", ""))
        if known is None:
            return _refuse("message_not_found")
        return self._show(replace(known, body=body, edits=known.edits + 1))

    def _make(self, body: Mapping[str, Any]) -> SlackPost:
        ts = f"{1_700_000_000 + len(self.posts)}.000100"
        return SlackPost(channel=body["channel"], ts=ts, body=body, thread=body.get("thread_ts", ""))

    def _show(self, post: SlackPost) -> web.Response:
        self.posts[post.ts] = post
        self.hear(post)
        return web.json_response({"ok": True, "channel": post.channel, "ts": post.ts})


def _refuse(error: str) -> web.Response:
    return web.json_response({"ok": False, "error": error})
