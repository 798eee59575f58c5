"""Explanations as values that become JSON, the same from the command and from the API."""

from datetime import datetime
from typing import Any

from k2alert.explain.explanation import Explanation, Explanations, Figure, Hearing, Reason
from k2alert.judge.clauses import Clause
from k2alert.model import DeploymentEvidence, Evidence, RunEvidence, Telling, TestEvidence
from k2alert.notify.text import safe_url
from k2alert.times import iso

__all__ = ["as_json"]


def as_json(answer: Explanations) -> dict[str, Any]:
    """`{"explanations": […], "more": n}`; `more` counts label sets beyond those explained."""
    return {"explanations": [_one(one) for one in answer.found], "more": answer.more}


def _one(one: Explanation) -> dict[str, Any]:
    return {
        "rule": one.rule.name,
        "labels": dict(one.target.labels),
        "at": iso(one.at),
        "state": one.state.value if one.state is not None else None,
        "since": _time(one.since),
        "why": _reason(one.reason),
        "condition": one.rule.condition.text,
        "period": one.rule.period,
        "truth": one.finding.truth.value,
        "threshold": one.finding.threshold,
        "tree": _clause(one.clause),
        "clear": _clause(one.clear) if one.clear is not None else None,
        "values": [_figure(figure) for figure in one.figures],
        "quiet": [_reason(reason) for reason in one.quiet],
        "heard": [_hearing(hearing) for hearing in one.hearings],
        "told": [_telling(told) for told in one.told] if one.told is not None else None,
        "message": one.message,
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "text": reason.text}


def _time(at: datetime | None) -> str | None:
    return iso(at) if at is not None else None


def _clause(clause: Clause) -> dict[str, Any]:
    found: dict[str, Any] = {"text": clause.text, "value": clause.value, "reached": clause.reached}
    return found | ({"parts": [_clause(part) for part in clause.parts]} if clause.parts else {})


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.text,
        "metric": figure.metric,
        "value": figure.value,
        "shown": figure.shown,
        "window": figure.window,
        "samples": figure.samples,
        "needed": figure.needed,
        "missing": _reason(figure.missing) if figure.missing is not None else None,
        "evidence": _evidence(figure.evidence),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    first, last = evidence.first_failing, evidence.last_green
    return {
        "faults": evidence.faults,
        "samples": evidence.samples,
        "runs": [_run(run) for run in evidence.runs],
        "tests": [_test(test) for test in evidence.tests],
        "deployments": [_deployment(deployment) for deployment in evidence.deployments],
        "firstFailing": _run(first) if first is not None else None,
        "lastGreen": _run(last) if last is not None else None,
        "compareUrl": safe_url(evidence.compare_url),
        "before": evidence.before,
        "owner": evidence.owner,
    }


def _run(run: RunEvidence) -> dict[str, Any]:
    return {
        "id": run.id,
        "result": run.result.value,
        "branch": run.branch,
        "workflow": run.workflow,
        "sha": run.sha,
        "title": run.title,
        "finishedAt": iso(run.finished_at),
        "url": safe_url(run.web_url),
        "jobs": [
            {
                "name": job.name,
                "stage": job.stage,
                "result": job.result.value,
                "reason": job.reason,
                "url": safe_url(job.web_url),
            }
            for job in run.jobs
        ],
    }


def _test(test: TestEvidence) -> dict[str, Any]:
    return {
        "suite": test.suite,
        "test": test.test,
        "job": test.job,
        "file": test.file,
        "message": test.message,
        "branch": test.branch,
        "sha": test.sha,
        "finishedAt": iso(test.finished_at),
        "url": safe_url(test.web_url),
    }


def _deployment(one: DeploymentEvidence) -> dict[str, Any]:
    return {
        "id": one.id,
        "environment": one.environment,
        "tier": one.tier,
        "result": one.result.value,
        "branch": one.branch,
        "sha": one.sha,
        "run": one.run_id,
        "finishedAt": iso(one.finished_at),
        "url": safe_url(one.web_url),
    }


def _hearing(hearing: Hearing) -> dict[str, Any]:
    return {
        "route": hearing.route or None,
        "receiver": hearing.receiver,
        "integration": hearing.integration or None,
        "why": _reason(hearing.reason),
        "messages": hearing.messages,
        "lastAt": _time(hearing.last_at),
        "error": hearing.error,
        "dueAt": _time(hearing.due_at),
        "due": hearing.due or None,
    }


def _telling(told: Telling) -> dict[str, Any]:
    return {
        "at": iso(told.at),
        "receiver": told.receiver,
        "integration": told.integration,
        "kind": told.kind,
        "total": told.total,
        "outcome": told.outcome.value,
        "error": told.error,
    }
