"""Which projects nobody owns, where the configuration gives alerts to owners: by routes, or by addresses of labels.

A checked configuration goes in; the projects that it names and whose alerts reach no owner come out. Pure.
"""

import re
from collections.abc import Iterable, Iterator

from k2alert.config.model import Config
from k2alert.labels import Labels, matches_all
from k2alert.model import Rule
from k2alert.notify import INTEGRATIONS
from k2alert.notify.route import Integration, Route

__all__ = ["unowned"]

_LABEL = re.compile(r"labels(?:\.|\[['\"])([a-zA-Z_][a-zA-Z0-9_]*)")


def unowned(config: Config) -> tuple[str, ...]:
    """The projects, by path, none of whose alerts goes to an owner, in the order of the file.

    An owner is found by a route whose matchers look at `project` or a label of `project_labels`, or by an address that
    is made of the latter. None: every alert has one, or nothing goes by owners.
    """
    root, labels = config.route, frozenset(name for entry in config.project_labels for name in entry.labels)
    if root is None or not any(_distributes(config, one, labels) for one in root.tree()):
        return ()
    return tuple(
        project
        for source in config.sources
        for project in source.projects
        if isinstance(project, str)
        and "/" in project
        and not any(_has_owner(config, root, labels, one) for one in _alerts(config, source.name, project))
    )


def _alerts(config: Config, source: str, project: str) -> Iterator[Labels]:
    """The labels of the alerts that each rule would make of a project."""
    known = config.labels_of_project(source, project)
    for rule in config.rules:
        yield _labels(rule, config, known).merged({"source": source, "project": project})


def _labels(rule: Rule, config: Config, known: Labels) -> Labels:
    own = {"alertname": rule.name, "severity": rule.severity.value}
    return config.labels.merged(known).merged(rule.labels).merged(own)


def _distributes(config: Config, route: Route, names: frozenset[str]) -> bool:
    return _looks_at_owner(route, names) or any(needed & names for needed in _needed(config, route))


def _has_owner(config: Config, route: Route, names: frozenset[str], labels: Labels, found: bool = False) -> bool:
    """Whether a route that an alert takes is an owner's; `found`: one above it was."""
    found = found or _looks_at_owner(route, names)
    taken = list(_taken(route, labels))
    if taken:
        return any(_has_owner(config, child, names, labels, found) for child in taken)
    return found or any(needed & names and needed <= labels.keys() for needed in _needed(config, route))


def _taken(route: Route, labels: Labels) -> Iterator[Route]:
    """The children that take an alert."""
    for child in route.routes:
        if matches_all(child.matchers, labels):
            yield child
            if not child.continues:
                return


def _looks_at_owner(route: Route, names: frozenset[str]) -> bool:
    return any(matcher.name in names or matcher.name == "project" for matcher in route.matchers)


def _needed(config: Config, route: Route) -> Iterator[frozenset[str]]:
    """The labels that the addresses of each integration of a route are made of."""
    receiver = config.receivers.get(route.receiver)
    for integration in receiver.integrations if receiver is not None else ():
        yield frozenset(name for text in _addresses(integration) for name in _LABEL.findall(text))


def _addresses(integration: Integration) -> Iterable[str]:
    """The addresses as they are written."""
    return INTEGRATIONS[integration.kind].addresses(integration.settings, lambda source: source)
