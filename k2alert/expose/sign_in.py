"""Signing in and out: the token that a person types in becomes a session in a cookie."""

from urllib.parse import urlsplit

from aiohttp import web

from k2alert.expose.access import COOKIE, SESSION, check_same_origin, new_session
from k2alert.expose.pages import root_of, show

__all__ = ["add_sign_in"]


def add_sign_in(app: web.Application) -> None:
    """The form, what it is sent to, and the way out."""
    app.router.add_get("/sign-in", _form)
    app.router.add_post("/sign-in", _sign_in)
    app.router.add_post("/sign-out", _sign_out)


async def _form(request: web.Request) -> web.Response:
    return show(request, "sign_in.html", back=_back(request.query.get("next", "")), mistake="")


async def _sign_in(request: web.Request) -> web.Response:
    check_same_origin(request)
    form = await request.post()
    back = _back(str(form.get("next", "")))
    session = new_session(request, str(form.get("token", "")))
    if session is None:
        return show(request, "sign_in.html", status=401, back=back, mistake="This is not a token that opens this page.")
    answer = web.Response(status=303, headers={"Location": f"{root_of(request)}/{back}"})
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(SESSION.total_seconds()),
        httponly=True,
        samesite="Strict",
        secure=request.headers.get("Origin", "").startswith("https://"),
    )
    return answer


async def _sign_out(request: web.Request) -> web.Response:
    check_same_origin(request)
    answer = web.Response(status=303, headers={"Location": f"{root_of(request)}/sign-in"})
    answer.del_cookie(COOKIE, httponly=True, samesite="Strict")
    return answer


def _back(text: str) -> str:
    """A page of ours to go back to, from the top; "" for anything that may lead elsewhere."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    strange = parts.scheme or parts.netloc or text.startswith(("/", "\\", ".")) or not text.isprintable()
    return "" if strange or not text.isascii() else text
