"""JSON posted to a server that answers with nothing but a status: what webhooks and Alertmanagers have in common.

Nothing says where it goes, no error either: the address may hold a password.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, Field

from k2alert.model import Delivery, Refused, Retry, Sent
from k2alert.notify import joint

__all__ = ["PostSettings", "as_file", "no_addresses", "post_json", "read_status", "trust"]


class PostSettings(BaseModel):
    """What their settings have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ca_file: str | None = Field(default=None, description="Certificates to trust, in a PEM file.")
    send_resolved: bool = Field(default=True, description="Tell ends, too.")

    @property
    def edits(self) -> bool:
        """Whether a message can be edited once it is sent."""
        return False


def no_addresses(settings: PostSettings, render: Callable[[str], str]) -> tuple[str, ...]:
    """Nowhere that may be shown: an address may be a secret, and is no template."""
    return ()


def as_file(body: Mapping[str, Any] | list[Any]) -> dict[str, bytes]:
    """What is posted, as a file."""
    return {".json": json.dumps(body, indent=2, ensure_ascii=False).encode()}


# RFC 9110, 15.5: the server was slow, or is overtaxed; 425 is early data refused (RFC 8470). Trying again may help.
_PASSING = frozenset({408, 425, 429})


def read_status(who: str, status: int, wait: str | None, *, now: datetime) -> Delivery:
    """What a status means: taken (2xx), to be tried again (5xx and what passes), or refused for good.

    `who` names the server in errors; `wait` is its `Retry-After`. A redirect is refused: what is posted would be lost.
    """
    if 200 <= status < 300:
        return Sent()
    said = f"{who} answered {status}"
    if status == 429:
        return Retry(said, joint.retry_after(wait, now=now), "rateLimited")
    if status >= 500 or status in _PASSING:
        return Retry(said, joint.retry_after(wait, now=now), "serverError", maybe=joint.may_have_taken(status))
    return Refused(said, "authError" if status in (401, 403) else "clientError")


async def post_json(
    url: str,
    body: Mapping[str, Any] | list[Any],
    *,
    who: str,
    ca_file: str | None,
    session: aiohttp.ClientSession,
    now: datetime,
    within: timedelta,
) -> Delivery:
    """Posts the body and says how it went. Credentials in the URL become a Basic login."""
    try:
        async with (
            asyncio.timeout(within.total_seconds()),
            session.post(
                url,
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
                ssl=trust(ca_file) if ca_file is not None else True,  # aiohttp keeps the system's by itself
            ) as answer,
        ):
            return read_status(who, answer.status, answer.headers.get("Retry-After"), now=now)
    except TimeoutError:
        return Retry(f"{who} did not answer in time", reason="contextDeadlineExceeded", maybe=True)
    except aiohttp.InvalidURL:
        return Refused("url is not a URL")
    except (ssl.SSLError, aiohttp.ClientSSLError):
        return Refused(f"{who}'s certificate is not trusted, or TLS failed")
    except (aiohttp.ClientError, OSError) as error:
        return Retry(f"no answer from {who} ({type(error).__name__})", maybe=not joint.never_met(error))
    except ValueError as error:  # a port or a host that no socket takes
        return Refused(f"{who} can't be asked ({type(error).__name__})")


def trust(ca_file: str | None) -> ssl.SSLContext:
    """The system's certificates, and those of `ca_file` too; `OSError` where it can't be read."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
