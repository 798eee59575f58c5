"""The parts of the main file that are no rules and no receivers: sources, labels of projects, gauges, times.

In: the sheet. Out: checked settings; the report has what is wrong, and what this release does not act on.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from k2alert.collect.settings import SourceSettings
from k2alert.collect.signing import app_problem
from k2alert.config.model import Export, ProjectLabels
from k2alert.config.report import did_you_mean, shown
from k2alert.config.settings import (
    ExportSettings,
    GithubSource,
    GitlabSource,
    InhibitRule,
    ProjectLabelsSettings,
)
from k2alert.config.sheet import Sheet
from k2alert.document import DocumentPath
from k2alert.labels import Labels
from k2alert.notify.hush import Inhibition
from k2alert.times import format_duration

__all__ = [
    "check_label_names",
    "read_export",
    "read_inhibit_rules",
    "read_project_labels",
    "read_sources",
]

_SOURCES: Mapping[str, type[SourceSettings]] = {"gitlab": GitlabSource, "github": GithubSource}


def read_sources(sheet: Sheet) -> tuple[SourceSettings, ...]:
    """The sources that are right; two of one name are not."""
    found: dict[str, SourceSettings] = {}
    for path, written in sheet.items(("sources",)):
        kind = written.get("type") if isinstance(written, dict) else None
        source = sheet.read(_SOURCES.get(str(kind), SourceSettings), path)
        if source is None:
            continue
        if source.name in found:
            sheet.error((*path, "name"), f"name: two sources are called {shown(source.name)}")
        found[source.name] = source
        _warn_of_source(sheet, path, written, source)
    return tuple(found.values())


def _warn_of_source(sheet: Sheet, path: DocumentPath, written: Mapping[str, Any], source: SourceSettings) -> None:
    known = not any(unset[: len(path) + 1] == (*path, "app") for unset in sheet.unset)
    if source.app is not None and known and (problem := app_problem(source.app)):
        sheet.warn((*path, "app"), f"app: {problem}", "key")
    if not source.projects and not source.groups:
        key = "repositories" if source.type == "github" else "projects"
        sheet.warn(path, f"the source {shown(source.name)} names no {key}: nothing is read from it", "empty")
    if source.ca_file is not None and not Path(source.ca_file).is_file():
        sheet.warn((*path, "ca_file"), f"ca_file: there is no file {shown(source.ca_file)}", "unset")
    if source.max_staleness < source.poll_interval:
        lengths = f"{format_duration(source.max_staleness)} is shorter than poll_interval"
        text = f"max_staleness: {lengths}, so that alerts hold still between two looks"
        sheet.warn((*path, "max_staleness" if "max_staleness" in written else "poll_interval"), text, "stale")


def read_project_labels(sheet: Sheet, taken: Collection[str]) -> tuple[ProjectLabels, ...]:
    """The labels that projects get. `taken` are the labels that alerts and facts have already."""
    found = []
    for path, _ in sheet.items(("project_labels",)):
        entry = sheet.read(ProjectLabelsSettings, path)
        if entry is None:
            continue
        check_label_names(sheet, (*path, "labels"), entry.labels, taken)
        for index, matcher in enumerate(entry.match):
            if matcher.name not in ("source", "project"):
                sheet.error(
                    (*path, "match", index), f"match: only source and project are known here, not {matcher.name}"
                )
        found.append(ProjectLabels(entry.match, Labels(entry.labels)))
    return tuple(found)


def check_label_names(sheet: Sheet, path: DocumentPath, labels: Iterable[str], taken: Collection[str]) -> None:
    """A label that is set elsewhere cannot be set here."""
    for name in labels:
        if name in taken:
            sheet.error((*path, name), f"labels: {name} is a label that alerts and facts have already")


def read_export(
    sheet: Sheet, settings: ExportSettings, known: Collection[str], configured: Collection[str], kept: timedelta
) -> Export:
    """Which gauges exist. `known` are all labels of facts and projects, `configured` those of projects alone.

    Of the default windows those remain that lie within what is kept.
    """
    for index, name in enumerate(settings.by):
        _check_label(sheet, ("export", "by", index), name, known)
    for index, matcher in enumerate(settings.match):
        _check_label(sheet, ("export", "match", index), matcher.name, known)
    for index, name in enumerate(settings.labels):
        _check_label(sheet, ("export", "labels", index), name, configured)
    windows = settings.windows
    if "windows" not in settings.model_fields_set:
        windows = tuple(window for window in windows if window <= kept) or (kept,)
    return Export(windows, settings.by, settings.match, settings.labels)


def _check_label(sheet: Sheet, path: DocumentPath, name: str, known: Collection[str]) -> None:
    if name not in known:
        sheet.error(path, f"{path[1]}: unknown label {shown(name)}{did_you_mean(name, sorted(known))}")


def read_inhibit_rules(sheet: Sheet) -> tuple[Inhibition, ...]:
    """The inhibit rules that are right."""
    found = []
    for path, _ in sheet.items(("inhibit_rules",)):
        rule = sheet.read(InhibitRule, path)
        if rule is not None:
            found.append(Inhibition(rule.source_matchers, rule.target_matchers, rule.equal))
    return tuple(found)
