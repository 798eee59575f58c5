"""What GitLab's GraphQL is asked, and what its answers mean before anybody reads what they hold.

GraphQL answers with a 200 and a list of errors where other APIs have statuses; an old instance does not know every
field, and each query may only cost so much. Here is which of these can be asked differently, and which is an end.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k2alert.collect.answers import TOO_LARGE
from k2alert.collect.flow import Answer, Failure
from k2alert.collect.gitlab_parse import text

__all__ = [
    "Refused",
    "TooMuch",
    "Unknown",
    "drop",
    "dropped",
    "hear",
    "write_query",
    "write_scan",
]

# Fields without which the facts are only poorer. Any other that an instance does not know changes what they mean
# (without `refPath` a tag looks like a branch): such an instance is read over REST.
_OPTIONAL = frozenset(
    {"PipelineConnection.count", "Pipeline.name", "Pipeline.queuedDuration", "CiJob.queuedDuration"}
    | {"Query.queryComplexity", "QueryComplexity.score", "QueryComplexity.limit", "Pipeline.coverage"}
)
_SUMMARY = ("Pipeline.testReportSummary", "TestReportSummary.", "TestSuiteSummary.")  # REST has it too
_PIPELINE = (
    *("id", "iid", "name", "status", "ref", "refPath", "sha", "source"),
    *("createdAt", "updatedAt", "startedAt", "finishedAt", "duration", "queuedDuration", "coverage"),
)
_SUITE = "name totalTime totalCount failedCount skippedCount errorCount buildIds"
_JOB = (
    *("id", "name", "status", "kind", "allowFailure", "tags"),
    *("createdAt", "startedAt", "finishedAt", "duration", "queuedDuration"),
)
_PROJECT = "id fullPath webUrl repository { rootRef }"

_UNKNOWN_FIELD = re.compile(r"Field '(\w+)' doesn't exist on type '(\w+)'")
_TOO_MUCH = re.compile(r"complexity|time(?:d )?out", re.IGNORECASE)
_TOO_SLOW = (500, 504)  # what GitLab and the proxy before it answer when a query takes too long


@dataclass(frozen=True, slots=True)
class Refused:
    """GraphQL cannot be used. `lasting`: not for this look only, as far as one can tell; `tires`: it is too slow."""

    why: str
    lasting: bool = True
    tires: bool = False


@dataclass(frozen=True, slots=True)
class TooMuch:
    """The query costs too much, or takes too long: a smaller one may not."""

    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """This instance lacks these fields (`Type.field`); the query can be asked without them."""

    fields: frozenset[str]


def write_query(without: frozenset[str] = frozenset()) -> str:
    """The query of one project's pipelines, without the optional fields (`Type.field`) that an instance lacks."""
    count = "" if "PipelineConnection.count" in without else "count @include(if: $counted)"
    return (
        "query K2Pipelines($path: ID!, $since: Time, $status: PipelineStatusEnum, $first: Int!, $after: String,"
        f" $counted: Boolean!, $tests: Boolean!) {{ project(fullPath: $path) {{ {_PROJECT}"
        " pipelines(updatedAfter: $since, status: $status, first: $first, after: $after) {"
        f" {count} {_page(without)} }} }} }}"
    )


def write_scan(without: frozenset[str] = frozenset()) -> str:
    """The query of what changed in several projects, and of what runs there."""
    named = [name for name in ("score", "limit") if f"QueryComplexity.{name}" not in without]
    cost = f"queryComplexity {{ {' '.join(named)} }}" if named and "Query.queryComplexity" not in without else ""
    return (
        "query K2Scan($ids: [ID!], $projects: Int!, $since: Time, $first: Int!, $running: Boolean!, $tests: Boolean!) {"
        f" {cost} projects(ids: $ids, first: $projects) {{ nodes {{ {_PROJECT}"
        f" pipelines(updatedAfter: $since, first: $first) {{ {_page(without)} }}"
        " running: pipelines(status: RUNNING, first: $first) @include(if: $running) {"
        f" {_page(without, ended=False)} }} }} }} }}"
    )


def _page(without: frozenset[str], *, ended: bool = True) -> str:
    """A page of pipelines and their jobs; with the summary of their tests, unless none of them has `ended`."""
    pipeline = " ".join(name for name in _PIPELINE if f"Pipeline.{name}" not in without)
    job = " ".join(name for name in _JOB if f"CiJob.{name}" not in without)
    summary = (
        "testReportSummary @include(if: $tests) { testSuites(first: 50) { pageInfo { hasNextPage }"
        f" nodes {{ {_SUITE} }} }} }}"
    )
    tests = summary if ended and _SUMMARY[0] not in without else ""
    return (
        f"pageInfo {{ hasNextPage endCursor }} nodes {{ {pipeline} {tests}"
        f" jobs(first: 100) {{ pageInfo {{ hasNextPage }} nodes {{ {job} stage {{ name }} }} }} }}"
    )


def dropped(memory: Mapping[str, Any]) -> frozenset[str]:
    """The fields that the source's instance was found to lack."""
    return frozenset(memory.get("graphql_dropped", ()))


def drop(memory: dict[str, Any], unknown: Unknown) -> Refused | None:
    """Leaves these fields out from now on, in later looks too; or says that without them it is not to be read."""
    fields = frozenset(_SUMMARY[0] if field.startswith(_SUMMARY) else field for field in unknown.fields)
    if fields <= dropped(memory) or not fields <= _OPTIONAL | {_SUMMARY[0]}:
        return Refused(f"this instance does not know {', '.join(sorted(unknown.fields))}")
    memory["graphql_dropped"] = tuple(sorted(dropped(memory) | fields))
    return None


def hear(answer: Answer, root: str) -> Mapping[str, Any] | Failure | Refused | TooMuch | Unknown:
    """An answer's data, which has the field `root`, or why there is none.

    Errors beside data are passed over where each says its `path`: they are of single fields, which are null.
    """
    if isinstance(answer, Failure):
        return _hear_failure(answer)
    said = answer.data if isinstance(answer.data, Mapping) else {}
    errors, data = said.get("errors"), said.get("data")
    whole = isinstance(data, Mapping) and root in data
    if errors and not (whole and _spares(errors)):
        return _hear_errors(errors if isinstance(errors, list) else [errors])
    return data if isinstance(data, Mapping) and whole else Refused("the answer is not GraphQL's")


def _hear_failure(failure: Failure) -> Failure | Refused | TooMuch:
    if failure.reason == "timeout" or failure.status in _TOO_SLOW or failure.detail.endswith(TOO_LARGE.detail):
        return TooMuch(failure.detail)
    if failure.reason in ("forbidden", "not_found", "body", "client"):
        return Refused(failure.detail)
    return failure


def _spares(errors: Any) -> bool:
    """Whether the errors leave the rest of the data as it is: each is of one place, and none is of a limit."""
    places = [error for error in errors if isinstance(error, Mapping) and error.get("path")] if errors else []
    return isinstance(errors, list) and len(places) == len(errors) and not any(map(_is_limit, places))


def _is_limit(error: Mapping[str, Any]) -> bool:
    message = text(error, "message")
    return _TOO_MUCH.search(message) is not None or "can be requested only for" in message


def _hear_errors(errors: Sequence[Any]) -> Refused | TooMuch | Unknown:
    """GraphQL's errors come with a 200."""
    messages = [text(error, "message") if isinstance(error, Mapping) else "" for error in errors]
    unknown = [_UNKNOWN_FIELD.match(message) for message in messages]
    if all(unknown):
        return Unknown(frozenset(f"{found[2]}.{found[1]}" for found in unknown if found))
    if any(_TOO_MUCH.search(message) for message in messages):
        return TooMuch(messages[0])
    return Refused(messages[0] or "errors without a message")
