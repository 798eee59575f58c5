"""The stand-in GitLab's GraphQL: a small executor for queries of projects' pipelines and their jobs.

A request's body goes in, the answer's comes out. Real queries are parsed and run (fields, arguments, variables,
`@include`), checked against the few types below, priced as GitLab prices them, and refused in GitLab's own words, so
that what a collector does about unknown fields and costs can be rehearsed. Fragments and mutations are not known.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from k2alert.rehearse.gitlab_standin_facts import as_summary
from k2alert.rehearse.gitlab_standin_json import (
    StandinJob,
    StandinPipeline,
    StandinProject,
    as_detail,
    as_execution,
    changed_at,
    status_at,
)
from k2alert.times import iso, parse_instant

Find = Callable[[str], tuple[StandinProject, Sequence[StandinPipeline] | None] | None]


def answer_query(
    body: Any, find: Find, now: datetime, url: str, unknown_fields: frozenset[str], complexity_limit: int
) -> dict[str, Any]:
    """GitLab's answer to a GraphQL request at a moment.

    `find` gives the project with a path or number and its pipelines, newest first (None: its pipelines are not shown).
    """
    try:
        variables = body.get("variables") or {}
        selections = _Parser(body["query"], variables).parse()
        problems = list(_unknown(selections, "Query", unknown_fields))
        cost = round(sum(_price(each, "Query") for each in selections))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return {"errors": [{"message": f"Parse error on {error}"}]}
    if problems:
        return {"errors": problems}
    if cost > complexity_limit:
        text = f"Query has complexity of {cost}, which exceeds max complexity of {complexity_limit}"
        return {"errors": [{"message": text}]}
    root = {"find": find, "queryComplexity": {"score": cost, "limit": complexity_limit}}
    return {"data": _select(selections, "Query", root, _At(now, url))}


@dataclass(frozen=True, slots=True)
class _Selected:
    """A field that is asked for."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    selections: tuple["_Selected", ...] = ()
    alias: str = ""


_TOKEN = re.compile(r'[\s,]*(\$?\w+|"(?:[^"\\]|\\.)*"|[{}()\[\]:!@=])')


class _Parser:
    """Reads one query; variables are put in while reading, and fields that `@include` leaves out are left out."""

    def __init__(self, query: str, variables: Mapping[str, Any]) -> None:
        self._tokens = _TOKEN.findall(query)
        self._variables = variables
        self._next = 0

    def parse(self) -> tuple[_Selected, ...]:
        """What the query selects."""
        while self._peek() != "{":  # its name and the types of its variables
            self._take()
        return self._selections()

    def _peek(self) -> str:
        if self._next >= len(self._tokens):
            raise ValueError("the end of the query")
        token: str = self._tokens[self._next]
        return token

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _selections(self) -> tuple[_Selected, ...]:
        self._take()
        found = []
        while self._peek() != "}":
            found.append(self._selected())
        self._take()
        return tuple(each for each in found if each is not None)

    def _selected(self) -> _Selected | None:
        name, alias, included = self._take(), "", True
        if self._peek() == ":":
            alias, _colon, name = name, self._take(), self._take()
        arguments = self._arguments() if self._peek() == "(" else {}
        while self._peek() == "@":
            self._take()
            directive, condition = self._take(), self._arguments()["if"]
            included = included and (condition is True if directive == "include" else condition is not True)
        selections = self._selections() if self._peek() == "{" else ()
        return _Selected(name, arguments, selections, alias) if included else None

    def _arguments(self) -> dict[str, Any]:
        self._take()
        arguments = {}
        while self._peek() != ")":
            name, _colon, value = self._take(), self._take(), self._take()
            arguments[name] = self._value(value)
        self._take()
        return {name: value for name, value in arguments.items() if value is not None}

    def _value(self, token: str) -> Any:
        if token.startswith("$"):
            return self._variables.get(token[1:])
        if token.startswith('"'):
            return token[1:-1]
        return int(token) if token.isdecimal() else {"true": True, "false": False, "null": None}.get(token, token)


@dataclass(frozen=True, slots=True)
class _At:
    """The moment and the address of which the answer speaks."""

    now: datetime
    url: str


@dataclass(frozen=True, slots=True)
class _Run:
    project: StandinProject
    pipeline: StandinPipeline
    shown: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Job:
    job: StandinJob
    shown: Mapping[str, Any]


_MOST_ROWS = 100  # of a page

Resolve = Callable[[Any, Mapping[str, Any], _At], Any]
_Field = tuple[str | None, Resolve]  # the type it leads to (None for a scalar), and how it is found


def _project(root: Any, arguments: Mapping[str, Any], at: _At) -> Any:
    return root["find"](arguments["fullPath"])


def _projects(root: Any, arguments: Mapping[str, Any], at: _At) -> dict[str, Any]:
    """Those of the numbers asked for that there are, the highest first, as GitLab lists them."""
    numbers = sorted({int(each.rpartition("/")[2]) for each in arguments["ids"]}, reverse=True)
    found = [project for number in numbers if (project := root["find"](str(number))) is not None]
    return {"nodes": found[: min(int(arguments.get("first", _MOST_ROWS)), _MOST_ROWS)]}


def _pipelines(found: Any, arguments: Mapping[str, Any], at: _At) -> dict[str, Any] | None:
    project, pipelines = found
    if pipelines is None:
        return None
    keep: list[Callable[[StandinPipeline], bool]] = []
    if "updatedAfter" in arguments:
        since = parse_instant(arguments["updatedAfter"])
        keep.append(lambda run: changed_at(run, at.now) >= since)
    if "status" in arguments:
        status = arguments["status"].lower()
        keep.append(lambda run: status_at(run, at.now) == status)

    def show(run: StandinPipeline) -> _Run:
        return _Run(project, run, as_detail(project, run, at.now, at.url))

    return _connect(pipelines, lambda run: all(condition(run) for condition in keep), arguments, show)


def _jobs(run: Any, arguments: Mapping[str, Any], at: _At) -> dict[str, Any]:
    def show(job: StandinJob) -> _Job:
        return _Job(job, as_execution(job, at.now))

    jobs = sorted(run.pipeline.jobs, key=lambda job: -job.id)
    return _connect(jobs, lambda job: job.created_at <= at.now, arguments, show)


def _suites(suites: Any, arguments: Mapping[str, Any], at: _At) -> dict[str, Any]:
    rows = as_summary(suites)["test_suites"]
    size = int(arguments.get("first", _MOST_ROWS))
    return {"pageInfo": {"hasNextPage": len(rows) > size, "endCursor": None}, "nodes": rows[:size]}


def _connect(
    rows: Sequence[Any], keep: Callable[[Any], bool], arguments: Mapping[str, Any], show: Callable[[Any], Any]
) -> dict[str, Any]:
    """A page of a connection, in descending order of id; its cursors hold the id that the page ended with."""
    after = int(b64decode(arguments["after"])) if "after" in arguments else None
    rest = (row for row in rows if (after is None or row.id < after) and keep(row))
    size = min(int(arguments.get("first", _MOST_ROWS)), _MOST_ROWS)
    page = list(islice(rest, size + 1))
    shown = page[:size]
    cursor = b64encode(str(shown[-1].id).encode()).decode() if shown else None
    info = {"hasNextPage": len(page) > size, "endCursor": cursor}
    return {"count": lambda: sum(map(keep, rows)), "pageInfo": info, "nodes": [show(row) for row in shown]}


def _plain(read: Callable[[Any], Any]) -> _Field:
    return None, lambda found, arguments, at: read(found)


def _leads(kind: str, read: Callable[[Any], Any]) -> _Field:
    return kind, lambda found, arguments, at: read(found)


def _key(name: str) -> _Field:
    return _plain(lambda found: found[name])


def _shown(name: str) -> _Field:
    return _plain(lambda found: found.shown[name])


def _upper(name: str) -> _Field:
    return _plain(lambda found: found.shown[name].upper())


def _second(name: str) -> _Field:
    """GraphQL's times have no fractions."""

    def read(found: Any) -> str | None:
        shown = found.shown[name]
        return None if shown is None else iso(parse_instant(shown).replace(microsecond=0))

    return _plain(read)


def _ref_path(run: _Run) -> str:
    return f"refs/{'tags' if run.pipeline.tag else 'heads'}/{run.pipeline.ref}"


def _job_id(found: _Job) -> str:
    return f"gid://gitlab/Ci::{'Bridge' if found.job.bridge else 'Build'}/{found.job.id}"


def _connection_of(node: str) -> dict[str, _Field]:
    return {
        "count": _plain(lambda found: found["count"]()),
        "pageInfo": _leads("PageInfo", lambda found: found["pageInfo"]),
        "nodes": _leads(node, lambda found: found["nodes"]),
    }


_TIMES = {"createdAt": "created_at", "startedAt": "started_at", "finishedAt": "finished_at"}

_TYPES: Mapping[str, Mapping[str, _Field]] = {
    "Query": {
        "project": ("Project", _project),
        "projects": ("ProjectConnection", _projects),
        "queryComplexity": _leads("QueryComplexity", lambda found: found["queryComplexity"]),
    },
    "QueryComplexity": {"score": _key("score"), "limit": _key("limit")},
    "Project": {
        "id": _plain(lambda found: f"gid://gitlab/Project/{found[0].id}"),
        "fullPath": _plain(lambda found: found[0].path),
        "webUrl": (None, lambda found, arguments, at: f"{at.url}/{found[0].path}"),
        "repository": _leads("Repository", lambda found: found[0]),
        "pipelines": ("PipelineConnection", _pipelines),
    },
    "ProjectConnection": {"nodes": _leads("Project", lambda found: found["nodes"])},
    "Repository": {"rootRef": _plain(lambda found: found.default_branch)},
    "PipelineConnection": _connection_of("Pipeline"),
    "CiJobConnection": _connection_of("CiJob"),
    "PageInfo": {"hasNextPage": _key("hasNextPage"), "endCursor": _key("endCursor")},
    "Pipeline": {
        "id": _plain(lambda found: f"gid://gitlab/Ci::Pipeline/{found.pipeline.id}"),
        "iid": _plain(lambda found: str(found.shown["iid"])),
        "name": _shown("name"),
        "status": _upper("status"),
        "ref": _shown("ref"),
        "refPath": _plain(_ref_path),
        "sha": _shown("sha"),
        "source": _shown("source"),
        "duration": _shown("duration"),
        "queuedDuration": _shown("queued_duration"),
        "updatedAt": _second("updated_at"),
        "coverage": _plain(lambda found: found.shown["coverage"] and float(found.shown["coverage"])),
        "testReportSummary": ("TestReportSummary", lambda found, arguments, at: found.pipeline.suites_at(at.now)),
        "jobs": ("CiJobConnection", _jobs),
        **{name: _second(key) for name, key in _TIMES.items()},
    },
    "TestReportSummary": {"testSuites": ("TestSuiteSummaryConnection", _suites)},
    "TestSuiteSummaryConnection": _connection_of("TestSuiteSummary"),
    "TestSuiteSummary": {
        "buildIds": _plain(lambda found: [str(number) for number in found["build_ids"]]),
        "name": _key("name"),
        "totalTime": _key("total_time"),
        **{f"{name}Count": _key(f"{name}_count") for name in ("total", "success", "failed", "skipped", "error")},
    },
    "CiJob": {
        "id": _plain(_job_id),
        "name": _shown("name"),
        "status": _upper("status"),
        "kind": _plain(lambda found: "BRIDGE" if found.job.bridge else "BUILD"),
        "allowFailure": _shown("allow_failure"),
        "tags": _shown("tag_list"),
        "stage": _leads("CiStage", lambda found: found.job),
        "duration": _plain(lambda found: found.shown["duration"] and int(found.shown["duration"])),
        "queuedDuration": _shown("queued_duration"),
        **{name: _second(key) for name, key in _TIMES.items()},
    },
    "CiStage": {"name": _plain(lambda found: found.stage)},
}


def _unknown(selections: Sequence[_Selected], kind: str, hidden: frozenset[str]) -> Iterator[dict[str, Any]]:
    for each in selections:
        if each.name not in _TYPES[kind] or f"{kind}.{each.name}" in hidden:
            text = f"Field '{each.name}' doesn't exist on type '{kind}'"
            extensions = {"code": "undefinedField", "typeName": kind, "fieldName": each.name}
            yield {"message": text, "extensions": extensions}
        elif each.selections:
            yield from _unknown(each.selections, _TYPES[kind][each.name][0] or kind, hidden)


def _price(selected: _Selected, kind: str) -> float:
    """What GitLab counts: a point a field, one more where it asks the repository, and for a connection a hundredth
    more of all that it holds for each row of the page."""
    inner = _TYPES[kind].get(selected.name, (None, None))[0] or ""
    price = 1 + sum(_price(each, inner) for each in selected.selections) if inner else 1.0
    price += f"{kind}.{selected.name}" in _ASK_THE_REPOSITORY
    rows = min(int(selected.arguments.get("first", _MOST_ROWS)), _MOST_ROWS)
    return price * (1 + 0.01 * rows) if inner.endswith("Connection") else price


_ASK_THE_REPOSITORY = frozenset({"Repository.rootRef"})


def _select(selections: Sequence[_Selected], kind: str, found: Any, at: _At) -> dict[str, Any]:
    return {each.alias or each.name: _resolve(each, kind, found, at) for each in selections}


def _resolve(selected: _Selected, kind: str, found: Any, at: _At) -> Any:
    inner, resolve = _TYPES[kind][selected.name]
    value = resolve(found, selected.arguments, at)
    if inner is None or value is None:
        return value
    if isinstance(value, list):
        return [_select(selected.selections, inner, item, at) for item in value]
    return _select(selected.selections, inner, value, at)
