"""A server on loopback that takes whatever JSON is posted to it; `script` queues statuses to answer with instead."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

PASSWORD = "hook-secret-password"


@dataclass
class Taken:
    """What was posted: path with query, headers, body."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Posts:
    """The server. An answer of the script is a status, with headers."""

    url: str = ""
    taken: list[Taken] = field(default_factory=list)
    script: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def secret_url(self) -> str:
        """The same with a password, and a token in its query."""
        return self.url.replace("://", f"://k2:{PASSWORD}@") + f"/hook?token={PASSWORD}"

    async def take(self, request: web.Request) -> web.Response:
        if self.script:
            status, headers = self.script.pop(0)
            return web.Response(status=status, headers=headers, text=f"no, {PASSWORD}")
        self.taken.append(Taken(request.path_qs, dict(request.headers), await request.json()))
        return web.Response()


@asynccontextmanager
async def taking_posts() -> AsyncIterator[Posts]:
    """A running server."""
    posts = Posts()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{rest:.*}", posts.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    posts.url = str(server.make_url("")).rstrip("/")
    try:
        yield posts
    finally:
        await server.close()
