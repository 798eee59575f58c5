"""Reads what changed in several GitLab projects with one GraphQL query.

A project in which nothing happened costs a share of that one request; one in which something did comes with its
pipelines and their jobs, as if it had been looked at by itself. More than a page of a project's pipelines, the jobs of
failed ones and what rules need beside pipelines are asked for after that. Projects are asked for by number: one that
moved is found, and one that is not in the answer (deleted, or not ours to see any more) is left to a look of its own,
which says why. Where GraphQL does not do this, or not in time, every project is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from k2alert.collect.flow import Ask, Failure, Look, Request, Scan
from k2alert.collect.gitlab_facts import end_look
from k2alert.collect.gitlab_graphql import read_on
from k2alert.collect.gitlab_parse import id_of
from k2alert.collect.gitlab_queries import Refused, TooMuch, Unknown, drop, dropped, hear, write_scan
from k2alert.collect.gitlab_reading import Reading, Steps, fetch
from k2alert.collect.gitlab_sizes import PAGE, PROJECTS, fitting, learn_cost
from k2alert.times import iso

__all__ = ["MOST_SCANNED", "REST", "scan"]

MOST_SCANNED = PROJECTS.most

REST = timedelta(hours=1)
"""How long an instance that is too slow for a query is left alone with it: each vain try costs minutes."""

_APART = timedelta(minutes=15)  # a project that was not read for longer than the others is not theirs to wait for


def scan(asks: Sequence[Ask]) -> Steps[Scan]:
    """The looks at all projects that GraphQL tells of; the others are left out."""
    memory = dict(asks[0].memory)
    waiting = [Reading(ask, ask.project, memory) for ask in _scannable(asks)]
    looks: dict[str, Look] = {}
    while waiting and not _rests(waiting[0]):
        page = PAGE.at(memory, waiting[0].ask.now)
        size = fitting(memory, page, PROJECTS.at(memory, waiting[0].ask.now))
        chunk, rest = waiting[:size], waiting[size:]
        heard = yield from _ask(chunk, page)
        if isinstance(heard, Failure):
            looks |= {each.ask.project.key: each.close(heard) for each in waiting}
            break
        if heard is None:
            continue
        looks |= yield from _read(chunk, heard)
        waiting = rest
    return Scan(looks, memory)


def _scannable(asks: Sequence[Ask]) -> list[Ask]:
    """Those known by number and, as all are asked for by the earliest time, not far behind the others."""
    newest = max(ask.since for ask in asks)
    return [ask for ask in asks if ask.project.forge_id and newest - ask.since <= _APART]


def _rests(reading: Reading) -> bool:
    """Whether GraphQL, or only scans, are not to be used now."""
    memory, now = reading.memory, reading.ask.now
    resting = max(memory.get("graphql_rests_until", now), memory.get("scans_rest_until", now)) > now
    return resting or "graphql_refused" in memory


def _ask(chunk: Sequence[Reading], page: int) -> Steps[Mapping[str, Any] | Failure | None]:
    """The answer's projects by number; None where something else must be asked, if anything, which is remembered."""
    memory, now = chunk[0].memory, chunk[0].ask.now
    variables = {
        "ids": [f"gid://gitlab/Project/{reading.project.forge_id}" for reading in chunk],
        "projects": len(chunk),
        "since": iso(min(reading.ask.since for reading in chunk).replace(microsecond=0)),
        "first": page,
        "tests": chunk[0].wants_summaries,
        "running": any(reading.leaves_running for reading in chunk),
    }
    body = {"query": write_scan(dropped(memory)), "variables": variables}
    heard = hear((yield from fetch(Request("/graphql", body=body, kind="scan"))), "projects")
    if isinstance(heard, Failure):
        return heard
    if isinstance(heard, Mapping):
        learn_cost(memory, heard.get("queryComplexity"), len(chunk), page)
        return _by_number(heard["projects"])
    if not _asks_otherwise(memory, heard, now):
        memory["scans_rest_until"] = now + REST
    return None


def _asks_otherwise(memory: dict[str, Any], heard: Refused | TooMuch | Unknown, now: datetime) -> bool:
    """Remembers what to ask for instead, and says whether there is anything."""
    if isinstance(heard, TooMuch):
        PAGE.halve(memory, now)
        return PROJECTS.halve(memory, now)
    return isinstance(heard, Unknown) and drop(memory, heard) is None


def _by_number(projects: Any) -> Mapping[str, Any]:
    nodes = projects.get("nodes") if isinstance(projects, Mapping) else None
    found = [node for node in nodes if isinstance(node, Mapping)] if isinstance(nodes, list) else []
    return {id_of(node): node for node in found}


def _read(chunk: Sequence[Reading], found: Mapping[str, Any]) -> Steps[dict[str, Look]]:
    """The looks at those that were found. One that fails costs the others nothing: what they need is here."""
    looks = {}
    for reading in chunk:
        node = found.get(reading.project.forge_id)
        ended = (yield from read_on(reading, node)) if node is not None else Refused("no such project")
        if not isinstance(ended, Refused):
            looks[reading.ask.project.key] = yield from end_look(reading, ended)
    return looks
