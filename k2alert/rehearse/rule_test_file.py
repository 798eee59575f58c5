"""Files of rule tests: YAML in, checked tests out, with every error at its place (contract §4).

A file names the rules that it is about; each of its tests says what ran when, and what is expected of it. What its keys
may hold is in `rule_test_spec`; what one part says of another is checked here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from k2alert.config.intervals import read_intervals
from k2alert.config.load import load, load_rules
from k2alert.config.model import Config
from k2alert.config.report import Report, did_you_mean, shown
from k2alert.config.routes import read_route
from k2alert.config.rules import OWN_LABELS
from k2alert.config.sections import read_project_labels
from k2alert.config.sheet import Sheet, known_keys
from k2alert.config.watch import is_file, matched, read_start
from k2alert.document import DocumentPath, parse_document
from k2alert.measure.catalogue import METRICS
from k2alert.model import Place, Problem, Rule
from k2alert.notify.dues import Kind
from k2alert.rehearse.listeners import DEFAULT_RECEIVER, heard_by_one, listener
from k2alert.rehearse.made_legs import impossible
from k2alert.rehearse.rule_test_given import RunDefaults, with_defaults
from k2alert.rehearse.rule_test_spec import Expectation, TestFile, TestSpec

__all__ = ["ExpectedAlert", "ExpectedMessage", "RuleTest", "TestedFile", "read_test_file"]

_MOST_ROUNDS = 1_000_000  # about a year of rounds every 30 s

# ------------------------------------------------------------------------------------ what they come to


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """The state of the alerts of a rule with these labels at a time after the beginning."""

    place: Place
    at: timedelta
    rule: str
    labels: Mapping[str, str]
    state: str
    message: str | None
    value: float | None


@dataclass(frozen=True, slots=True)
class ExpectedMessage:
    """What a receiver is told in the minute after a time after the beginning; `count` None: at least one message."""

    place: Place
    at: timedelta
    receiver: str
    kind: Kind | None
    contains: str | None
    labels: Mapping[str, str]
    count: int | None


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test: what it is given, and what is expected, in the order of time."""

    name: str
    place: Place
    spec: TestSpec
    expected: tuple[ExpectedAlert | ExpectedMessage, ...]


@dataclass(frozen=True, slots=True)
class TestedFile:
    """What a file came to: the configuration its tests run with, or None and why not."""

    file: str
    config: Config | None
    tests: tuple[RuleTest, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def read_test_file(path: Path, environ: Mapping[str, str]) -> TestedFile:
    """One file of rule tests with the rules it is about. Nothing is raised for what a person wrote."""
    report = Report()
    sheet = _open(path, report)
    if sheet is None:
        return TestedFile(str(path), None, (), report.problems)
    sheet.check_keys((), sheet.data, known_keys(TestFile))
    keys = ("config", "rule_files", "evaluation_interval")
    top = sheet.read_kept(TestFile, {key: sheet.data[key] for key in keys if key in sheet.data})
    config = _config(path.parent, sheet, top, environ)
    tests = tuple(_tests(sheet, config))
    if not tests and not report.failed:
        sheet.error((), "there are no tests in this file: write them under `tests`")
    return TestedFile(str(path), None if report.failed else config, tests, report.problems)


def _open(path: Path, report: Report) -> Sheet | None:
    try:
        content = read_start(path)
    except IsADirectoryError:
        report.add(Place(str(path), 1, 1), "there is no file *.yml or *.yaml in this folder", code="unreadable")
        return None
    except OSError as error:
        report.add(Place(str(path), 1, 1), f"cannot be read: {error.strerror or error}", code="unreadable")
        return None
    document, problems = parse_document(content, str(path))
    report.extend(problems)
    if document is None:
        return None
    if not isinstance(document.data, dict):
        report.add(document.place(()), "the file must be a mapping with `rule_files` and `tests`")
        return None
    return Sheet(document, document.data, report)


def _config(folder: Path, sheet: Sheet, top: TestFile, environ: Mapping[str, str]) -> Config:
    """The configuration that the tests run with: the main file's or none, changed by what the test file says."""
    base = _main(folder, sheet, top.config, environ)
    config = base or Config()
    entries = read_project_labels(sheet, OWN_LABELS)
    names = frozenset(name for entry in (*config.project_labels, *entries) for name in entry.labels)
    rules = (*config.rules, *_rules(folder, sheet, top.rule_files, config, names))
    if not rules and not sheet.report.failed:
        sheet.error((), "there are no rules to test: name their files in `rule_files`")
    interval_names, intervals = read_intervals(sheet)
    config = replace(config, rules=rules, project_labels=(*config.project_labels, *entries))
    if top.evaluation_interval is not None:
        config = replace(config, evaluation_interval=top.evaluation_interval)
    if sheet.data.get("route") is None and base is not None:
        return config
    if not sheet.data.get("route"):
        return heard_by_one(config)
    receivers = {name: listener(name) for name in _receivers(sheet.data["route"])}
    route = read_route(sheet, receivers.keys(), interval_names, intervals)
    return replace(config, receivers=receivers, route=route) if route is not None else heard_by_one(config)


def _main(folder: Path, sheet: Sheet, name: str | None, environ: Mapping[str, str]) -> Config | None:
    if name is None:
        return None
    path = folder / name
    if not is_file(path):
        sheet.error(("config",), f"config: there is no file {path}")
        return None
    loaded = load(path, environ=environ, metrics=METRICS)
    sheet.report.extend(problem for problem in loaded.problems if not problem.warning)
    return loaded.config


def _rules(
    folder: Path, sheet: Sheet, patterns: tuple[str, ...], config: Config, labels: frozenset[str]
) -> tuple[Rule, ...]:
    files: dict[Path, None] = {}
    for index, pattern in enumerate(patterns):
        found = [file for file in matched(folder / pattern) if is_file(file)]
        if not found:
            sheet.error(("rule_files", index), f"rule_files: there is no file {folder / pattern}")
        files.update(dict.fromkeys(found))
    loaded = load_rules(files, metrics=METRICS, retention=config.retention, project_labels=labels)
    sheet.report.extend(problem for problem in loaded.problems if not problem.warning)
    return loaded.rules


def _receivers(route: Any) -> Iterator[str]:
    """Every receiver that a route tree names; `default` where there is none."""
    if not isinstance(route, dict):
        yield DEFAULT_RECEIVER
        return
    if isinstance(route.get("receiver"), str):
        yield route["receiver"]
    for child in route.get("routes") or () if isinstance(route.get("routes"), list) else ():
        if isinstance(child, dict):
            yield from _receivers(child)


# ---------------------------------------------------------------------------------------------- tests


def _tests(sheet: Sheet, config: Config) -> Iterator[RuleTest]:
    names: dict[str, Place] = {}
    defaults = _defaults(sheet)
    if defaults is None:
        return
    for path, data in sheet.items(("tests",)):
        spec = sheet.read(TestSpec, path, with_defaults(data, defaults))
        if spec is None:
            continue
        _check_runs(sheet, path, spec)
        if spec.name in names:
            sheet.error(
                (*path, "name"), f"name: two tests are called {shown(spec.name)}; the other is at {names[spec.name]}"
            )
        names[spec.name] = sheet.place(path)
        if not spec.expect:
            sheet.error((*path, "expect"), "expect: a test that expects nothing shows nothing")
        expected = [_expected(sheet, config, (*path, "expect", index), one) for index, one in enumerate(spec.expect)]
        yield RuleTest(spec.name, sheet.place(path), spec, tuple(sorted(expected, key=lambda one: one.at)))


def _defaults(sheet: Sheet) -> Mapping[str, Any] | None:
    """What runs say unless they say otherwise, as it is written; None where it is wrong."""
    data = sheet.data.get("defaults")
    if data is None:
        return {}
    return data if sheet.read(RunDefaults, ("defaults",)) is not None else None


def _check_runs(sheet: Sheet, path: DocumentPath, spec: TestSpec) -> None:
    alone = not isinstance(sheet.at((*path, "runs")), list)
    for place, runs in enumerate(spec.runs):
        base = (*path, "runs") if alone else (*path, "runs", place)
        for inner, text in impossible(runs):
            sheet.error((*base, *inner), text)


def _expected(sheet: Sheet, config: Config, path: DocumentPath, one: Expectation) -> ExpectedAlert | ExpectedMessage:
    place = sheet.place(path)
    rounds = one.at // config.evaluation_interval
    if rounds > _MOST_ROUNDS:
        text = f"at: the rules would be judged {rounds:,} times before: set a longer evaluation_interval"
        sheet.error((*path, "at"), text)
    if one.alert is not None and one.state is not None:
        _check_name(sheet, (*path, "alert"), "rule", one.alert, [rule.name for rule in config.rules])
        return ExpectedAlert(place, one.at, one.alert, one.labels, one.state, one.message, one.value)
    receiver = one.receiver or ""
    _check_name(sheet, (*path, "receiver"), "receiver", receiver, list(config.receivers))
    return ExpectedMessage(place, one.at, receiver, one.kind, one.contains, one.labels, one.count)


def _check_name(sheet: Sheet, path: DocumentPath, what: str, name: str, known: list[str]) -> None:
    if known and name not in known:
        sheet.error(path, f"{path[-1]}: unknown {what} {shown(name)}{did_you_mean(name, known)}")
