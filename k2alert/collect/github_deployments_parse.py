"""GitHub's deployments and their statuses in JSON, a `Deployment` out; nothing raises, whatever the JSON holds.

A deployment has no state of its own: its newest status has one. https://docs.github.com/en/rest/deployments
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from k2alert.collect.github_parse import dig, read_instant, read_number, read_text
from k2alert.collect.tiers import tier_named
from k2alert.model import Deployment, Project, RefType, Result, RunState

__all__ = ["SeenDeployment", "SeenStatus", "make_deployment", "read_deployment", "read_status"]

_RESULTS = {"success": Result.SUCCESS, "failure": Result.FAILURE, "error": Result.ERROR}
_STATES = {"in_progress": RunState.RUNNING, "waiting": RunState.BLOCKED}
_SUPERSEDED = "inactive"  # by a later one: it says nothing of how this one went
_RUN = re.compile(r"/actions/runs/(\d{1,18})(?:[/?#]|$)")
_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDeployment:
    """A deployment as GitHub lists it."""

    id: str
    environment: str
    tier: str
    sha: str
    ref: str
    created_at: datetime
    updated_at: datetime


class SeenStatus(NamedTuple):
    """One status of a deployment, and the workflow run whose log it names, "" where it names none."""

    state: str
    at: datetime
    run: str
    link: str


def read_deployment(data: Any) -> SeenDeployment | None:
    """One deployment, of a list or a webhook."""
    number, environment = read_number(dig(data, "id")), read_text(dig(data, "environment"))
    created_at = read_instant(dig(data, "created_at"))
    if number is None or created_at is None or not environment:
        return None
    return SeenDeployment(
        id=str(number),
        environment=environment,
        tier=_tier(data, environment),
        sha=read_text(dig(data, "sha")),
        ref=read_text(dig(data, "ref")),
        created_at=created_at,
        updated_at=read_instant(dig(data, "updated_at")) or created_at,
    )


def read_status(data: Any) -> SeenStatus | None:
    """One status of a deployment."""
    state, at = read_text(dig(data, "state")), read_instant(dig(data, "created_at"))
    if at is None or not state:
        return None
    link = read_text(dig(data, "log_url")) or read_text(dig(data, "target_url"))
    run = _RUN.search(link)
    return SeenStatus(state, at, run[1] if run else "", link)


def make_deployment(
    seen: SeenDeployment, statuses: Sequence[SeenStatus], project: Project, *, committed_at: datetime | None = None
) -> Deployment:
    """A deployment with all its statuses, in the order in which GitHub lists them: the newest first."""
    ordered = sorted(statuses, key=lambda status: status.at, reverse=True)
    state, result, finished_at = _outcome(ordered)
    return Deployment(
        source=project.source,
        project=project.path,
        id=seen.id,
        environment=seen.environment,
        tier=seen.tier,
        state=state,
        result=result,
        sha=seen.sha,
        run=next((status.run for status in ordered if status.run), ""),
        branch="" if _SHA.fullmatch(seen.ref) else seen.ref,
        ref_type=RefType.DEFAULT if seen.ref and seen.ref == project.default_branch else None,
        created_at=seen.created_at,
        finished_at=finished_at,
        committed_at=committed_at,
        web_url=next((status.link for status in ordered if status.link), ""),
        seen=max([seen.updated_at, *(status.at for status in ordered)]),
    )


def _outcome(statuses: Sequence[SeenStatus]) -> tuple[RunState, Result | None, datetime | None]:
    """How a deployment goes or went, and since when: a status that is told again changes nothing.

    One that was superseded before it came to anything brought nothing.
    """
    told = [status for status in statuses if status.state != _SUPERSEDED]
    if not told:
        return (RunState.FINISHED, Result.SKIP, statuses[-1].at) if statuses else (RunState.PENDING, None, None)
    first = list(takewhile(lambda status: status.state == told[0].state, told))[-1]
    result = _RESULTS.get(first.state)
    if result is not None:
        return RunState.FINISHED, result, first.at
    if len(told) < len(statuses):
        return RunState.FINISHED, Result.SKIP, statuses[0].at
    return _STATES.get(first.state, RunState.PENDING), None, None


def _tier(data: Any, environment: str) -> str:
    """GitHub has no tiers, but says which environments are for good and which are for a while."""
    if dig(data, "production_environment") is True:
        return "production"
    return "development" if dig(data, "transient_environment") is True else tier_named(environment)
