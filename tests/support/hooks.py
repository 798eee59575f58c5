"""Webhooks as the forges send them: of the stand-in GitLab's pipelines, and of GitHub's runs and jobs."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from k2alert.model import HookEvent
from k2alert.rehearse.gitlab_standin_json import StandinPipeline, StandinProject, as_detail, as_job
from k2alert.times import parse_instant
from tests.support.fake_time import T0

__all__ = [
    "github_deployment",
    "gitlab_deployment",
    "gitlab_payload",
    "hook",
    "job_hook",
    "run_hook",
    "sign_github",
    "sign_standard",
]

REPOSITORY = {"id": 7, "full_name": "k2/app", "default_branch": "main", "private": True}
_BUILD = (
    "id", "stage", "name", "status", "created_at", "started_at", "finished_at", "duration", "queued_duration",
    "failure_reason", "allow_failure",
)  # fmt: skip


def gitlab_payload(
    project: StandinProject, pipeline: StandinPipeline, now: datetime, url: str = "https://gitlab.test"
) -> dict[str, Any]:
    """The `Pipeline Hook` of a pipeline as it is now, with the latest execution of each job."""
    detail = as_detail(project, pipeline, now, url)
    latest = {job.name: job for job in sorted(pipeline.jobs, key=lambda job: job.id) if job.created_at <= now}
    wanted = ("id", "iid", "name", "ref", "tag", "sha", "source", "status", "duration", "queued_duration")
    number = pipeline.ref.split("/")[2] if pipeline.ref.startswith("refs/merge-requests/") else None
    return {
        "object_kind": "pipeline",
        "object_attributes": {
            **{key: detail[key] for key in wanted},
            "ref": "feature" if number else pipeline.ref,
            "created_at": spaced(detail["created_at"]),
            "finished_at": spaced(detail["finished_at"]),
            "variables": [{"key": "PASSWORD", "value": "secret-of-a-pipeline"}],
        },
        "merge_request": {"iid": int(number), "source_branch": "feature"} if number else None,
        "user": {"name": "Ada", "email": "ada@example.com"},
        "project": {
            "id": project.id,
            "path_with_namespace": project.path,
            "web_url": f"{url}/{project.path}",
            "default_branch": project.default_branch,
        },
        "commit": {"id": pipeline.sha, "title": pipeline.title, "message": f"{pipeline.title}\n\nAt length.\n"},
        "builds": [_build(as_job(project, pipeline, job, now, url)) for job in latest.values()],
    }


def gitlab_deployment(number: int = 15) -> dict[str, Any]:
    """A `Deployment Hook` of the project 7."""
    return {
        "object_kind": "deployment",
        "status": "success",
        "status_changed_at": "2026-01-05 12:00:00 +0000",
        "deployment_id": number,
        "deployable_id": 796,
        "environment": "staging",
        "project": {"id": 7, "path_with_namespace": "k2/app", "default_branch": "main"},
        "user": {"name": "Ada", "email": "ada@example.com"},
    }


def github_deployment(number: int = 15) -> dict[str, Any]:
    """A `deployment_status` of the repository 7."""
    return {
        "action": "created",
        "deployment_status": {"id": 1, "state": "success"},
        "deployment": {"id": number, "environment": "staging"},
        "repository": REPOSITORY,
        "sender": {"login": "ada"},
    }


def _build(job: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: job[key] for key in _BUILD if key in job}
    runner = {"id": 1, "tags": ["of", "the", "runner"]}
    return kept | {key: spaced(job[key]) for key in ("created_at", "started_at", "finished_at")} | {"runner": runner}


def spaced(at: str | None) -> str | None:
    """An ISO time as GitLab's webhooks write it."""
    return None if at is None else parse_instant(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def run_hook(run: Mapping[str, Any], action: str = "completed") -> dict[str, Any]:
    """GitHub's `workflow_run`."""
    return {"action": action, "workflow_run": dict(run), "repository": REPOSITORY, "sender": {"login": "ada"}}


def job_hook(job: Mapping[str, Any], run_id: int, action: str = "completed") -> dict[str, Any]:
    """GitHub's `workflow_job`."""
    return {"action": action, "workflow_job": {**job, "run_id": run_id}, "repository": REPOSITORY}


def sign_github(body: bytes, secret: str) -> dict[str, str]:
    """The headers with which GitHub signs a body."""
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def sign_standard(body: bytes, secret: str, at: datetime, delivery: str = "d-1") -> dict[str, str]:
    """The headers of Standard Webhooks, with a `whsec_` secret."""
    stamp = str(int(at.timestamp()))
    key = b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{b64encode(signed).decode()}"
    return {"webhook-id": delivery, "webhook-timestamp": stamp, "webhook-signature": signature}


def hook(told: tuple[str, str, Mapping[str, Any]] | None, *, source: str = "s", number: int = 1) -> HookEvent:
    """The event that a payload became, after its way through the store's JSON."""
    assert told is not None
    project, run, body = told
    return HookEvent(
        source=source,
        delivery=f"d-{number}",
        project=project,
        run=run,
        received_at=T0,
        body=json.loads(json.dumps(body)),
        id=number,
    )
