"""Real CI histories as files, and as forges that tell them: JSON lines come in, a stand-in's application goes out.

The files are those of the shared data (its README says whose they are). A GitHub history becomes one repository for
each project it names, a GitLab history one project; what the stand-in shows of a run is what the line says of it.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from aiohttp import web

from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from k2alert.times import parse_instant
from tests.support.github_standin import StandinGitHub, StandinRepository, standin_from_row

__all__ = ["HISTORIES", "History", "Row", "make_app", "read_history"]

Row = Mapping[str, Any]
"""One line of a history: one run."""

HISTORIES: Mapping[str, str] = {
    "bitcoin": "github_bitcoin",
    "ratis": "github_apache_ratis",
    "ozone": "github_apache_ozone_to_2021-06",
    "datadog": "gitlab_datadog_agent",
}
"""The histories there are, and the names of their files."""


@dataclass(frozen=True)
class History:
    """All runs of one file. `forge` is the kind of forge that they ran on."""

    name: str
    forge: str
    rows: tuple[Row, ...]

    @cached_property
    def projects(self) -> tuple[str, ...]:
        """The projects it names; Ozone's was renamed in between, and GitHub listed its runs under both names."""
        return tuple(dict.fromkeys(row["project"] for row in self.rows))

    @property
    def default_branch(self) -> str:
        """The default branch of its projects, as their forge said at that time."""
        return "main" if self.forge == "gitlab" else "master"

    @cached_property
    def begins(self) -> datetime:
        """When its first run was created."""
        return min(parse_instant(row["created_at"]) for row in self.rows)

    @cached_property
    def ends(self) -> datetime:
        """A second after the last that it says of any run."""
        told = [row[key] for row in self.rows for key in ("updated_at", "finished_at") if row[key]]
        return max(parse_instant(at) for at in told).replace(microsecond=0) + timedelta(seconds=1)


def read_history(data: Path, name: str) -> History:
    """The history of this name in the shared data."""
    file = HISTORIES[name]
    lines = gzip.decompress((data / f"pipelines/{file}.jsonl.gz").read_bytes()).splitlines()
    return History(name, file.partition("_")[0], tuple(json.loads(line) for line in lines))


def make_app(history: History, clock: Callable[[], datetime], *, graphql: bool = True) -> web.Application:
    """The forge that tells this history up to `clock()`; `graphql` off makes a GitLab that has only REST."""
    if history.forge == "github":
        return StandinGitHub(clock, [_repository(history, project) for project in history.projects]).make_app()
    gitlab = StandinGitLab(clock, graphql=graphql)
    for project in history.projects:
        gitlab.add_project(project, default_branch=history.default_branch)
        gitlab.put(project, *(_pipeline(row) for row in history.rows if row["project"] == project))
    return gitlab.app()


def _repository(history: History, project: str) -> StandinRepository:
    rows = [row for row in history.rows if row["project"] == project]
    return StandinRepository(
        project,
        [standin_from_row(row) for row in rows],
        id=1 + history.projects.index(project),
        default_branch=history.default_branch,
        branches={row["ref"] for row in rows},
    )


def _pipeline(row: Row) -> StandinPipeline:
    """GitLab's start is not in the file; it waited `queued_s` for it. The duration is GitLab's own, without gaps."""
    created_at = parse_instant(row["created_at"])
    return StandinPipeline(
        id=row["id"],
        created_at=created_at,
        started_at=created_at + timedelta(seconds=row["queued_s"]),
        finished_at=parse_instant(row["finished_at"]) if row["finished_at"] else None,
        changed_at=parse_instant(row["updated_at"]),
        status=row["status"],
        ref=row["ref"],
        source=row["event"],
        duration=None if row["duration_s"] is None else int(row["duration_s"]),
    )
