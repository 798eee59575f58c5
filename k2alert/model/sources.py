"""Sources as people look at them: how reading each goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from k2alert.model.facts import Project, ProjectState

__all__ = ["SourceStatus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One source: its projects with their states, and what was asked of it since this process began.

    `requests` are counted by HTTP status or by what came instead of one. `remaining` is how many more the forge allows,
    as it last said (None: it does not say), `success_at` when a look last reached its end.
    """

    name: str
    type: str
    url: str
    projects: tuple[tuple[Project, ProjectState], ...] = ()
    requests: Mapping[str, int] = field(default_factory=dict)
    remaining: int | None = None
    success_at: datetime | None = None
