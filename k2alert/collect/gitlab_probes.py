"""What a GitLab token may read: the requests that tell, and what needs them.

https://docs.gitlab.com/api/personal_access_tokens/#get-details-on-a-personal-access-token answers for project and group
access tokens too; job and OAuth tokens get a 401 or 404 there, which says nothing of what they may read.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from k2alert.collect.flow import Probe, Request, Response

__all__ = ["TOKEN", "probe_project"]

_ONE = (("per_page", "1"),)


def _read_token(answer: Response) -> str:
    """Scopes and end, as far as GitLab says them."""
    token: Mapping[str, Any] = answer.data if isinstance(answer.data, Mapping) else {}
    scopes, ends = token.get("scopes"), token.get("expires_at")
    said = [f"scopes {', '.join(map(str, scopes))}"] if isinstance(scopes, list) and scopes else []
    return "; ".join([*said, f"expires {ends}" if isinstance(ends, str) else "never expires"])


TOKEN = (Probe("token", Request("/v4/personal_access_tokens/self", kind="probe"), read=_read_token),)


def probe_project(key: str) -> tuple[Probe, ...]:
    """The project itself, its pipelines, and all else that some metric needs."""
    api = f"/v4/projects/{quote(key, safe='')}"

    def ask(what: str, path: str, *, needed: bool = False, why: str = "") -> Probe:
        return Probe(what, Request(api + path, _ONE if path else (), kind="probe"), needed, why)

    return (
        ask("project", "", needed=True),
        ask("pipelines", "/pipelines", needed=True),
        ask("jobs", "/jobs", why="metrics of jobs, and why a pipeline failed"),
        ask("deployments", "/deployments", why="metrics of deployments"),
        ask("schedules", "/pipeline_schedules", why="schedule_overdue_minutes"),
    )
