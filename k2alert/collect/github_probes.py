"""What a GitHub token may read: the requests that tell, and what needs them.

The rate limit costs nothing to ask, and its headers name the scopes of a classic token and the end of any:
https://docs.github.com/en/rest/rate-limit/rate-limit
"""

from collections.abc import Mapping
from typing import Any

from k2alert.collect.flow import Probe, Request, Response
from k2alert.collect.github_parse import is_repository

__all__ = ["TOKEN", "probe_repository"]

_ONE = (("per_page", "1"),)


def _read_token(answer: Response) -> str:
    """Scopes and end where GitHub says them, and the limit."""
    scopes, ends = answer.headers.get("x-oauth-scopes"), answer.headers.get("github-authentication-token-expiration")
    data: Mapping[str, Any] = answer.data if isinstance(answer.data, Mapping) else {}
    rate = data.get("rate")
    limit, left = (rate.get("limit"), rate.get("remaining")) if isinstance(rate, Mapping) else (None, None)
    said = [f"scopes {scopes}"] if scopes else []
    said += [f"expires {ends}"] if ends else []
    return "; ".join([*said, *([f"{left} of {limit} requests left"] if limit is not None else [])])


TOKEN = (Probe("token", Request("/rate_limit", kind="probe"), read=_read_token),)


def probe_repository(key: str) -> tuple[Probe, ...]:
    """The repository itself, its runs, and all else that some metric needs."""
    api = f"/repos/{key}" if is_repository(key) else "/repos/-/-"

    def ask(what: str, path: str, *, needed: bool = False, why: str = "") -> Probe:
        return Probe(what, Request(api + path, _ONE if path else (), kind="probe"), needed, why)

    return (
        ask("project", "", needed=True),
        ask("runs", "/actions/runs", needed=True),
        ask("deployments", "/deployments", why="metrics of deployments"),
        ask("contents", "/contents/.github/workflows", why="schedule_overdue_minutes, and which refs are tags"),
    )
