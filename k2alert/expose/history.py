"""`GET /api/v1/history`: what is recorded, as lines of JSON (NDJSON), streamed as they are read from the store.

The format is that of `k2alert.history`. It needs the read token where one is set: commit titles and branch names are
in it.
"""

from datetime import datetime

from aiohttp import web

from k2alert.expose.view import ReadHistory, Unavailable
from k2alert.times import parse_instant

__all__ = ["send_history"]


async def send_history(request: web.Request, read: ReadHistory) -> web.StreamResponse:
    """Streams it; whoever reads slowly holds up nobody else. 400 for a `since` that is no time."""
    chunks = read(_since(request), request.query.get("project", ""))
    first = await anext(chunks)  # what fails from the start is answered as an error
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    await response.write(first)
    try:
        async for chunk in chunks:
            await response.write(chunk)
    except Unavailable:  # the line that ends a history is missing, and so whoever reads it knows
        if request.transport is not None:
            request.transport.close()
        return response
    await response.write_eof()
    return response


def _since(request: web.Request) -> datetime | None:
    text = request.query.get("since")
    try:
        return None if text is None else parse_instant(text)
    except (ValueError, OverflowError):
        raise web.HTTPBadRequest(text=f"since: not a time: {text!r} (write it as 2026-01-31T08:00:00Z)") from None
