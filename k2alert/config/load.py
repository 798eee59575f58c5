"""Files in, one frozen `Config` out, or every problem of every file (contract §1).

`load` reads the main file and the rule files it names; `load_rules` reads rule files alone. Neither raises on what a
person wrote. What was read is returned too, by digest, for `watch` to tell when to read again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from glob import has_magic
from pathlib import Path
from typing import Any

from k2alert.config.deprecated import DEPRECATED, Deprecated, brought_up
from k2alert.config.expand import Expansion, expand
from k2alert.config.ignore import ignored_in
from k2alert.config.intervals import read_intervals
from k2alert.config.model import Config, Web
from k2alert.config.owners import unowned
from k2alert.config.receivers import read_receivers
from k2alert.config.report import Report, shown
from k2alert.config.routes import read_route
from k2alert.config.rules import OWN_LABELS, read_rules
from k2alert.config.scope import RuleScope
from k2alert.config.sections import (
    check_label_names,
    read_export,
    read_inhibit_rules,
    read_project_labels,
    read_sources,
)
from k2alert.config.settings import BasicSettings, MainFile, RuleFile
from k2alert.config.sheet import Sheet, known_keys
from k2alert.config.watch import digest, is_file, matched, names_digest, read_start, real
from k2alert.document import Document, DocumentPath, parse_document
from k2alert.labels import Labels
from k2alert.model import Metric, Place, Problem, Rule
from k2alert.notify.route import Receiver, all_routes
from k2alert.times import format_duration

__all__ = ["Loaded", "LoadedRules", "is_rule_file", "load", "load_rules"]

_RULE_KEYS = frozenset({"alert_rules", "defaults"})
_BASIC_KEYS = frozenset(BasicSettings.model_fields)
_MOST_NAMED = 20  # projects, in one warning
_DEFAULT_RETENTION = BasicSettings().retention


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files came to.

    `config` is None where there is an error. With only warnings it is there, but where a problem has the code
    "unset" (an environment variable or a file that a value refers to is not there) that value is empty: good for a
    rehearsal, not for a run. `watched` has the digest of everything that was looked at.
    """

    config: Config | None
    problems: tuple[Problem, ...]
    watched: Mapping[Path, str]
    files: tuple[str, ...] = ()  # main and rule files that were read
    rule_count: int = 0  # rules with a name, the wrong ones too

    @property
    def runnable(self) -> bool:
        """Whether the daemon may start with it."""
        return self.config is not None and not any(problem.code == "unset" for problem in self.problems)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """What rule files came to on their own: the good rules, and every problem."""

    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]
    watched: Mapping[Path, str]
    files: tuple[str, ...] = ()  # main and rule files that were read
    rule_count: int = 0  # rules with a name, the wrong ones too


def load(
    main: Path,
    *,
    environ: Mapping[str, str],
    metrics: Mapping[str, Metric],
    deprecated: Sequence[Deprecated] = DEPRECATED,
) -> Loaded:
    """Read the main file and every rule file it names, against the catalogue of metrics."""
    desk = _Desk(metrics, deprecated)
    document = desk.open(main)
    config = _read_main(desk, main, document, environ) if document is not None else None
    usable = None if desk.report.failed else config
    return Loaded(usable, desk.report.problems, desk.watched, tuple(desk.contents), len(desk.names))


def load_rules(
    paths: Iterable[Path],
    *,
    metrics: Mapping[str, Metric],
    retention: timedelta = _DEFAULT_RETENTION,
    project_labels: frozenset[str] | None = None,
) -> LoadedRules:
    """Read rule files without their main file. `project_labels` are its names of them, None where it is not known."""
    desk = _Desk(metrics)
    scope = RuleScope(metrics, retention, project_labels or frozenset(), closed=False, names=desk.names)
    rules = [rule for path in paths for rule in _read_rule_file(desk, path, scope)]
    return LoadedRules(tuple(rules), desk.report.problems, desk.watched, tuple(desk.contents), len(desk.names))


def is_rule_file(path: Path) -> bool:
    """Whether a file holds rules and nothing else."""
    content, _ = _read(path)
    document, _ = parse_document(content or b"", str(path))
    data = document.data if document is not None else None
    return isinstance(data, dict) and bool(data) and data.keys() <= _RULE_KEYS


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where files are laid out: what was read, and what was wrong with it."""

    metrics: Mapping[str, Metric]
    deprecated: Sequence[Deprecated] = DEPRECATED
    report: Report = field(default_factory=Report)
    watched: dict[Path, str] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)  # of main and rule files: the digests, by name
    names: dict[str, Place] = field(default_factory=dict)  # of rules

    def open(self, path: Path) -> Document | None:
        """One file as a mapping (empty where the file is), or None and why not."""
        content, wrong = _read(path)
        self.watched[path] = self.contents[str(path)] = digest(content)
        if content is None:
            self.report.add(Place(str(path), 1, 1), f"cannot be read: {wrong}", code="unreadable")
            return None
        document, problems = parse_document(content, str(path))
        self.report.extend(problems)
        if document is not None:
            self.report.ignore(ignored_in(content.decode("utf-8"), str(path)))
        if document is not None and not isinstance(document.data, dict | None):
            self.report.add(document.place(()), "the file must be a mapping, such as `alert_rules: […]`")
            return None
        if document is not None:
            document, problems = brought_up(document, self.deprecated)
            self.report.extend(problems)
        return document

    @property
    def hash(self) -> str:
        """16 hex digits of what the files hold; nothing from the environment, for it is shown on /metrics."""
        return digest("".join(self.contents.values()).encode())[:16]


def _read(path: Path) -> tuple[bytes | None, str]:
    try:
        return read_start(path), ""
    except OSError as error:
        return None, error.strerror or str(error)


# ----------------------------------------------------------------------------------------- the main file


def _read_main(desk: _Desk, main: Path, document: Document, environ: Mapping[str, str]) -> Config:
    """The whole configuration; only good for use when the desk's report has no error."""
    sheet = _expanded(desk, document, environ)
    sheet.check_keys((), sheet.data, known_keys(MainFile))
    basic = sheet.read_kept(BasicSettings, {key: sheet.data[key] for key in _BASIC_KEYS & sheet.data.keys()})
    facts = RuleScope(desk.metrics, basic.retention).labels_of([])
    project_labels = read_project_labels(sheet, {*facts, *OWN_LABELS})
    check_label_names(sheet, ("labels",), basic.labels, {*facts, *OWN_LABELS})
    names = frozenset(name for entry in project_labels for name in entry.labels)
    interval_names, intervals = read_intervals(sheet)
    known = {name: intervals.get(name) for name in interval_names}
    sources = read_sources(sheet)
    slowest = max((source.poll_interval for source in sources), default=None)
    scope = RuleScope(desk.metrics, basic.retention, names, known, slowest, names=desk.names)
    rules = read_rules(sheet, scope) + _read_rule_files(desk, main, sheet, basic, scope)
    configured = frozenset({*names, *basic.labels, *scope.labels, *OWN_LABELS})
    receivers = read_receivers(sheet, configured)
    config = Config(
        sources=sources,
        store=basic.store,
        retention=basic.retention,
        evaluation_interval=basic.evaluation_interval,
        web=Web(**dict(basic.web)),
        labels=Labels(basic.labels),
        project_labels=project_labels,
        export=read_export(sheet, basic.export, facts | names, names, basic.retention),
        receivers=receivers,
        route=read_route(sheet, receivers.keys(), interval_names, intervals),
        intervals=intervals,
        inhibitions=read_inhibit_rules(sheet),
        rules=rules,
        hash=desk.hash,
    )
    _check_windows(desk.report, sheet, basic)
    _warn_of_unused(sheet, config)
    _warn_of_unowned(sheet, config)
    _warn_of_silence(desk.report, sheet, config, receivers)
    return config


def _expanded(desk: _Desk, document: Document, environ: Mapping[str, str]) -> Sheet:
    """The file's data with its references to the environment replaced."""
    expansion: Expansion = expand(document.data or {}, environ)
    for value, reference in expansion.values.items():
        desk.report.hide(value, reference)
    for path, content in expansion.files.items():
        desk.watched[path] = digest(content)
    for fault in expansion.faults:
        place = document.inside(fault.path, fault.offset)
        desk.report.add(place, fault.text, code="unset" if fault.unset else "config", warning=fault.unset)
    return Sheet(document, expansion.data, desk.report, expansion.references, expansion.unset)


def _warn_of_unowned(sheet: Sheet, config: Config) -> None:
    """Name the projects whose alerts reach no owner, where others' do."""
    found = unowned(config) if not sheet.report.failed else ()
    if found:
        named = ", ".join(found[:_MOST_NAMED]) + (
            f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        )
        key = "project_labels" if sheet.data.get("project_labels") else "route"
        sheet.warn((key,), f"nobody owns {named}: no route and no address is for their alerts alone", "unowned")


def _warn_of_silence(report: Report, sheet: Sheet, config: Config, receivers: Mapping[str, Receiver]) -> None:
    top = sheet.place(())
    if not config.rules and not report.failed:
        report.add(top, "there are no rules: nothing will ever fire", code="silent", warning=True)
    if not receivers and sheet.data.get("route") is None:
        report.add(top, "no notifications and no receivers: nobody is told anything", code="silent", warning=True)
    if not config.sources and not sheet.data.get("sources"):
        report.add(top, "there are no sources: nothing is read", code="silent", warning=True)


def _warn_of_unused(sheet: Sheet, config: Config) -> None:
    """Receivers that would say something and that no route names, and time intervals that nothing does."""
    routes = tuple(all_routes(config.route)) if config.route is not None else ()
    heard = {route.receiver for route in routes}
    for at, name in _named(sheet, "receivers"):
        receiver = config.receivers.get(name)
        if config.route is not None and receiver is not None and receiver.integrations and name not in heard:
            sheet.warn(at, f"receivers: no route leads to {shown(name)}", "unused")
    used = {interval.name for route in routes for interval in (*route.mute, *route.active)}
    used |= {name for rule in config.rules for name in rule.exclude_during}
    for at, name in _named(sheet, "time_intervals"):
        if name in config.intervals and name not in used:
            sheet.warn(at, f"time_intervals: nothing uses {shown(name)}", "unused")


def _named(sheet: Sheet, key: str) -> Iterator[tuple[DocumentPath, str]]:
    """The names of the items of a list, and where they stand."""
    written = sheet.data.get(key)
    for index, item in enumerate(written if isinstance(written, list) else ()):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            yield (key, index, "name"), item["name"]


def _check_windows(report: Report, sheet: Sheet, basic: BasicSettings) -> None:
    """No gauge over a time that is not kept: it would count too little, and say nothing of it."""
    for index, window in enumerate(basic.export.windows):
        path = ("export", "windows", index)
        if window > basic.retention and sheet.document.has(path):
            kept = format_duration(basic.retention)
            text = f"export: a window of {format_duration(window)} is longer than retention ({kept})"
            report.add(sheet.place(path), text)


# ----------------------------------------------------------------------------------------- rule files


def _read_rule_files(desk: _Desk, main: Path, sheet: Sheet, basic: BasicSettings, scope: RuleScope) -> tuple[Rule, ...]:
    """The rules of the files that `rule_files` names, each read once."""
    rules: list[Rule] = []
    seen = {real(main)}
    for index, text in enumerate(basic.rule_files):
        path = ("rule_files", index)
        if path in sheet.unset:
            continue
        for file in _files_of(desk, main.parent / text, sheet, path):
            if real(file) not in seen:
                seen.add(real(file))
                rules += _read_rule_file(desk, file, scope)
    return tuple(rules)


def _files_of(desk: _Desk, pattern: Path, sheet: Sheet, path: tuple[str | int, ...]) -> tuple[Path, ...]:
    files = matched(pattern)
    if has_magic(str(pattern)):
        desk.watched[pattern] = names_digest(files)
    elif not is_file(pattern):  # to open a pipe is to wait for whoever writes to it
        desk.watched[pattern] = digest(None)
        sheet.error(path, f"rule_files: there is no file {pattern}")
        return ()
    if not files:
        sheet.warn(path, "rule_files: no file matches", "empty")
    return files


def _read_rule_file(desk: _Desk, path: Path, scope: RuleScope) -> tuple[Rule, ...]:
    document = desk.open(path)
    if document is None:
        return ()
    sheet = Sheet(document, document.data or {}, desk.report)
    data: dict[str, Any] = sheet.data
    if "notifications" in data and data.keys() <= _RULE_KEYS | {"notifications"}:
        sheet.warn(("notifications",), "notifications: unused in a rule file; the main file says who is told", "unused")
    else:
        sheet.check_keys((), data, known_keys(RuleFile))
    if not data.get("alert_rules"):
        sheet.warn((), "there are no rules in this file", "empty")
    return read_rules(sheet, scope)
