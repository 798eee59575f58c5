"""Alertmanager's API v2 over HTTP: amtool, karma and whatever else speaks it read alerts and make silences here.

Requests come in, what the `View` knows goes out. An error is a sentence as a JSON string, as Alertmanager answers.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from k2alert import __version__
from k2alert.expose.alertmanager import (
    Filters,
    alert_json,
    draft_of,
    group_json,
    listed_silences,
    silence_json,
    silence_matches,
)
from k2alert.expose.alertmanager_document import document
from k2alert.expose.view import Snapshot, View
from k2alert.labels import make_matcher, parse_matcher
from k2alert.model import AlertGroup, Hush, Refusal
from k2alert.times import iso

__all__ = ["add_api_v2"]

Check = Callable[[web.Request], None]
Handler = Callable[[web.Request], Awaitable[web.Response]]
_Show = Callable[[Sequence[AlertGroup], Mapping[str, Hush], Snapshot, Filters, str], list[dict[str, Any]]]

_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def add_api_v2(app: web.Application, view: View, *, reader: Check, writer: Check) -> None:
    """Adds the paths; `reader` and `writer` raise where somebody may not read or write."""
    api = _Api(view)
    paths: list[tuple[str, str, Check, Handler]] = [
        ("GET", "status", reader, api.status),
        ("GET", "receivers", reader, api.receivers),
        ("GET", "alerts", reader, api.alerts),
        ("POST", "alerts", writer, api.refuse_alerts),
        ("GET", "alerts/groups", reader, api.groups),
        ("GET", "silences", reader, api.silences),
        ("POST", "silences", writer, api.save),
        ("GET", "silence/{id}", reader, api.silence),
        ("DELETE", "silence/{id}", writer, api.expire),
        ("GET", "openapi.json", reader, api.document),
    ]
    for method, path, check, handler in paths:
        app.router.add_route(method, f"/api/v2/{path}", _answering(check, handler))


def _answering(check: Check, handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        check(request)
        try:
            return await handler(request)
        except ValueError as wrong:
            return _json(str(wrong), 400)

    return answer


class _Api:
    """What each path answers."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._quiet = view.quiet

    async def status(self, _: web.Request) -> web.Response:
        version = dict.fromkeys(("revision", "branch", "buildUser", "buildDate", "goVersion"), "")
        return _json(
            {
                "cluster": {"status": "disabled", "peers": []},
                "versionInfo": {"version": __version__, **version},
                "config": {"original": "# k2alert shows its configuration to nobody: it may hold secrets\n"},
                "uptime": iso(self._quiet.started_at),
            }
        )

    async def receivers(self, request: web.Request) -> web.Response:
        wanted = [parse_matcher(text) for text in request.query.getall("receiver_matchers", [])]
        found = [name for name in self._quiet.receivers() if all(one.matches_value("") for one in wanted)]
        return _json([{"name": name} for name in found])

    async def alerts(self, request: web.Request) -> web.Response:
        return _json(await self._of_all(_alerts, _filters(request)))

    async def groups(self, request: web.Request) -> web.Response:
        return _json(await self._of_all(_groups, _filters(request)))

    async def _of_all(self, show: _Show, filters: Filters) -> list[dict[str, Any]]:
        """What is shown of all alert groups, as they are now; made beside the loop, for there may be thousands."""
        snapshot = self._view.snapshot()
        if snapshot is None:
            return []
        groups, hushes = self._quiet.groups(), self._quiet.hushes()
        return await asyncio.to_thread(show, groups, hushes, snapshot, filters, self._quiet.external_url())

    async def refuse_alerts(self, _: web.Request) -> web.Response:
        return _json("k2alert makes its own alerts, from rules: it takes none from others", 400)

    async def silences(self, request: web.Request) -> web.Response:
        now, wanted = self._quiet.now(), [parse_matcher(text) for text in request.query.getall("filter", [])]
        states = {state for state in ("active", "pending", "expired") if _flag(request, state)}
        found = [one for one in self._quiet.silences() if one.state(now).value in states]
        listed = listed_silences((one for one in found if silence_matches(one, wanted)), now)
        return _json([silence_json(one, now) for one in listed])

    async def silence(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        found = next((one for one in self._quiet.silences() if one.id == id), None)
        if found is None:
            return _json(f"silence {id} not found", 404)
        return _json(silence_json(found, self._quiet.now()))

    async def save(self, request: web.Request) -> web.Response:
        saved = await self._quiet.save(draft_of(await _body(request)))
        return _json(saved.text, saved.status) if isinstance(saved, Refusal) else _json({"silenceID": saved.id})

    async def expire(self, request: web.Request) -> web.Response:
        over = await self._quiet.expire(request.match_info["id"])
        return _json(over.text, over.status) if isinstance(over, Refusal) else web.Response()

    async def document(self, _: web.Request) -> web.Response:
        return _json(document(__version__))


def _alerts(
    groups: Sequence[AlertGroup], hushes: Mapping[str, Hush], snapshot: Snapshot, filters: Filters, url: str
) -> list[dict[str, Any]]:
    """Each alert once, with everyone who hears of it."""
    heard: dict[str, list[str]] = {}
    known = {}
    for group in groups:
        for alert in group.alerts:
            known[alert.key] = alert
            names = heard.setdefault(alert.key, [])
            if group.receiver not in names:
                names.append(group.receiver)
    return [
        alert_json(alert, heard[key], hushes.get(key, Hush()), snapshot, url)
        for key, alert in sorted(known.items())
        if filters.takes(alert, hushes.get(key, Hush())) and any(map(filters.hears, heard[key]))
    ]


def _groups(
    groups: Sequence[AlertGroup], hushes: Mapping[str, Hush], snapshot: Snapshot, filters: Filters, url: str
) -> list[dict[str, Any]]:
    """The alert groups that have alerts to show."""
    found = []
    for group in groups:
        of = {alert.key: hushes.get(alert.key, Hush()) for alert in group.alerts}
        is_muted = group.muted_by or all(hush.is_suppressed for hush in of.values())
        if not filters.hears(group.receiver) or (is_muted and not filters.muted):
            continue
        alerts = [
            alert_json(alert, [group.receiver], of[alert.key], snapshot, url)
            for alert in sorted(group.alerts, key=lambda alert: alert.key)
            if filters.takes(alert, of[alert.key])
        ]
        if alerts:
            found.append(group_json(group, alerts))
    return found


def _filters(request: web.Request) -> Filters:
    receiver = request.query.get("receiver")
    return Filters(
        matchers=tuple(parse_matcher(text) for text in request.query.getall("filter", [])),
        receiver=make_matcher("receiver", "=~", receiver) if receiver else None,
        active=_flag(request, "active"),
        silenced=_flag(request, "silenced"),
        inhibited=_flag(request, "inhibited"),
        muted=_flag(request, "muted"),
    )


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "true").lower()
    if text not in _BOOLEANS:
        raise ValueError(f"{name}: must be true or false")
    return _BOOLEANS[text]


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise ValueError("the body must be JSON") from None


def _json(data: Any, status: int = 200) -> web.Response:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
    return web.Response(text=text, status=status, content_type="application/json")
