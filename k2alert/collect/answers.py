"""Reading what a forge's server sent: status, headers and body in, an `Answer` out.

Pure, so that every oddity of a real server is a line in a table of tests. The facts: GitLab answers 429 in plain
text with `Retry-After` and `RateLimit-Reset`, and some of its limits without either; GitHub answers 403 or 429
with `x-ratelimit-remaining: 0` and `x-ratelimit-reset`, or, for its secondary limits, with `Retry-After` or only
a message; a proxy or a login page answers 200 in HTML.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from k2alert.collect.flow import Answer, Failure, Reason, Response
from k2alert.times import EPOCH

__all__ = [
    "TOO_LARGE",
    "is_number",
    "one_line",
    "rate_limit_remaining",
    "read_answer",
    "retry_after",
    "until_reset",
    "worth_retrying",
]

TOO_LARGE = Failure("body", "the answer is too large")

LONGEST_WAIT = timedelta(seconds=60)
"""A limit that is over within this is waited for on the spot; a longer one is the collector's to schedule."""

_LIMIT_WITHOUT_TIME = timedelta(seconds=60)
# What GitHub asks for when a secondary limit names no time, and the period of GitLab's own limits:
# https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit

_TRANSIENT: frozenset[Reason] = frozenset({"server", "timeout", "network", "body", "rate_limited"})
_REASONS: Mapping[int, Reason] = {
    401: "auth",
    403: "forbidden",
    404: "not_found",
    410: "not_found",
    429: "rate_limited",
}
_STATUSES = frozenset(HTTPStatus)
_LONGEST_DETAIL = 200
_YEAR_SECONDS = 366 * 86_400
_LONGEST_MESSAGE = 10_000  # bytes looked at; far more than any error needs
_QUERY = re.compile(r"(/[^\s?]*)\?\S*")


def read_answer(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Answer:
    """What a whole response means. Header names are in lower case; redirects are the driver's own business.

    A failure's detail still holds the server's own words: the driver takes secrets out and makes it `one_line`.
    """
    if 200 <= status < 300:
        return _read_json(status, headers, body)
    message = _message(body)
    reason = _reason(status, headers, message)
    wait = retry_after(headers, now=now)
    if reason == "rate_limited" and wait is None:
        wait = _LIMIT_WITHOUT_TIME
    return Failure(reason, _detail(status, message), status, wait)


def worth_retrying(failure: Failure) -> bool:
    """Whether the same request may well succeed within a minute."""
    if failure.retry_after is not None and failure.retry_after > LONGEST_WAIT:
        return False
    return failure.reason in _TRANSIENT and failure != TOO_LARGE


def rate_limit_remaining(headers: Mapping[str, str]) -> int | None:
    """How many requests the forge still allows in its present period, where it says."""
    text = headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining") or ""
    return int(text) if is_number(text) else None


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """How long the forge asks us to wait: `Retry-After`, else to the end of a period that is used up."""
    asked = _parse_retry_after(headers.get("retry-after", ""), _forges_now(headers, now))
    if asked is not None:
        return asked
    return until_reset(headers, now=now) if rate_limit_remaining(headers) == 0 else None


def until_reset(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """How long the forge's present period of counting requests lasts, where it says."""
    reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""
    if not is_number(reset):
        return None
    # One second more: the reset is in whole seconds of the forge's clock.
    return _seconds(int(reset) - int((_forges_now(headers, now) - EPOCH).total_seconds()) + 1)


def _forges_now(headers: Mapping[str, str], now: datetime) -> datetime:
    """The forge's clock, which its times are of: the `Date` of its answer, else our own clock."""
    return _parse_date(headers.get("date", "")) or now


def is_number(text: str) -> bool:
    """Whether this is a whole number, and no longer than any sane header's."""
    return text.isascii() and text.isdigit() and len(text) <= 15


def one_line(text: str) -> str:
    """Foreign text as one short line for people: no control characters, no query of any URL."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return _QUERY.sub(r"\1", " ".join(printable.split()))[:_LONGEST_DETAIL]


def _parse_retry_after(text: str, now: datetime) -> timedelta | None:
    if is_number(text):
        return _seconds(int(text))
    at = _parse_date(text)
    return None if at is None else max(timedelta(0), at - now)


def _parse_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # a zone may have any number of digits
        return None


def _seconds(count: int) -> timedelta:
    return timedelta(seconds=min(max(count, 0), _YEAR_SECONDS))


def _reason(status: int, headers: Mapping[str, str], message: str) -> Reason:
    if status == 403 and _is_limit(headers, message):
        return "rate_limited"
    return _REASONS.get(status, "server" if status >= 500 else "client")


def _is_limit(headers: Mapping[str, str], message: str) -> bool:
    """Whether a 403 is one of GitHub's limits; without these marks it is a missing permission."""
    return "retry-after" in headers or rate_limit_remaining(headers) == 0 or "rate limit" in message.lower()


def _detail(status: int, message: str) -> str:
    if message.startswith(f"{status} "):  # GitLab's own messages do: "404 Project Not Found"
        return message
    phrase = HTTPStatus(status).phrase if status in _STATUSES else "unknown status"
    return f"{status} {phrase}: {message}" if message else f"{status} {phrase}"


def _message(body: bytes) -> str:
    """What the server says is wrong: `message` or `error` of GitLab's and GitHub's JSON, or a plain text."""
    try:
        data = json.loads(body[:_LONGEST_MESSAGE])
    except (ValueError, RecursionError):
        return "" if _is_markup(body) else body[:_LONGEST_MESSAGE].decode("utf-8", "replace")
    said = data.get("message") or data.get("error_description") or data.get("error") if isinstance(data, dict) else None
    return said if isinstance(said, str) else json.dumps(said) if said else ""


def _read_json(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    try:
        return Response(status, headers, json.loads(body))
    except (ValueError, RecursionError):
        return Failure("body", f"{status} with {_describe(headers, body)} instead of JSON", status)


def _describe(headers: Mapping[str, str], body: bytes) -> str:
    if not body.strip():
        return "an empty body"
    if "html" in headers.get("content-type", "").lower() or _is_markup(body):
        return "HTML (a login page or a proxy?)"
    return "something broken"


def _is_markup(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"
