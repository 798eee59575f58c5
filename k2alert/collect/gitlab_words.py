"""GraphQL's pipelines, jobs and test summaries in the words of REST v4: their meaning is read in one place only."""

from collections.abc import Mapping
from typing import Any

from k2alert.collect.gitlab_parse import id_of, text

__all__ = ["connection", "job_words", "pipeline_words"]


def connection(value: Any) -> tuple[list[Any] | None, Mapping[str, Any]]:
    """The nodes of a connection, None where there are none, and what is said of its page."""
    fields = value if isinstance(value, Mapping) else {}
    nodes, info = fields.get("nodes"), fields.get("pageInfo")
    return nodes if isinstance(nodes, list) else None, info if isinstance(info, Mapping) else {}


def pipeline_words(node: Mapping[str, Any], web_url: str) -> dict[str, Any]:
    """A pipeline in REST's words. Its `ref` names a merge request as REST does; only `refPath` tells tags apart."""
    number = id_of(node)
    return {
        "id": number,
        "iid": node.get("iid"),
        "name": node.get("name"),
        "status": text(node, "status").lower(),
        "ref": node.get("ref"),
        "tag": text(node, "refPath").startswith("refs/tags/"),
        "sha": node.get("sha"),
        "source": text(node, "source").lower(),
        "created_at": node.get("createdAt"),
        "updated_at": node.get("updatedAt"),
        "started_at": node.get("startedAt"),
        "finished_at": node.get("finishedAt"),
        "duration": node.get("duration"),
        "queued_duration": node.get("queuedDuration"),
        "web_url": f"{web_url}/-/pipelines/{number}" if web_url else "",
        "coverage": node.get("coverage"),
        "test_report_summary": _summary_words(node.get("testReportSummary")),
    }


def _summary_words(summary: Any) -> dict[str, Any] | None:
    """The summary of a pipeline's tests; None where it is not all there."""
    nodes, info = connection(summary.get("testSuites") if isinstance(summary, Mapping) else None)
    if nodes is None or info.get("hasNextPage") is True:
        return None
    suites = [node for node in nodes if isinstance(node, Mapping)]
    return {"test_suites": [{word: suite.get(name) for name, word in _SUITE.items()} for suite in suites]}


_SUITE = {
    "name": "name",
    "totalTime": "total_time",
    "totalCount": "total_count",
    "failedCount": "failed_count",
    "skippedCount": "skipped_count",
    "errorCount": "error_count",
    "buildIds": "build_ids",
}


def job_words(node: Any, web_url: str) -> dict[str, Any] | None:
    """A job in REST's words; None for a trigger job (a bridge), which REST lists elsewhere."""
    fields = node if isinstance(node, Mapping) else {}
    if text(fields, "kind").upper() == "BRIDGE":
        return None
    number, stage = id_of(fields), fields.get("stage")
    return {
        "id": number,
        "name": fields.get("name"),
        "status": text(fields, "status").lower(),
        "stage": stage.get("name") if isinstance(stage, Mapping) else "",
        "allow_failure": fields.get("allowFailure"),
        "created_at": fields.get("createdAt"),
        "started_at": fields.get("startedAt"),
        "finished_at": fields.get("finishedAt"),
        "duration": fields.get("duration"),
        "queued_duration": fields.get("queuedDuration"),
        "tag_list": fields.get("tags"),
        "web_url": f"{web_url}/-/jobs/{number}" if web_url else "",
    }
