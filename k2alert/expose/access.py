"""Who may read and who may write (contract §5): by a token, by a browser that signed in with one, or from loopback.

A session is a cookie that says until when it is good and for what, signed with a key made of the token: no token is in
it, nothing is remembered here, and a token that changes ends its sessions. Forms carry a word of their own beside it,
for a browser sends cookies on behalf of any page.
"""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlsplit

from aiohttp import web

from k2alert.expose.view import View

__all__ = [
    "COOKIE",
    "LOOPBACK",
    "SESSION",
    "SIGNER",
    "VIEW",
    "Signer",
    "check_form",
    "check_reader",
    "check_same_origin",
    "check_writer",
    "form_word",
    "is_loopback",
    "may_read",
    "may_write",
    "new_session",
]

VIEW = web.AppKey("view", View)
LOOPBACK = web.AppKey("loopback", bool)

COOKIE = "k2alert_session"
SESSION = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs the words of forms. Its key lives as long as the process: an older form must be loaded again."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def word(self, about: str) -> str:
        """What a form must carry that was given to the session `about` ("": to whoever has none)."""
        return _sign(self.key, about)


SIGNER = web.AppKey("signer", Signer)

# ------------------------------------------------------------------------------------------- who asks


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def may_read(request: web.Request) -> bool:
    """Whether who asks may see the page and the API."""
    view = request.app[VIEW]
    token, admin = view.read_token(), view.admin_token()
    return token is None or any(_bears(request, one) or _signed_in(request, one) for one in (token, admin))


def may_write(request: web.Request) -> bool:
    """Whether who asks may use the page's forms; a form that is posted is checked further (`check_form`)."""
    token = request.app[VIEW].admin_token()
    return _signed_in(request, token) if token is not None else _on_this_machine(request)


def check_reader(request: web.Request) -> None:
    """Refuses who may not read."""
    if not may_read(request):
        raise web.HTTPUnauthorized(text="a token is needed", headers={"WWW-Authenticate": "Bearer"})


def check_writer(request: web.Request) -> None:
    """Refuses who may not write, for programs: they need the admin token; without one they must be on this machine.

    A browser on this machine is not such a program: a page from elsewhere can make it post to loopback (it then
    sends Origin) or reach loopback by a name of its own (the Host is then that name).
    """
    token = request.app[VIEW].admin_token()
    if token is not None:
        if not _bears(request, token):
            raise web.HTTPUnauthorized(text="the admin token is needed", headers={"WWW-Authenticate": "Bearer"})
    elif "Origin" in request.headers or not _on_this_machine(request):
        raise web.HTTPForbidden(text="set web.admin_token to allow this from elsewhere than this machine")


def check_form(request: web.Request, word: str) -> None:
    """Refuses a form that is not ours, or whose sender may not write. `word` is what the form carries."""
    check_same_origin(request)
    if not may_write(request):
        raise web.HTTPForbidden(text="sign in with the admin token to change anything")
    if not _equal(word, form_word(request)):
        raise web.HTTPForbidden(text="this form is too old: load it again")


def check_same_origin(request: web.Request) -> None:
    """Refuses what a browser says comes from another site's page."""
    site, origin = request.headers.get("Sec-Fetch-Site", "same-origin"), request.headers.get("Origin")
    if site != "same-origin" or (origin is not None and not _is_ours(request, origin)):
        raise web.HTTPForbidden(text="this was posted by a page from elsewhere")


def _is_ours(request: web.Request, origin: str) -> bool:
    """The origin of our pages: as this request reached us, or as people do through a proxy."""
    ours = urlsplit(request.app[VIEW].quiet.external_url())
    found = urlsplit(origin)
    return found.netloc == request.host or (bool(ours.netloc) and found[:2] == ours[:2])


def _on_this_machine(request: web.Request) -> bool:
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    return request.app[LOOPBACK] and is_loopback(host)


def _bears(request: web.Request, token: str | None) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return token is not None and scheme.lower() == "bearer" and _equal(given.strip(), token)


# ------------------------------------------------------------------------------------------- sessions


def new_session(request: web.Request, token: str) -> str | None:
    """A session for who knows one of the tokens; None for who does not."""
    view = request.app[VIEW]
    known = [one for one in (view.admin_token(), view.read_token()) if one is not None and _equal(token, one)]
    if not known:
        return None
    until = f"{int((view.quiet.now() + SESSION).timestamp())}.{secrets.token_hex(8)}"
    return f"{until}.{_sign(_session_key(known[0]), until)}"


def form_word(request: web.Request) -> str:
    """What a form that is shown to this session must carry."""
    return request.app[SIGNER].word(request.cookies.get(COOKIE, ""))


def _signed_in(request: web.Request, token: str | None) -> bool:
    until, _, signature = request.cookies.get(COOKIE, "").rpartition(".")
    if token is None or not _equal(signature, _sign(_session_key(token), until)):
        return False
    return _is_before(request.app[VIEW].quiet.now(), until)


def _is_before(now: datetime, until: str) -> bool:
    return now.timestamp() < int(until.partition(".")[0])  # we signed it: it is a number


def _session_key(token: str) -> bytes:
    return hmac.digest(token.encode(), b"k2alert session", sha256)


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), sha256).hex()


def _equal(given: str, wanted: str) -> bool:
    # As aiohttp decoded the header: bytes that are no UTF-8 are half surrogate pairs now.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
