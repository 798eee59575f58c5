"""Where the status page shows what: the targets of links in messages, and of those on the page itself.

`base` is where the page is reached: `web.external_url` in a message, `.` or `..` from one page to another (so that a
proxy may put everything under a path of its own), "" for the path alone.
"""

from collections.abc import Iterable
from urllib.parse import quote, urlencode

__all__ = [
    "alert_url",
    "alerts_url",
    "flaky_url",
    "new_silence_url",
    "notifications_url",
    "rule_url",
    "silences_url",
    "sources_url",
]


def alerts_url(base: str, matchers: Iterable[str] = ()) -> str:
    """The alerts whose labels match, each matcher written as Alertmanager does; all of them without any."""
    query = urlencode([("filter", matcher) for matcher in matchers])
    return f"{_root(base)}/" + (f"?{query}" if query else "")


def alert_url(base: str, key: str) -> str:
    """One alert with its evidence, by `Alert.key`."""
    return f"{_root(base)}/alerts/{quote(key, safe='')}"


def rule_url(base: str, name: str, labels: Iterable[tuple[str, str]] = ()) -> str:
    """One rule with the history of its values; of those label sets that have these labels."""
    query = urlencode(list(labels), errors="replace")
    return f"{_root(base)}/rules/{quote(name, safe='', errors='replace')}" + (f"?{query}" if query else "")


def sources_url(base: str) -> str:
    """The sources: how reading them goes."""
    return f"{_root(base)}/sources"


def flaky_url(base: str) -> str:
    """The flaky tests, one by one."""
    return f"{_root(base)}/flaky"


def silences_url(base: str) -> str:
    """The silences, to be looked at and ended."""
    return f"{_root(base)}/silences"


def new_silence_url(base: str, key: str) -> str:
    """The form for a new silence, filled in for one alert, by `Alert.key`."""
    return f"{_root(base)}/silences/new?{urlencode({'alert': key})}"


def notifications_url(base: str, key: str = "") -> str:
    """What was sent to whom; of one alert, by `Alert.key`."""
    return f"{_root(base)}/notifications" + (f"?{urlencode({'alert': key})}" if key else "")


def _root(base: str) -> str:
    return base.rstrip("/")
