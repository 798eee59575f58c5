"""Webhooks before they are facts: whether one is the forge's, which one it is, and what of it is kept.

The raw body and the headers come in, verdicts and `HookEvent`s go out; no I/O, no clock. Every comparison of a secret
takes the same time whatever was sent: all are compared and counted, none ends the search. What the forges send is from
https://docs.gitlab.com/user/project/integrations/webhooks/, https://www.standardwebhooks.com and
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
"""

import binascii
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from k2alert.model import HookEvent, Kind, PipelineRun, Project
from k2alert.times import EPOCH

__all__ = ["Hooks", "Known", "digest", "github_signed", "gitlab_signed", "read_body"]

Headers = Mapping[str, str]
"""Header names in lower case."""

_SIGNING_KEY = "whsec_"
_CLOCKS_APART = timedelta(minutes=5)  # as Standard Webhooks asks


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a project apart from its webhooks. `tags`: whether a name is a tag's, as far as was asked."""

    project: Project
    tags: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Hooks:
    """How one kind of forge sends webhooks: a part of its line in `SOURCES`.

    `signed(headers, body, secrets, now)`: whether it was sent by who knows one of the secrets.
    `delivery(headers, body)`: what tells it from every other, the same when it is sent again.
    `event(headers, data)`: the forge's ids of its project and run and what is kept of it, or None for an event that
    facts are not made of. `facts(events, known, now)`: what all events of one run say of it, or the kind of facts that
    a look at the forge is needed for. `ref(event)`: the name that it tells of, and whether
    that is a tag's. `whole`: each event says all of a run, so that one need not be kept once it is
    recorded.
    """

    signed: Callable[[Headers, bytes, Sequence[str], datetime], bool]
    delivery: Callable[[Headers, bytes], str]
    event: Callable[[Headers, Any], tuple[str, str, Mapping[str, Any]] | None]
    facts: Callable[[Sequence[HookEvent], Known, datetime], Sequence[PipelineRun] | Kind]
    whole: bool
    ref: Callable[[HookEvent], tuple[str, bool] | None] = lambda event: None


def gitlab_signed(headers: Headers, body: bytes, secrets: Sequence[str], now: datetime) -> bool:
    """Whether one of the secrets signed it, or is its token.

    A signature that is there must be right: whoever sends a wrong one is not asked for the token instead.
    """
    if "webhook-signature" in headers:
        return _standard_signed(headers, body, secrets, now)
    token = headers.get("x-gitlab-token", "").encode("utf-8", "surrogateescape")
    return sum(hmac.compare_digest(token, secret.encode()) for secret in secrets) > 0


def github_signed(headers: Headers, body: bytes, secrets: Sequence[str], _: datetime) -> bool:
    """Whether `X-Hub-Signature-256` is the HMAC of the raw body with one of the secrets."""
    given = headers.get("x-hub-signature-256", "").encode("utf-8", "surrogateescape")
    wanted = [b"sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest().encode() for secret in secrets]
    return sum(hmac.compare_digest(given, one) for one in wanted) > 0


def _standard_signed(headers: Headers, body: bytes, secrets: Sequence[str], now: datetime) -> bool:
    """Standard Webhooks: `v1,` and the HMAC-SHA256 of `{id}.{timestamp}.{body}`; one of several may be right."""
    sent_at = _seconds(headers.get("webhook-timestamp", ""))
    if sent_at is None or abs(now - sent_at) > _CLOCKS_APART:
        return False
    signed = (
        f"{headers.get('webhook-id', '')}.{headers['webhook-timestamp']}.".encode("utf-8", "surrogateescape") + body
    )
    given = [one.encode("utf-8", "surrogateescape") for one in headers["webhook-signature"].split()]
    keys = [key for secret in secrets if (key := _signing_key(secret)) is not None]
    wanted = [b"v1," + b64encode(hmac.new(key, signed, "sha256").digest()) for key in keys]
    return sum(hmac.compare_digest(one, other) for one in given for other in wanted) > 0


def _signing_key(secret: str) -> bytes | None:
    if not secret.startswith(_SIGNING_KEY):
        return None
    try:
        return b64decode(secret.removeprefix(_SIGNING_KEY), validate=True)
    except (binascii.Error, ValueError):
        return None


def _seconds(text: str) -> datetime | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        return None
    return EPOCH + timedelta(seconds=int(text))


def digest(body: bytes) -> str:
    """What stands for a delivery id where there is none."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def read_body(headers: Headers, body: bytes) -> Any:
    """The JSON in a body, which a form may wrap as `payload`. Raises `ValueError`."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        fields = parse_qs(body.decode("utf-8"), max_num_fields=10)
        return _load(fields.get("payload", [""])[0])
    return _load(body)


def _load(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
