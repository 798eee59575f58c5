"""What all of the stand-in GitLab's REST listings have in common: pages, filters, and errors in GitLab's words."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from k2alert.times import parse_instant

__all__ = ["checked", "count", "error", "moment", "page_of"]

_MOST = 100  # rows a page
_UNCOUNTED = 10_000  # above so many rows GitLab leaves out the totals


def page_of(request: web.Request, rows: Sequence[Any], show: Callable[[Any], dict[str, Any]]) -> web.Response:
    """One page of rows with GitLab's headers of offset pagination."""
    number, size = count(request, "page", 1), min(count(request, "per_page", 20), _MOST)
    pages = max(1, -(-len(rows) // size))
    headers = {
        "X-Page": str(number),
        "X-Per-Page": str(size),
        "X-Next-Page": str(number + 1) if number < pages else "",
        "X-Prev-Page": str(number - 1) if number > 1 else "",
    }
    if len(rows) <= _UNCOUNTED:
        headers |= {"X-Total": str(len(rows)), "X-Total-Pages": str(pages)}
    return web.json_response([show(row) for row in rows[(number - 1) * size : number * size]], headers=headers)


def count(request: web.Request, name: str, default: int) -> int:
    given = request.query.get(name, str(default))
    if not given.isdecimal() or int(given) < 1:
        raise error(web.HTTPBadRequest, f"{name} does not have a valid value", key="error")
    return int(given)


def moment(query: Mapping[str, str], name: str) -> datetime:
    try:
        return parse_instant(query[name])
    except ValueError:
        raise error(web.HTTPBadRequest, f"{name} is invalid", key="error") from None


def checked(query: Mapping[str, str], name: str, allowed: Iterable[str]) -> str:
    if query[name] not in allowed:
        raise error(web.HTTPBadRequest, f"{name} does not have a valid value", key="error")
    return query[name]


def error(kind: type[web.HTTPClientError], message: str, *, key: str = "message") -> web.HTTPClientError:
    return kind(text=json.dumps({key: message}), content_type="application/json")
