"""Servers of rehearsals: on this machine only, on whatever port is free."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

__all__ = ["LOOPBACK", "serve_web"]

LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def serve_web(app: web.Application) -> AsyncIterator[str]:
    """The application's URL, while it is served."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
