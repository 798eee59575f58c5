"""Which label sets each rule is judged for.

The configuration and the known projects come in; a `Universe` goes out: for every rule its targets, with the
labels their alerts carry and the projects whose data they rest on. It is made anew only when the configuration
or the set of projects changes, so that a round does not pay for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from k2alert.config.model import Config
from k2alert.labels import Labels, Matcher
from k2alert.model import Project, Rule
from k2alert.pauses import Pausing, at_once

__all__ = ["ProjectId", "Target", "Universe", "alert_labels", "make_universe", "making_universe"]

ProjectId = tuple[str, str]
"""A project's source and path."""


@dataclass(frozen=True, slots=True)
class Target:
    """One label set that a rule is judged for. `members` are the projects whose facts it counts."""

    identity: Labels
    labels: Labels
    members: tuple[ProjectId, ...]


@dataclass(frozen=True, slots=True)
class Universe:
    """The targets of every rule.

    `fixed` holds, by rule name, those of rules whose `by` labels all belong to projects. A rule with further
    labels (branch, job, …) finds its label sets in the facts; `members` then says, by rule name, which projects
    it may see.
    """

    projects: tuple[ProjectId, ...]
    fixed: Mapping[str, tuple[Target, ...]]
    members: Mapping[str, frozenset[ProjectId]]


def make_universe(config: Config, projects: Sequence[Project]) -> Universe:
    """The targets of the configuration's rules over these projects."""
    return at_once(making_universe(config, projects))


def making_universe(config: Config, projects: Sequence[Project]) -> Pausing[Universe]:
    """The same with pauses, for with ten thousand projects it takes a while."""
    known: dict[ProjectId, Labels] = {}
    for project in projects:
        known[project.source, project.path] = _project_labels(config, project)
        yield
    names = {"source", "project"} | {name for entry in config.project_labels for name in entry.labels}
    fixed: dict[str, tuple[Target, ...]] = {}
    members: dict[str, frozenset[ProjectId]] = {}
    for rule in config.rules:
        seen = _members(rule, known, names)
        members[rule.name] = frozenset(seen)
        if set(rule.selection.by) <= names:
            fixed[rule.name] = yield from _targets(config, rule, {member: known[member] for member in seen})
        yield
    return Universe(tuple(known), fixed, members)


def alert_labels(config: Config, rule: Rule, identity: Labels) -> Labels:
    """The labels of an alert: its identity, project_labels, the rule's and the global labels, name, severity."""
    project = identity.get("project")
    owned = config.labels_of_project(identity.get("source", ""), project) if project else Labels()
    return (
        config.labels.merged(owned)
        .merged(rule.labels)
        .merged(identity)
        .merged({"alertname": rule.name, "severity": rule.severity.value})
    )


def _project_labels(config: Config, project: Project) -> Labels:
    own = {"source": project.source, "project": project.path}
    return config.labels_of_project(project.source, project.path).merged(own)


def _members(rule: Rule, known: Mapping[ProjectId, Labels], names: set[str]) -> list[ProjectId]:
    """The projects that the rule's matchers on labels of projects let in; what facts say cannot be told here."""
    about_projects: list[Matcher] = [matcher for matcher in rule.selection.match if matcher.name in names]
    return [member for member, labels in known.items() if all(matcher.matches(labels) for matcher in about_projects)]


def _targets(config: Config, rule: Rule, known: Mapping[ProjectId, Labels]) -> Pausing[tuple[Target, ...]]:
    by = {"source", *rule.selection.by}
    found: dict[Labels, list[ProjectId]] = {}
    for member, labels in known.items():
        found.setdefault(labels.only(by), []).append(member)
        yield
    targets = []
    for identity, of in found.items():
        targets.append(Target(identity, alert_labels(config, rule, identity), tuple(of)))
        yield
    return tuple(targets)
