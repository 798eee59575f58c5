"""How much may be asked of a forge, learned from its answers, so that its limits are kept before they are hit.

What answers say of limits comes in, seconds to wait come out; time is an argument, in seconds of a clock that only goes
forward. Everybody who asks one host with one token shares one `Budget`, as the forge counts them together.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from k2alert.collect.answers import is_number, rate_limit_remaining, until_reset

__all__ = ["Allowance", "Budget", "Pace", "read_allowance"]

_MINUTE = 60.0
_KEPT = 50  # one part in so many of a limit is left to those who share the token: people, pipelines, other tools
_SCARCE = 5  # from one part in so many on, what is left is spread over the time that is left
_WIDEST = 10.0  # seconds between two requests that are spread; slower than that no look would ever end


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit of a forge: `remaining` more requests of `limit` (0: not said) for the `seconds` to come."""

    name: str
    remaining: int
    limit: int
    seconds: float

    @property
    def kept(self) -> int:
        """How many are left to others: 2 % of the limit, at least one."""
        return max(1, self.limit // _KEPT)


def read_allowance(headers: Mapping[str, str], *, now: datetime) -> Allowance | None:
    """What an answer says of the limit it counted against; None where the forge has none, or does not say.

    GitHub: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit
    GitLab: https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
    """
    remaining, wait = rate_limit_remaining(headers), until_reset(headers, now=now)
    if remaining is None or wait is None:
        return None
    limit = headers.get("x-ratelimit-limit") or headers.get("ratelimit-limit") or ""
    name = headers.get("x-ratelimit-resource") or headers.get("ratelimit-name") or ""
    return Allowance(name, remaining, int(limit) if is_number(limit) else 0, wait / timedelta(seconds=1))


class Pace:
    """At most so many requests in any minute."""

    def __init__(self, per_minute: int | None) -> None:
        self._starts: deque[float] | None = deque(maxlen=per_minute) if per_minute else None

    def reserve(self, at: float) -> float:
        """Takes the next place in the row; how many seconds after `at` it is."""
        if self._starts is None:
            return 0.0
        full = len(self._starts) == self._starts.maxlen
        start = max(at, self._starts[0] + _MINUTE) if full else at
        self._starts.append(start)
        return start - at


class Budget:
    """What one host allows one token: nothing during a pause, and the last part of a limit slowly.

    A limit of which less than a fifth is left is spread over the rest of its period; its last 2 % are not touched.
    """

    def __init__(self) -> None:
        self._paused_until = -inf
        self._limits: dict[str, tuple[Allowance, float]] = {}  # by name, with the instant at which each starts anew
        self._next = -inf

    def learn(self, allowance: Allowance, at: float) -> None:
        """Takes note of what an answer at `at` said; answers may overtake each other."""
        until = at + allowance.seconds
        known = self._limits.get(allowance.name)
        same_period = known is not None and abs(known[1] - until) <= max(2.0, allowance.seconds / 10)
        if known is not None and same_period and known[0].remaining < allowance.remaining:
            return
        self._limits[allowance.name] = allowance, until

    def pause(self, at: float, seconds: float) -> None:
        """Nothing is to be asked for so many seconds from `at` on."""
        self._paused_until = max(self._paused_until, at + seconds)

    def paused(self, at: float) -> float:
        """For how many seconds from `at` on nothing may be asked."""
        used_up = [until for allowance, until in self._limits.values() if allowance.remaining <= allowance.kept]
        return max(0.0, max([self._paused_until, *used_up]) - at)

    def is_scarce(self, at: float) -> bool:
        """Whether less than half of some limit is left for the rest of its period."""
        return any(
            2 * allowance.remaining < allowance.limit and at < until for allowance, until in self._limits.values()
        )

    def reserve(self, at: float) -> float:
        """Takes the next place in the row; how many seconds after `at` it is."""
        start = max(at, self._next)
        self._next = start + max([_gap(allowance, until - at) for allowance, until in self._limits.values()], default=0)
        return start - at


def _gap(allowance: Allowance, seconds: float) -> float:
    """Seconds between two requests, so that what is left lasts for so many seconds."""
    spare = allowance.remaining - allowance.kept
    if seconds <= 0 or spare <= 0 or allowance.remaining * _SCARCE > allowance.limit:
        return 0.0
    return min(seconds / spare, _WIDEST)
