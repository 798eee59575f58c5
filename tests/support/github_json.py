"""Runs and jobs as GitHub's JSON has them, for tests that name only what they are about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from k2alert.times import iso

T0 = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(minutes: float) -> str:
    return iso(T0 + timedelta(minutes=minutes))


def run_json(**fields: Any) -> dict[str, Any]:
    """A run that took ten minutes from T0 on."""
    return {
        "id": 1,
        "run_number": 7,
        "run_attempt": 1,
        "name": "CI",
        "event": "push",
        "head_branch": "main",
        "head_sha": "c0ffee",
        "display_title": "Make it work",
        "html_url": "https://github.com/k2/app/actions/runs/1",
        "status": "completed",
        "conclusion": "success",
        "created_at": at(0),
        "run_started_at": at(0),
        "updated_at": at(10),
        "pull_requests": [],
        "repository": {"id": 100},
        "head_repository": {"id": 100, "owner": {"login": "k2"}},
        **fields,
    }


def job_json(name: str = "test", start: float = 1, end: float = 9, **fields: Any) -> dict[str, Any]:
    """A job of the first attempt, from `start` to `end` minutes after T0."""
    return {
        "id": 2,
        "name": name,
        "run_attempt": 1,
        "status": "completed",
        "conclusion": "success",
        "created_at": at(0),
        "started_at": at(start),
        "completed_at": at(end),
        "labels": ["ubuntu-latest"],
        "html_url": "https://github.com/k2/app/actions/runs/1/job/2",
        **fields,
    }
