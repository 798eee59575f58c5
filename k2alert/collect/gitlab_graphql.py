"""Reads a project's pipelines over GraphQL: twenty with all their jobs in one request.

Answers are brought into REST's words and read by `gitlab_parse`. REST is still asked for the jobs of pipelines that
failed (GraphQL tells a failure's reason as a sentence, in the user's language, and not as a code) and of those with
more jobs than one answer holds. Where GraphQL cannot be used, reading ends with `Refused`, and REST takes over.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k2alert.collect.flow import Answer, Failure, Request
from k2alert.collect.gitlab_parse import id_of, text, title_of
from k2alert.collect.gitlab_reading import Reading, Steps, fetch
from k2alert.collect.gitlab_rest import read_jobs, unless_gone
from k2alert.model import PipelineRun

# About 90 of the 250 points of complexity that a query may cost; what limits it is the 30 s it may take.
_PAGE = 20

# Fields without which the facts are only poorer. Any other that an instance does not know changes what they mean
# (without `refPath` a tag looks like a branch): such an instance is read over REST.
_OPTIONAL = frozenset({"PipelineConnection.count", "Pipeline.name", "Pipeline.queuedDuration", "CiJob.queuedDuration"})
_PIPELINE = (
    *("id", "iid", "name", "status", "ref", "refPath", "sha", "source"),
    *("createdAt", "updatedAt", "startedAt", "finishedAt", "duration", "queuedDuration"),
)
_JOB = (
    *("id", "name", "status", "kind", "allowFailure", "tags"),
    *("createdAt", "startedAt", "finishedAt", "duration", "queuedDuration"),
)

_UNKNOWN_FIELD = re.compile(r"Field '(\w+)' doesn't exist on type '(\w+)'")
_TOO_MUCH = re.compile(r"complexity|time(?:d )?out", re.IGNORECASE)
_TOO_SLOW = (500, 504)  # what GitLab and the proxy before it answer when a query takes too long


@dataclass(frozen=True, slots=True)
class Refused:
    """GraphQL cannot be used. `lasting`: not for this look only, as far as one can tell; `tires`: it is too slow."""

    why: str
    lasting: bool = True
    tires: bool = False


def read_graphql(reading: Reading) -> Steps[Failure | Refused | None]:
    """Everything that changed since `Ask.since`, then the runs still running whose jobs may have moved on."""
    query = _Query(reading.memory)
    ended = yield from _read_listing(reading, query, {"since": reading.since})
    if ended is None and reading.leaves_running:
        ended = yield from _read_listing(reading, query, {"status": "RUNNING"})
    return ended


def write_query(dropped: frozenset[str] = frozenset()) -> str:
    """The query, without the optional fields (`Type.field`) that an older instance does not know."""
    count = "" if "PipelineConnection.count" in dropped else "count @include(if: $counted)"
    pipeline = " ".join(name for name in _PIPELINE if f"Pipeline.{name}" not in dropped)
    job = " ".join(name for name in _JOB if f"CiJob.{name}" not in dropped)
    return (
        "query K2Pipelines($path: ID!, $since: Time, $status: PipelineStatusEnum, $first: Int!, $after: String,"
        " $counted: Boolean!) { project(fullPath: $path) { id fullPath webUrl repository { rootRef }"
        " pipelines(updatedAfter: $since, status: $status, first: $first, after: $after) {"
        f" {count} pageInfo {{ hasNextPage endCursor }} nodes {{ {pipeline}"
        f" jobs(first: 100) {{ pageInfo {{ hasNextPage }} nodes {{ {job} stage {{ name }} }} }} }} }} }} }}"
    )


@dataclass(slots=True)
class _Query:
    """The query as far as this instance has taught us to ask it."""

    memory: dict[str, Any]
    first: int = _PAGE

    @property
    def dropped(self) -> frozenset[str]:
        return frozenset(self.memory.get("graphql_dropped", ()))

    def drop(self, names: frozenset[str]) -> None:
        """Leaves these fields out from now on, in later looks too."""
        self.memory["graphql_dropped"] = tuple(sorted(self.dropped | names))

    def shrinks(self) -> bool:
        """Halves the page, and says whether that was possible."""
        self.first, before = max(self.first // 2, 1), self.first
        return self.first < before


@dataclass(frozen=True, slots=True)
class _Page:
    nodes: Sequence[Any]
    after: str | None  # the cursor of the page behind it


@dataclass(frozen=True, slots=True)
class _TooMuch:
    why: str


@dataclass(frozen=True, slots=True)
class _Unknown:
    fields: frozenset[str]


def _read_listing(reading: Reading, query: _Query, condition: Mapping[str, str]) -> Steps[Failure | Refused | None]:
    after: str | None = None
    met: set[str] = set()
    while True:
        project = yield from _fetch_project(reading, query, condition, after)
        if isinstance(project, Failure | Refused):
            return project
        _name_project(reading, project)
        page = _as_page(project, met)
        if isinstance(page, Refused):
            return page
        if reading.total is None:
            reading.total = _count(project)
        failure = yield from _read_nodes(reading, page.nodes)
        if failure is not None or page.after is None:
            return failure
        after = page.after
        met.add(after)


def _fetch_project(
    reading: Reading, query: _Query, condition: Mapping[str, str], after: str | None
) -> Steps[Mapping[str, Any] | Failure | Refused]:
    """The answer's project, after as many tries with less as it takes: each asks for less, so they end."""
    while True:
        variables = {"path": reading.project.path, "first": query.first, "after": after}
        variables |= {"counted": reading.ask.first and after is None, **condition}
        body = {"query": write_query(query.dropped), "variables": variables}
        heard = _hear((yield from fetch(Request("/graphql", body=body, kind="graphql"))))
        if isinstance(heard, _TooMuch):
            if not query.shrinks():
                return Refused(heard.why, lasting=False, tires=True)
        elif isinstance(heard, _Unknown):
            if heard.fields <= query.dropped or not heard.fields <= _OPTIONAL:
                return Refused(f"this instance does not know {', '.join(sorted(heard.fields))}")
            query.drop(heard.fields)
        else:
            return heard


def _hear(answer: Answer) -> Mapping[str, Any] | Failure | Refused | _TooMuch | _Unknown:
    if isinstance(answer, Failure):
        return _hear_failure(answer)
    data = answer.data if isinstance(answer.data, Mapping) else {}
    errors = data.get("errors")
    if errors:
        return _hear_errors(errors if isinstance(errors, list) else [errors])
    inner = data.get("data")
    if not isinstance(inner, Mapping) or "project" not in inner:
        return Refused("the answer is not GraphQL's")
    project = inner["project"]
    # One project that GraphQL does not show (moved, or not ours to see) says nothing about the others.
    return project if isinstance(project, Mapping) else Refused("no such project", lasting=False)


def _hear_failure(failure: Failure) -> Failure | Refused | _TooMuch:
    if failure.reason == "timeout" or failure.status in _TOO_SLOW:
        return _TooMuch(failure.detail)
    if failure.reason in ("forbidden", "not_found", "body", "client"):
        return Refused(failure.detail)
    return failure


def _hear_errors(errors: Sequence[Any]) -> Refused | _TooMuch | _Unknown:
    """GraphQL's errors come with a 200."""
    messages = [text(error, "message") if isinstance(error, Mapping) else "" for error in errors]
    unknown = [_UNKNOWN_FIELD.match(message) for message in messages]
    if all(unknown):
        return _Unknown(frozenset(f"{found[2]}.{found[1]}" for found in unknown if found))
    if any(_TOO_MUCH.search(message) for message in messages):
        return _TooMuch(messages[0])
    return Refused(messages[0] or "errors without a message")


def _name_project(reading: Reading, project: Mapping[str, Any]) -> None:
    repository = project.get("repository")  # null where the token may not read code
    reading.name_project(
        path=text(project, "fullPath"),
        forge_id=id_of(project),
        default_branch=text(repository, "rootRef") if isinstance(repository, Mapping) else "",
        web_url=text(project, "webUrl"),
    )


def _as_page(project: Mapping[str, Any], met: Collection[str]) -> _Page | Refused:
    nodes, info = _connection(project.get("pipelines"))
    if nodes is None:
        return Refused("no pipelines in the answer", lasting=False)
    if info.get("hasNextPage") is not True:
        return _Page(nodes, None)
    cursor = info.get("endCursor")
    if not isinstance(cursor, str) or not cursor or cursor in met:
        return Refused("a page without an end", lasting=False)
    return _Page(nodes, cursor)


def _connection(value: Any) -> tuple[list[Any] | None, Mapping[str, Any]]:
    fields = value if isinstance(value, Mapping) else {}
    nodes, info = fields.get("nodes"), fields.get("pageInfo")
    return nodes if isinstance(nodes, list) else None, info if isinstance(info, Mapping) else {}


def _count(project: Mapping[str, Any]) -> int | None:
    count = project["pipelines"].get("count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _read_nodes(reading: Reading, nodes: Sequence[Any]) -> Steps[Failure | None]:
    runs = []
    failure = None
    for node in nodes:
        item = _pipeline_words(node if isinstance(node, Mapping) else {}, reading.project.web_url)
        if not reading.takes(item):
            continue
        run = yield from _read_run(reading, node, item)
        if isinstance(run, Failure):
            failure = run
            break
        if run is not None:
            runs.append(run)
    yield reading.batch(runs)
    return failure


def _read_run(
    reading: Reading, node: Mapping[str, Any], item: Mapping[str, Any]
) -> Steps[PipelineRun | Failure | None]:
    nodes, info = _connection(node.get("jobs"))
    if nodes is not None and item["status"] != "failed" and info.get("hasNextPage") is not True:
        words = (_job_words(job, reading.project.web_url) for job in nodes)
        return reading.make_run(item, [job for job in words if job is not None])
    jobs = yield from read_jobs(reading, id_of(item))
    if isinstance(jobs, Failure):
        return (yield from unless_gone(reading, jobs))
    return reading.make_run(item, jobs, title=title_of(jobs))


def _pipeline_words(node: Mapping[str, Any], web_url: str) -> dict[str, Any]:
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
    }


def _job_words(node: Any, web_url: str) -> dict[str, Any] | None:
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
