"""The flaky tests on the status page: an address that narrows them down comes in, a table goes out.

Read from the store for each look, as `/api/v1/flaky` is, so this page does not refresh itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from k2alert.expose.access import VIEW
from k2alert.expose.pages import page, show, turner

__all__ = ["add_flaky_page"]

_OPTIONS = ("period", "clean", "limit")


def add_flaky_page(app: web.Application) -> None:
    """The page."""
    app.router.add_get("/flaky", page(_flaky))


async def _flaky(request: web.Request) -> web.Response:
    """The same parameters as of the API; one that means nothing is said to, and nothing is listed."""
    narrowed = [(name, value) for name, value in request.query.items() if name not in _OPTIONS]
    try:
        found, mistake = await _ask(request, narrowed), ""
    except ValueError as error:
        found, mistake = {}, str(error)
    return show(
        request,
        "flaky.html",
        tests=[_with_times(test) for test in found.get("tests", ())],
        total=found.get("total", 0),
        narrowed=narrowed,
        mistake=mistake,
        turn=turner(request),
    )


async def _ask(request: web.Request, labels: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    options = {name: request.query[name] for name in _OPTIONS if name in request.query}
    found = await request.app[VIEW].flaky(labels, options)
    if isinstance(found, str):
        raise web.HTTPServiceUnavailable(text=found)
    return found


def _with_times(test: Mapping[str, Any]) -> dict[str, Any]:
    return {**test, **{name: datetime.fromisoformat(test[name]) for name in ("firstSeen", "lastSeen")}}
