"""What integrations share: one delivery to several addresses, and reading what servers say about waiting."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from k2alert.model import Delivery, Refused, Retry, Sent
from k2alert.notify.pace import LeadsNoMore

__all__ = ["join", "may_have_taken", "never_met", "retry_after", "took"]

# RFC 9110, 15.6: something went wrong on the way, or behind a gateway, after the request had come in. 503 and 429 say
# that it was not dealt with.
_UNSURE = frozenset({500, 502, 504})


def took(handle: Mapping[str, str], address: str, mark: str) -> bool:
    """Whether the address has this very message already, from a try in which others failed."""
    return handle.get(address, "").split(" ")[-1] == mark


def never_met(error: Exception) -> bool:
    """Whether an error of aiohttp means that nothing was sent, so that nothing can have been taken."""
    return isinstance(error, aiohttp.ClientConnectorError) or isinstance(error.__cause__, LeadsNoMore)


def may_have_taken(status: int) -> bool:
    """Whether a server that answers so may have taken the message all the same."""
    return status in _UNSURE


def join(deliveries: Mapping[str, Delivery]) -> Delivery:
    """One delivery from those to each address.

    Any that is worth another try makes all a Retry, which remembers who took it; otherwise one that took it is
    enough, and the error names those who refused.
    """
    handle: dict[str, str] = {}
    for one in deliveries.values():
        handle.update({} if isinstance(one, Refused) else one.handle)
    retries = [one for one in deliveries.values() if isinstance(one, Retry)]
    if retries:
        maybe, local = any(one.maybe for one in retries), all(one.local for one in retries)
        return Retry(retries[0].error, _longest_wait(retries), retries[0].reason, handle, maybe, local)
    refusals = [one for one in deliveries.values() if isinstance(one, Refused)]
    error = "; ".join(one.error for one in deliveries.values() if one.error)
    if refusals and len(refusals) == len(deliveries):
        return Refused(error, refusals[0].reason)
    return Sent(handle, error)


def _longest_wait(retries: list[Retry]) -> timedelta | None:
    return max((one.after for one in retries if one.after is not None), default=None)


def retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """How long a `Retry-After` header asks to wait: seconds or an HTTP date (RFC 9110, 10.2.3); None if unreadable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now)
    return timedelta(seconds=min(seconds, 1e8)) if math.isfinite(seconds) and seconds >= 0 else None


def _until(value: str, now: datetime) -> timedelta | None:
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a zone may have any number of digits
        return None
    return max(at - now, timedelta(0)) if at.tzinfo is not None else None
