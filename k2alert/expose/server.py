"""The HTTP server: requests come in, what the `View` knows goes out. No request waits for a forge."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from k2alert.expose.access import LOOPBACK, SIGNER, VIEW, Signer, check_reader, check_writer
from k2alert.expose.api import alerts_json, rules_json
from k2alert.expose.api_v2 import add_api_v2
from k2alert.expose.flaky_page import add_flaky_page
from k2alert.expose.history import send_history
from k2alert.expose.notifications import notifications_json, read_query
from k2alert.expose.packing import Packed, gzipped
from k2alert.expose.pages import add_pages, error_page, is_for_people
from k2alert.expose.sent_page import add_sent_page
from k2alert.expose.sign_in import add_sign_in
from k2alert.expose.silence_pages import add_silence_pages
from k2alert.expose.view import Snapshot, Unavailable, View
from k2alert.expose.webhooks import read_hook
from k2alert.times import parse_asked

__all__ = ["ListenError", "make_app", "parse_listen", "start"]

_LOG = logging.getLogger(__name__)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is of us, and not of a request that no server could read: that is answered with 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_PROTOCOL = logging.getLogger(f"{__name__}.protocol")
_PROTOCOL.addFilter(_is_ours)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_GZIP_FROM = 10_000  # below, packing costs more than it saves
_OPENMETRICS_END = b"# EOF\n"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, a browser would not say where our own forms come from
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}
_ERROR_TYPES = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    503: "unavailable",
}


class ListenError(Exception):
    """The server cannot listen where it was told to."""


def parse_listen(listen: str) -> tuple[str, int]:
    """`host:port` (`[::1]:9725`, `:9725` for all addresses) as host and port. Raises `ListenError`."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"not an address to listen on: {listen!r} (write it as host:port)")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - the operator wrote ":port"


def make_app(view: View, *, loopback: bool) -> web.Application:
    """The application; `loopback` says that it will listen for this machine only."""
    app = web.Application(middlewares=[_answer])
    app[VIEW] = view
    app[LOOPBACK] = loopback
    app[SIGNER] = Signer()
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/-/healthy", _healthy)
    app.router.add_get("/-/ready", _ready)
    app.router.add_post("/-/reload", _reload)
    app.router.add_put("/-/reload", _reload)
    app.router.add_post("/webhooks/{kind}", _webhook)
    app.router.add_post("/webhooks/{kind}/{name}", _webhook)
    app.router.add_get("/api/v1/rules", _rules)
    app.router.add_get("/api/v1/alerts", _alerts)
    app.router.add_get("/api/v1/explain", _explain)
    app.router.add_get("/api/v1/history", _history)
    app.router.add_get("/api/v1/flaky", _flaky)
    app.router.add_get("/api/v1/notifications", _notifications)
    add_api_v2(app, view, reader=check_reader, writer=check_writer)
    add_pages(app)
    add_flaky_page(app)
    add_sent_page(app)
    add_silence_pages(app)
    add_sign_in(app)
    return app


async def start(app: web.Application, listen: str) -> tuple[web.AppRunner, int]:
    """Listens, and says on which port (the one asked for, or a free one for 0). Raises `ListenError`."""
    host, port = parse_listen(listen)
    runner = web.AppRunner(app, access_log=None, logger=_PROTOCOL, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ListenError(f"cannot listen on {listen}: {error.strerror or error}") from None
    return runner, runner.addresses[0][1]


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in Prometheus's shape, never a traceback; the same headers on everything."""
    try:
        response = await handler(request)
    except web.HTTPException as refused:
        headers = {name: value for name, value in refused.headers.items() if name in ("Allow", "WWW-Authenticate")}
        response = _refusal(request, refused.status, refused.text or refused.reason, headers)
    except Unavailable as error:
        response = _refusal(request, 503, str(error), {})
    except Exception:
        _LOG.exception("a request failed", extra={"path": request.path})
        response = _refusal(request, 500, "internal error, see the log", {})
    response.headers.update(_HEADERS)
    return response


def _refusal(request: web.Request, status: int, text: str, headers: dict[str, str]) -> web.Response:
    if not is_for_people(request):
        return _error(status, text, headers)
    response = error_page(request, status, text)
    response.headers.update(headers)
    return response


def _error(status: int, text: str, headers: dict[str, str]) -> web.Response:
    body = {"status": "error", "errorType": _ERROR_TYPES.get(status, "internal"), "error": text}
    return web.json_response(body, status=status, headers=headers)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="k2alert is healthy.\n")


async def _ready(request: web.Request) -> web.Response:
    why_not = await request.app[VIEW].ready()
    if why_not is not None:
        return web.Response(status=503, text=f"k2alert is not ready: {why_not}\n")
    return web.Response(text="k2alert is ready.\n")


async def _metrics(request: web.Request) -> web.Response:
    """Our own metrics as they are now, and the series of the last round, rendered and packed already."""
    view = request.app[VIEW]
    own, content_type = view.self_metrics(request.headers.get("Accept", ""))
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    openmetrics = "openmetrics" in content_type
    end = _OPENMETRICS_END if openmetrics else b""
    own = own.removesuffix(end)
    series = _series(view.snapshot(), openmetrics)
    size = len(own) + sum(len(piece.plain) for piece in series)
    if size >= _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=gzipped(own, series, end), headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=b"".join((own, *(piece.plain for piece in series), end)), headers=headers)


def _series(snapshot: Snapshot | None, openmetrics: bool) -> Sequence[Packed]:
    if snapshot is None:
        return ()
    return snapshot.alert_series, snapshot.series_openmetrics if openmetrics else snapshot.series


async def _rules(request: web.Request) -> web.Response:
    check_reader(request)
    if request.query.get("type", "alert") not in ("alert", "record"):
        raise web.HTTPBadRequest(text=f"not a rule type: {request.query['type']!r}")
    view = request.app[VIEW]
    snapshot = view.snapshot()
    if snapshot is None or request.query.get("type") == "record":
        return _success({"groups": []})
    found = await asyncio.to_thread(  # thousands of alerts: others go on meanwhile
        rules_json,
        snapshot,
        names=request.query.getall("rule_name[]", []),
        files=request.query.getall("file[]", []),
        alerts=request.query.get("exclude_alerts", "false") not in ("true", "1"),
        hushes=view.quiet.hushes(),
    )
    return _success(found)


async def _alerts(request: web.Request) -> web.Response:
    check_reader(request)
    view = request.app[VIEW]
    snapshot = view.snapshot()
    if snapshot is None:
        return _success({"alerts": []})
    return _success(await asyncio.to_thread(alerts_json, snapshot, view.quiet.hushes()))


async def _explain(request: web.Request) -> web.Response:
    """`rule` and `at` by name; any other parameter is a label, and so is what `label=NAME=VALUE` says."""
    check_reader(request)
    rule = request.query.get("rule", "")
    if not rule:
        raise web.HTTPBadRequest(text="which rule? Write /api/v1/explain?rule=NAME")
    labels = [(name, value) for name, value in request.query.items() if name not in ("rule", "at", "label")]
    for text in request.query.getall("label", []):
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise web.HTTPBadRequest(text=f"not NAME=VALUE: label {text!r}")
        labels.append((name, value))
    status, found = await request.app[VIEW].explain(rule, labels, _instant(request.query.get("at")))
    return _success(found) if isinstance(found, dict) else _error(status, found, {})


async def _history(request: web.Request) -> web.StreamResponse:
    check_reader(request)
    return await send_history(request, request.app[VIEW].history)


async def _notifications(request: web.Request) -> web.Response:
    check_reader(request)
    try:
        query = read_query(request.query)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None
    found = await request.app[VIEW].notifications(query)
    return _error(503, found, {}) if isinstance(found, str) else _success(notifications_json(found, query))


async def _flaky(request: web.Request) -> web.Response:
    """Options by name; any other parameter is a label."""
    check_reader(request)
    options = {name: value for name, value in request.query.items() if name in ("period", "clean", "limit", "suspects")}
    labels = [(name, value) for name, value in request.query.items() if name not in options]
    try:
        found = await request.app[VIEW].flaky(labels, options)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None
    return _error(503, found, {}) if isinstance(found, str) else _success(found)


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_asked(text) if text is not None else None
    except ValueError:
        raise web.HTTPBadRequest(text=f"not a time like 2026-01-31T08:00:00Z: at {text!r}") from None


async def _reload(request: web.Request) -> web.Response:
    check_writer(request)
    errors = await request.app[VIEW].reload()
    if errors:
        return web.Response(status=500, text="".join(f"{error}\n" for error in errors))
    return web.Response(text="")


async def _webhook(request: web.Request) -> web.Response:
    headers = {name.lower(): value for name, value in request.headers.items()}
    kind, name = request.match_info["kind"], request.match_info.get("name", "")
    status, why = await request.app[VIEW].webhook(kind, name, headers, await read_hook(request))
    return web.Response(status=status) if status == 200 else _error(status, why, {})


def _success(data: dict[str, Any]) -> web.Response:
    return web.json_response({"status": "success", "data": data}, dumps=_dumps)


def _dumps(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
