"""Which artifacts a run of GitHub Actions has.

They belong to the run, and to none of its jobs: an artifact's name is what a job's would be, and its time says which
attempt wrote it. An artifact's archive is asked for at the API, and comes from a storage elsewhere.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from k2alert.collect.artifacts import Archive, FinishedRun, Steps, is_chosen
from k2alert.collect.flow import Ask, Failure, Request
from k2alert.collect.github_parse import read_page
from k2alert.model import Execution, Project
from k2alert.times import parse_instant

__all__ = ["list_archives"]

_PAGE = 100
_MOST_PAGES = 10  # GitHub allows 500 artifacts a job; whose names are chosen fit


def list_archives(ask: Ask, project: Project, run: FinishedRun) -> Steps[Sequence[Archive] | Failure]:
    """The archives of a run, without those that have expired; none where GitHub has the run no longer."""
    root = f"/repos/{project.path}/actions"
    found: list[Archive] = []
    number: int | None = 1
    while number is not None and number <= _MOST_PAGES:
        params = (("per_page", str(_PAGE)), ("page", str(number)))
        path = f"{root}/runs/{quote(run.id, safe='')}/artifacts"
        answer = yield Request(path, params, kind="artifact_list")
        if answer is None or isinstance(answer, Failure):
            failure = answer or Failure("client", "no answer")
            return () if failure.reason == "not_found" else failure
        page = read_page(answer, "artifacts", number)
        if page is None:
            return Failure("body", "the list of artifacts is not what it should be")
        archives = (_archive(item, root, project, run) for item in page.items)
        found += [one for one in archives if one is not None and is_chosen(one.by, ask)]
        number = page.next
    return found


def _archive(item: Any, root: str, project: Project, run: FinishedRun) -> Archive | None:
    if not isinstance(item, Mapping) or item.get("expired") is True:
        return None
    number, name, size = item.get("id"), item.get("name"), item.get("size_in_bytes")
    created = _instant(item.get("created_at"))
    if created is None or not isinstance(number, int) or not (isinstance(name, str) and name):
        return None
    by = Execution(
        source=project.source,
        project=project.path,
        run=run.id,
        attempt=run.attempt_at(created),
        name=name,
        job=name,
        finished_at=created,
    )
    return Archive(str(number), f"{root}/artifacts/{number}/zip", size if isinstance(size, int) else 0, by)


def _instant(value: Any) -> datetime | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
