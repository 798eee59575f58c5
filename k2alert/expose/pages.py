"""The status page: requests come in, what the `View` knows goes out as HTML. All from memory, save history and log."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from k2alert import links
from k2alert.expose.access import COOKIE, VIEW, check_reader, form_word, may_read, may_write
from k2alert.expose.cards import (
    STATES,
    Index,
    Wants,
    alerts_of,
    finding_of,
    grounds_of,
    index_of,
    page_of,
    rows_of,
    wants,
)
from k2alert.expose.drawing import Drawing, draw
from k2alert.expose.render import STYLE, render, style_name
from k2alert.expose.view import Snapshot, View
from k2alert.model import Alert, AlertState, Finding, Project, ProjectState, Rule
from k2alert.times import parse_duration

__all__ = ["add_pages", "error_page", "index", "is_for_people", "number_of", "page", "root_of", "show", "turner"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REFRESH = "60"  # seconds; only where nobody is typing
_CURVES = 12  # label sets of a rule on one page, each with its curve
_MOST_AILING = 200
_SPANS = ("1d", "7d", "30d")
_FOREVER = "public, max-age=31536000, immutable"  # its name changes with its content


def add_pages(app: web.Application) -> None:
    """All that people look at."""
    app[INDEXES] = Indexes()
    app.router.add_get("/", page(_alerts))
    app.router.add_get("/alerts", page(_alerts))
    app.router.add_get("/alerts/{key}", page(_alert))
    app.router.add_get("/rules", page(_rules))
    app.router.add_get("/rules/{name}", page(_rule))
    app.router.add_get("/sources", page(_sources))
    app.router.add_get("/style/{name}", _style)


def page(handler: Handler) -> Handler:
    """A page for those who may read; other people are asked to sign in and come back to it, programs are refused."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if may_read(request) or not is_for_people(request):
            check_reader(request)
            return await handler(request)
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and COOKIE not in request.cookies:
            # A link in a message: the browser keeps our cookie back until the page asks for itself.
            answer = show(request, "again.html", status=401)
            answer.headers["Refresh"] = "0"
            return answer
        back = urlencode({"next": request.rel_url.raw_path_qs.lstrip("/")})
        return web.Response(status=303, headers={"Location": f"{root_of(request)}/sign-in?{back}"})

    return handle


def show(
    request: web.Request, template: str, *, status: int = 200, refresh: bool = False, **values: Any
) -> web.Response:
    """A page of ours: what every template may ask for beside its own values is added here."""
    view = request.app[VIEW]
    snapshot = view.snapshot()
    text = render(
        template,
        now=view.quiet.now(),
        root=root_of(request),
        links=links,
        snapshot=snapshot,
        has_tokens=view.read_token() is not None or view.admin_token() is not None,
        signed_in=COOKIE in request.cookies and (may_write(request) or may_read(request)),
        may_write=may_write(request),
        form_word=form_word(request),
        path=request.path,
        value_text=view.page.value_text,
        metric_of=_metric_of,
        **values,
    )
    headers = {"Cache-Control": "no-store"} | ({"Refresh": _REFRESH} if refresh else {})
    return web.Response(text=text, content_type="text/html", status=status, headers=headers)


def root_of(request: web.Request) -> str:
    """The way from this page to the top, so that a proxy may put everything under a path of its own."""
    return "/".join([".."] * (request.rel_url.raw_path.count("/") - 1)) or "."


def is_for_people(request: web.Request) -> bool:
    """Whether an error is to be shown as a page: to browsers that look at pages."""
    machines = ("/api/", "/-/", "/metrics", "/webhooks/")
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(machines)


def error_page(request: web.Request, status: int, text: str) -> web.Response:
    """An error, for people."""
    return show(request, "error.html", status=status, status_code=status, text=text)


# --------------------------------------------------------------------------------------------- alerts


async def _alerts(request: web.Request) -> web.Response:
    snapshot, state = _snapshot(request), request.query.get("state", "")
    wanted, mistake = _wanted(request)
    hushes = request.app[VIEW].quiet.hushes()
    found = await asyncio.to_thread(alerts_of, await index(request), wanted, hushes)
    shown = [alert for alert in found if state in ("", alert.state.value)]
    return show(
        request,
        "alerts.html",
        refresh=True,
        listed=page_of(shown, number_of(request)),
        counts={
            one.value: sum(alert.state is one for alert in found) for one in (AlertState.FIRING, AlertState.PENDING)
        },
        state=state,
        mistake=mistake,
        filters=_filters(request),
        turn=turner(request),
        rules={rule.name: rule for rule in snapshot.rules},
        hushes=hushes,
        ailing=[source for source in request.app[VIEW].page.sources() if any(map(_ails, source.projects))],
    )


async def _alert(request: web.Request) -> web.Response:
    snapshot, known = _snapshot(request), await index(request)
    alert = known.by_key.get(request.match_info["key"])
    if alert is None:
        raise web.HTTPNotFound(text="there is no alert with this key; it may have ended and been forgotten since")
    finding = finding_of(known, alert)
    rule = next((rule for rule in snapshot.rules if rule.name == alert.rule), None)
    explained = await _explained(request.app[VIEW], alert)
    figures = explained.get("values", ())
    return show(
        request,
        "alert.html",
        alert=alert,
        rule=rule,
        explained=explained,
        hush=request.app[VIEW].quiet.hushes().get(alert.key),
        figures=figures,
        grounds=grounds_of(explained),
        before=next((one["evidence"]["before"] for one in figures if one["evidence"]["before"] is not None), None),
        owner=next((one["evidence"]["owner"] for one in figures if one["evidence"]["owner"]), ""),
        drawing=await _drawing(request, finding) if finding is not None else None,
        annotations={name: text for name, text in snapshot.annotations.get(alert.key, {}).items() if text},
        message=snapshot.messages.get(alert.key, ""),
    )


async def _explained(view: View, alert: Alert) -> Mapping[str, Any]:
    """Why the alert is as it is and who heard of it; nothing of an alert that no rule is behind any more."""
    _, found = await view.explain(alert.rule, list(alert.identity.items()), None)
    every = found.get("explanations", ()) if isinstance(found, dict) else ()
    same: Mapping[str, Any] | None = next((one for one in every if one["labels"] == dict(alert.labels)), None)
    return same or {}


# ---------------------------------------------------------------------------------------------- rules


async def _rules(request: web.Request) -> web.Response:
    snapshot, known = _snapshot(request), await index(request)
    return show(
        request,
        "rules.html",
        refresh=True,
        rules=snapshot.rules,
        counts=known.counts,
        worst_of=known.worst,
        states=STATES,
    )


async def _rule(request: web.Request) -> web.Response:
    snapshot, known, name = _snapshot(request), await index(request), request.match_info["name"]
    rule = next((rule for rule in snapshot.rules if rule.name == name), None)
    if rule is None:
        raise web.HTTPNotFound(text="there is no rule of this name")
    wanted, mistake = _wanted(request)
    found = await asyncio.to_thread(rows_of, known, name, _with_labels(request, rule, wanted))
    rows = page_of(found, number_of(request), _CURVES)
    return show(
        request,
        "rule.html",
        rule=rule,
        counts=known.counts[name],
        states=STATES,
        listed=rows,
        drawings=[await _drawing(request, row.finding) for row in rows.items],
        spans=("", *_SPANS),
        span=span if (span := request.query.get("span", "")) in _SPANS else "",
        mistake=mistake,
        filters=_filters(request),
        turn=turner(request),
    )


def _with_labels(request: web.Request, rule: Rule, wanted: Wants) -> Wants:
    """Those that are wanted and have the labels that the address names (`links.rule_url`)."""
    asked = {name: request.query[name] for name in rule.selection.shape if name in request.query}
    return lambda labels: wanted(labels) and all(labels.get(name, "") == value for name, value in asked.items())


async def _drawing(request: web.Request, finding: Finding) -> Drawing | None:
    curve = await request.app[VIEW].page.curve(finding, _span(request))
    return draw(curve) if curve is not None else None


def _span(request: web.Request) -> timedelta | None:
    text = request.query.get("span", "")
    return parse_duration(text) if text in _SPANS else None


def _metric_of(rule: Rule | None) -> str:
    """The metric that a rule's value is of; "" where it has none."""
    first = getattr(rule.condition, "first", None) if rule is not None else None
    return str(first.metric) if first is not None else ""


# -------------------------------------------------------------------------------------------- sources


async def _sources(request: web.Request) -> web.Response:
    sources = request.app[VIEW].page.sources()
    return show(
        request,
        "sources.html",
        refresh=True,
        sources=sources,
        ailing={source.name: [one for one in source.projects if _ails(one)] for source in sources},
        counts={source.name: Counter(state for _, state in source.projects) for source in sources},
        states=list(ProjectState),
        most=_MOST_AILING,
    )


def _ails(one: tuple[Project, ProjectState]) -> bool:
    """Whether a project cannot be judged, or failed when last looked at."""
    project, state = one
    return state is not ProjectState.OK or project.failure != ""


async def _style(request: web.Request) -> web.Response:
    if request.match_info["name"] != style_name():
        raise web.HTTPNotFound
    return web.Response(body=STYLE, content_type="text/css", charset="utf-8", headers={"Cache-Control": _FOREVER})


# ------------------------------------------------------------------------------------- what was asked


class Indexes:
    """The index of the last snapshot that was looked at: made once a round, beside the loop."""

    def __init__(self) -> None:
        self._of: Snapshot | None = None
        self._made: asyncio.Task[Index] | None = None

    async def of(self, snapshot: Snapshot) -> Index:
        """Waits for it to be made; who asks meanwhile waits for the same."""
        if self._made is None or self._of is not snapshot:
            self._of = snapshot
            self._made = asyncio.create_task(asyncio.to_thread(index_of, snapshot), name="index for the page")
        return await asyncio.shield(self._made)


INDEXES = web.AppKey("indexes", Indexes)


async def index(request: web.Request) -> Index:
    """What the last round came to, as the pages look it up."""
    return await request.app[INDEXES].of(_snapshot(request))


def _snapshot(request: web.Request) -> Snapshot:
    snapshot = request.app[VIEW].snapshot()
    if snapshot is None:
        raise web.HTTPServiceUnavailable(text="the history is being read, nothing has been judged yet")
    return snapshot


def _filters(request: web.Request) -> str:
    return ", ".join(request.query.getall("filter", []))


def _wanted(request: web.Request) -> tuple[Wants, str]:
    """What the search field asks for, and what is wrong with it (then it asks for everything)."""
    try:
        return wants(request.query.getall("filter", [])), ""
    except ValueError as error:
        return wants(()), str(error)


def number_of(request: web.Request) -> int:
    """Which page of a list is asked for."""
    text = request.query.get("page", "1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def turner(request: web.Request) -> Callable[..., str]:
    """The query of this page with other values for some of its names; a name with "" goes."""
    names = set(request.query)

    def turn(**changed: object) -> str:
        kept: Iterable[tuple[str, str]] = [(name, request.query[name]) for name in sorted(names - set(changed))]
        pairs = [*kept, *((name, str(value)) for name, value in changed.items() if value != "")]
        return "?" + urlencode(pairs, errors="replace")

    return turn
