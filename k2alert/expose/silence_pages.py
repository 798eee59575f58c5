"""Silences on the status page: looked at, made and ended, by plain forms."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from aiohttp import web

from k2alert import links
from k2alert.expose.access import VIEW, check_form, may_write
from k2alert.expose.cards import Index, page_of
from k2alert.expose.pages import index, number_of, page, root_of, show, turner
from k2alert.labels import Matcher, make_matcher, parse_matcher
from k2alert.model import Alert, Refusal, Silence, SilenceDraft, SilenceState
from k2alert.text import visible
from k2alert.times import parse_duration

__all__ = ["add_silence_pages"]

_ORDER = (SilenceState.ACTIVE, SilenceState.PENDING, SilenceState.EXPIRED)
_LONGEST_TEXT = 1000  # of a comment or an author


@dataclass(frozen=True, slots=True)
class _Form:
    """What the form for a new silence holds, as typed."""

    matchers: str = ""
    length: str = "2h"
    until_resolved: bool = False
    author: str = ""
    comment: str = ""

    def draft(self, now: datetime) -> SilenceDraft:
        """The silence asked for. Raises `ValueError` with a message for who typed it."""
        lines = [line.strip() for line in self.matchers.splitlines() if line.strip()]
        length = parse_duration(self.length.strip())
        if length <= timedelta(0):
            raise ValueError("a silence must last longer than 0s")
        if not self.comment.strip() or not self.author.strip():
            raise ValueError("say who you are and why, so that others know whom to ask")
        if max(len(self.author), len(self.comment)) > _LONGEST_TEXT:
            raise ValueError(f"a name or a comment has at most {_LONGEST_TEXT} characters")
        return SilenceDraft(
            matchers=tuple(parse_matcher(line) for line in lines),
            starts_at=now,
            ends_at=now + length,
            author=self.author.strip(),
            comment=self.comment.strip(),
            until_resolved=self.until_resolved,
        )


def add_silence_pages(app: web.Application) -> None:
    """The list, the form, and what they are sent to."""
    app.router.add_get("/silences", page(_silences))
    app.router.add_get("/silences/new", page(_new))
    app.router.add_post("/silences/new", _add)
    app.router.add_post("/silences/expire", _expire)


async def _silences(request: web.Request) -> web.Response:
    view = request.app[VIEW]
    now = view.quiet.now()
    every = sorted(view.quiet.silences(), key=lambda one: (_ORDER.index(one.state(now)), -one.ends_at.timestamp()))
    listed = page_of(every, number_of(request))
    active = [silence for silence in listed.items if silence.state(now) is SilenceState.ACTIVE]
    known = await index(request) if view.snapshot() is not None else None
    return show(
        request,
        "silences.html",
        listed=listed,
        hit=await asyncio.to_thread(_hit, known, active) if known is not None else {},
        turn=turner(request),
    )


def _hit(known: Index, silences: Sequence[Silence]) -> Mapping[str, int]:
    """How many open alerts each silence is about."""
    return {silence.id: sum(silence.matches(alert.labels) for alert in known.open) for silence in silences}


async def _new(request: web.Request) -> web.StreamResponse:
    view = request.app[VIEW]
    if not may_write(request):
        if view.admin_token() is None:
            raise web.HTTPForbidden(text="set web.admin_token to silence from elsewhere than this machine")
        back = urlencode({"next": request.rel_url.raw_path_qs.lstrip("/")})
        return web.Response(status=303, headers={"Location": f"{root_of(request)}/sign-in?{back}"})
    known = await index(request) if view.snapshot() is not None else None
    alert = known.by_key.get(request.query.get("alert", "")) if known is not None else None
    matchers = [*_of_alert(alert), *request.query.getall("matcher", [])]
    return show(request, "silence.html", form=_Form(matchers="\n".join(map(str, matchers))), mistake="")


def _of_alert(alert: Alert | None) -> list[Matcher]:
    """The matchers that this alert alone satisfies; none where nobody knows it any more."""
    if alert is None:
        return []
    return [_matcher(name, value) for name, value in {"alertname": alert.rule, **alert.identity}.items()]


def _matcher(name: str, value: str) -> Matcher:
    """One for this value alone, in characters that a page shows: those that nobody sees stand in it by their number."""
    if visible(value) == value:
        return make_matcher(name, "=", value)
    shown = (re.escape(char) if visible(char) == char else f"\\x{{{ord(char):x}}}" for char in value)
    return make_matcher(name, "=~", "".join(shown))


async def _add(request: web.Request) -> web.Response:
    fields = await _posted(request)
    form = _Form(
        matchers=fields.get("matchers", ""),
        length=fields.get("length", ""),
        until_resolved="until_resolved" in fields,
        author=fields.get("author", ""),
        comment=fields.get("comment", ""),
    )
    quiet = request.app[VIEW].quiet
    try:
        made = await quiet.save(form.draft(quiet.now()))
    except ValueError as error:
        made = Refusal(400, str(error))
    if isinstance(made, Refusal):
        return show(request, "silence.html", status=made.status, form=form, mistake=made.text)
    return _back(request, made.id)


async def _expire(request: web.Request) -> web.Response:
    fields = await _posted(request)
    ended = await request.app[VIEW].quiet.expire(fields.get("id", ""))
    if isinstance(ended, Refusal):
        raise web.HTTPNotFound(text=ended.text) if ended.status == 404 else web.HTTPServiceUnavailable(text=ended.text)
    return _back(request, ended.id)


async def _posted(request: web.Request) -> Mapping[str, str]:
    """The fields of a form that is ours."""
    fields = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    check_form(request, fields.get("word", ""))
    return fields


def _back(request: web.Request, id: str) -> web.Response:
    return web.Response(status=303, headers={"Location": f"{links.silences_url(root_of(request))}#s-{id}"})
