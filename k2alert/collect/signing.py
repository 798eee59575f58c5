"""How a source signs in: with a token that it was given, or as a GitHub App that gets itself tokens.

An App proves itself with a short JSON Web Token, signed with its private key, and is given a token of its installation
that is good for an hour. What is asked for that goes out as a request, so that the client alone talks. See
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from k2alert.collect.flow import Failure, Request, Response
from k2alert.collect.settings import AppSettings
from k2alert.times import parse_instant

__all__ = ["AppSignIn", "SignIn", "TokenSignIn", "app_problem"]

_EARLIER = timedelta(minutes=5)  # a token is replaced so long before it ends: requests under way still get through
_CLOCKS_APART = timedelta(seconds=60)  # GitHub's own advice for the time of issue
_GOOD_FOR = timedelta(minutes=9)  # GitHub refuses more than ten minutes from its own clock's now


class SignIn(Protocol):
    """What a client asks before it asks a forge anything."""

    @property
    def token(self) -> str:
        """What goes into `Authorization`; "" where nothing does."""
        ...

    def renewal(self, *, now: datetime) -> Request | None:
        """What must be asked first, with its own `Authorization` (`bearer`), for want of a token that is good."""
        ...

    def bearer(self, *, now: datetime) -> str:
        """What signs the renewal."""
        ...

    def renewed(self, answer: Response) -> Failure | None:
        """Takes the renewal's answer; why not, where it is not what it should be."""
        ...

    def refused(self) -> bool:
        """The forge refused the token (401); whether it makes sense to get another and ask again."""
        ...


class TokenSignIn:
    """A token that was given."""

    def __init__(self, token: str) -> None:
        self.token = token

    def renewal(self, *, now: datetime) -> Request | None:
        """See `SignIn`: never."""
        return None

    def bearer(self, *, now: datetime) -> str:
        """See `SignIn`."""
        return self.token

    def renewed(self, answer: Response) -> Failure | None:
        """See `SignIn`."""
        return None

    def refused(self) -> bool:
        """See `SignIn`: there is no other."""
        return False


class AppSignIn:
    """A GitHub App's installation."""

    def __init__(self, app: AppSettings) -> None:
        self._app = app
        self._expires: datetime | None = None
        self.token = ""

    def renewal(self, *, now: datetime) -> Request | None:
        """See `SignIn`: at first, and five minutes before the token ends."""
        if self.token and self._expires is not None and now < self._expires - _EARLIER:
            return None
        return Request(f"/app/installations/{self._app.installation_id}/access_tokens", body={}, kind="sign_in")

    def bearer(self, *, now: datetime) -> str:
        """See `SignIn`. Raises `ValueError` where the private key is none, or PyJWT is not installed."""
        claims = {
            "iat": int((now - _CLOCKS_APART).timestamp()),
            "exp": int((now + _GOOD_FOR).timestamp()),
            "iss": str(self._app.id),
        }
        return _sign(claims, self._app.private_key.get_secret_value())

    def renewed(self, answer: Response) -> Failure | None:
        """See `SignIn`."""
        data = answer.data if isinstance(answer.data, Mapping) else {}
        token, expires = data.get("token"), data.get("expires_at")
        if not isinstance(token, str) or not token or not isinstance(expires, str):
            return Failure("body", "the installation's token is not what it should be")
        try:
            self._expires = parse_instant(expires)
        except (ValueError, OverflowError):
            return Failure("body", "the installation's token does not say until when it is good")
        self.token = token
        return None

    def refused(self) -> bool:
        """See `SignIn`: it may have been revoked, so another is asked for, once."""
        had, self.token = self.token, ""
        return bool(had)


def app_problem(app: AppSettings) -> str:
    """Why the App cannot sign in, "" where it can; nothing of the key is in it."""
    try:
        _sign({"iss": "check"}, app.private_key.get_secret_value())
    except ValueError as error:
        return str(error)
    return ""


def _sign(claims: Mapping[str, Any], key: str) -> str:
    try:
        import jwt  # an extra, which only Apps need
    except ImportError:
        raise ValueError("a GitHub App needs PyJWT: pip install 'k2alert[github-app]'") from None
    try:
        return jwt.encode(dict(claims), key, algorithm="RS256")
    except Exception:  # whatever the library says of a key may show it
        raise ValueError("private_key: not an RSA private key in PEM") from None
