"""A server on loopback that misbehaves on demand, as forges and what stands before them do."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from types import TracebackType
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fault = Handler
CLOSING = web.AppKey("closing", asyncio.Event)


class Seen(NamedTuple):
    """A request as it came in."""

    method: str
    raw_path: str
    headers: dict[str, str]
    body: str


class FaultyServer:
    """Answers with the next of its `faults` while there are any, then as `handler` does. `seen`: what came in."""

    def __init__(self, handler: Handler | None = None, *, ssl: SSLContext | None = None) -> None:
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.closing = asyncio.Event()
        self._handler = handler or answer({"fine": True})
        app = web.Application()
        app[CLOSING] = self.closing
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(app, scheme="https" if ssl else "http")
        self._ssl = ssl

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self._server.make_url("")).rstrip("/")

    async def __aenter__(self) -> "FaultyServer":
        await self._server.start_server(ssl=self._ssl)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        await self._server.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, headers, await request.text()))
        return await (self.faults.popleft() if self.faults else self._handler)(request)


def answer(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Fault:
    """JSON, as a forge answers."""
    return text(json.dumps(data), status=status, headers=headers, content_type="application/json")


def text(
    body: str, *, status: int = 200, headers: dict[str, str] | None = None, content_type: str = "text/plain"
) -> Fault:
    """Any text."""

    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=status, headers=headers, content_type=content_type)

    return fault


def html(status: int = 200) -> Fault:
    """What a login page or a proxy says."""
    return text("<!DOCTYPE html><html><body>Sign in</body></html>", status=status, content_type="text/html")


def truncated() -> Fault:
    """Whole as a message, cut as JSON."""
    return text('{"runs": [{"id": 1, "na', content_type="application/json")


def redirect(to: str, status: int = 302) -> Fault:
    """What was asked for is elsewhere."""
    return text("moved", status=status, headers={"Location": to})


def echo_token(status: int = 400) -> Fault:
    """An error message that repeats the token it was sent, and a URL with a query."""

    async def fault(request: web.Request) -> web.StreamResponse:
        said = f"bad: {request.headers.get('Authorization')}\nat https://h/a?private_token=query-secret"
        return web.json_response({"message": said}, status=status)

    return fault


async def broken_off(request: web.Request) -> web.StreamResponse:
    """Promises more than it sends, and hangs up."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"runs": [')
    _hang_up(request)
    return response


async def reset(request: web.Request) -> web.StreamResponse:
    """Hangs up without a word."""
    _hang_up(request)
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    """Says nothing at all, until the server closes."""
    await request.app[CLOSING].wait()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """A JSON list that never ends."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b"[0")
    while not request.app[CLOSING].is_set() and request.transport is not None:
        await response.write(b",0" * 8192)
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
