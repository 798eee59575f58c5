"""What was sent to whom, on the status page: the newest first, narrowed by the address, read on by number."""

from aiohttp import web

from k2alert.expose.access import VIEW
from k2alert.expose.cards import PER_PAGE
from k2alert.expose.pages import page, show, turner
from k2alert.model import TellingQuery

__all__ = ["add_sent_page"]


def add_sent_page(app: web.Application) -> None:
    """The page."""
    app.router.add_get("/notifications", page(_notifications))


async def _notifications(request: web.Request) -> web.Response:
    query = _query(request)
    tellings = await request.app[VIEW].page.sent(query)
    narrowed = [("receiver", query.receiver), ("incident", query.incident), ("alert", query.alert)]
    return show(
        request,
        "notifications.html",
        refresh=query.before is None,
        tellings=tellings,
        narrowed=[(name, value) for name, value in narrowed if value],
        older=tellings[-1].id if len(tellings) == query.limit else "",
        newest=query.before is not None,
        turn=turner(request),
    )


def _query(request: web.Request) -> TellingQuery:
    """What of the history is asked for; what is no number is the newest."""
    asked = {name: request.query.get(name, "") for name in ("receiver", "incident", "alert")}
    before = request.query.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    return TellingQuery(limit=PER_PAGE, before=number, **asked)
