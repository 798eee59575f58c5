"""`POST /webhooks/…`: a forge's request comes in, whole and bounded, and goes to whoever takes webhooks.

Who takes them says what to answer. A forge that is answered with an error often enough sends nothing any more, so only
what no forge sends gets one.
"""

import asyncio
from datetime import timedelta

from aiohttp import web

__all__ = ["MOST_BYTES", "read_hook"]

MOST_BYTES = 25 * 1024 * 1024
"""The largest webhook of either forge
(https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap)."""

_WITHIN = timedelta(seconds=10)  # both forges give up after as long


async def read_hook(request: web.Request) -> bytes:
    """The raw body. Raises 413 where it is too large, 408 where it takes too long."""
    if (request.content_length or 0) > MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=MOST_BYTES, actual_size=request.content_length or 0)
    try:
        async with asyncio.timeout(_WITHIN.total_seconds()):
            return await _read(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from None


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise web.HTTPRequestEntityTooLarge(max_size=MOST_BYTES, actual_size=len(body))
    return bytes(body)
