"""The rules of one file: from what is written to `Rule`s that are checked and compiled (contract §2).

Every part of a rule is checked even where another part of it is wrong, so that a person hears of everything at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from k2alert.config.lint import warnings_of
from k2alert.config.report import did_you_mean, shown
from k2alert.config.scope import RuleScope
from k2alert.config.settings import RuleDefaults, RuleSettings
from k2alert.config.sheet import Sheet
from k2alert.document import DocumentPath
from k2alert.judge.condition import Condition, ConditionError, check_message, compile_condition
from k2alert.judge.window import parse_window
from k2alert.labels import Labels, parse_matcher
from k2alert.model import FAILING_ALERT, STALE_ALERT, Rule, Selection, Window
from k2alert.template import (
    TEMPLATE_FUNCTIONS,
    TEMPLATE_NAMES,
    Template,
    TemplateError,
    compile_template,
    ratio_before_percent,
)
from k2alert.times import format_duration

__all__ = ["OWN_LABELS", "read_rules"]

OWN_LABELS = ("alertname", "severity", "source")
"""Labels of an alert that only the rule's own keys set."""
_MERGED = ("labels", "annotations")
_DEFAULTS: DocumentPath = ("defaults",)
# What a rule is checked against while its own period cannot be read: short, so that nothing else is said of it.
_ANY_WINDOW = Window(length=timedelta(hours=1))


def read_rules(sheet: Sheet, scope: RuleScope) -> tuple[Rule, ...]:
    """The good rules of a file, in order; the report has the rest."""
    defaults = sheet.data.get("defaults")
    if defaults is not None:
        sheet.read(RuleDefaults, _DEFAULTS)
    usable = defaults if isinstance(defaults, dict) else {}
    known = {key: value for key, value in usable.items() if key in _rule_keys() and key != "name"}
    rules = [_read_rule(sheet, scope, path, item, known) for path, item in sheet.items(("alert_rules",))]
    return tuple(rule for rule in rules if rule is not None)


def _rule_keys() -> frozenset[str]:
    return frozenset(info.alias or name for name, info in RuleSettings.model_fields.items())


def _read_rule(
    sheet: Sheet, scope: RuleScope, path: DocumentPath, own: Any, defaults: Mapping[str, Any]
) -> Rule | None:
    if not isinstance(own, dict):
        sheet.error(path, "a rule must be a mapping with name, condition, period, severity and message")
        return None
    reading = _Reading(sheet, scope, path, _merge(defaults, own))
    settings = sheet.read(RuleSettings, path, reading.data, (path, _DEFAULTS))
    texts = reading.compile()
    reading.check_name()
    reading.check_labels(texts)
    return reading.rule(settings, texts) if settings is not None and texts is not None else None


def _merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A rule's own keys over the file's; labels and annotations key by key."""
    merged = {**defaults, **own}
    for key in _MERGED:
        if isinstance(defaults.get(key), dict) and isinstance(own.get(key), dict):
            merged[key] = {**defaults[key], **own[key]}
    return merged


@dataclass(frozen=True, slots=True)
class _Texts:
    """The compiled texts of a rule, and the longest look-back of any."""

    condition: Condition
    clear: Condition | None
    message: Template
    annotations: Mapping[str, Template]
    look_back: timedelta

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics whose facts decide."""
        return self.condition.metrics | (self.clear.metrics if self.clear else frozenset())


@dataclass(frozen=True, slots=True)
class _Reading:
    """One rule while it is read: `data` is the rule with the file's defaults under it."""

    sheet: Sheet
    scope: RuleScope
    path: DocumentPath
    data: Mapping[str, Any]

    def at(self, *keys: str | int) -> DocumentPath:
        """Where a key is written: in the rule, or else in the defaults."""
        own = (*self.path, *keys)
        default = (*_DEFAULTS, *keys)
        return default if self.sheet.document.has(default) and not self.sheet.document.has(own) else own

    @property
    def window(self) -> Window:
        """The rule's period; a stand-in where it cannot be read, which `RuleSettings` reports."""
        period = self.data.get("period")
        try:
            return parse_window(period) if isinstance(period, str) else _ANY_WINDOW
        except ValueError:
            return _ANY_WINDOW

    def compile(self) -> _Texts | None:
        """Every text of the rule compiled, or None and their problems."""
        condition = self._condition("condition")
        clear = self._condition("clear")
        message = self._template("message")
        annotations = {name: self._template("annotations", name) for name in self._mapping("annotations")}
        written = {name: found for name, found in annotations.items() if found is not None}
        failed = len(written) < len(annotations) or (clear is None and self.data.get("clear") is not None)
        if condition is None or message is None or failed:
            return None
        reaches = [template[1] for template in (message, *written.values())]
        return _Texts(
            condition=condition,
            clear=clear,
            message=message[0],
            annotations={name: template for name, (template, _) in written.items()},
            look_back=max([condition.look_back, *reaches, *([clear.look_back] if clear else [])]),
        )

    def check_name(self) -> None:
        """Two rules of one name would be one alert."""
        name = self.data.get("name")
        if not isinstance(name, str):
            return
        if name in (STALE_ALERT, FAILING_ALERT):
            self.sheet.error(self.at("name"), f"name: {name} is k2alert's own")
        place = self.sheet.place(self.at("name"))
        first = self.scope.names.setdefault(name, place)
        if first != place:
            self.sheet.error(self.at("name"), f"name: two rules are called {shown(name)}; the other is at {first}")

    def check_labels(self, texts: _Texts | None) -> None:
        """Labels that facts don't have, and labels that are set elsewhere."""
        metrics = sorted(texts.metrics) if texts else []
        for index, name in enumerate(self._texts_of("by")):
            self._check_known(("by", index), name, metrics)
        for index, text in enumerate(self._texts_of("match")):
            self._check_known(("match", index), _matched_label(text), metrics)
        self.scope.labels.update(self._mapping("labels"))
        for name in self._mapping("labels"):
            if name in OWN_LABELS or name in self._texts_of("by", ("project",)):
                self.sheet.error(self.at("labels", name), f"labels: {name} is set by the rule itself")
        if "message" in self._mapping("annotations"):
            self.sheet.error(self.at("annotations", "message"), "annotations: the message is the rule's `message`")
        for index, name in enumerate(self._texts_of("exclude_during")):
            self._check_interval(("exclude_during", index), name)

    def rule(self, settings: RuleSettings, texts: _Texts) -> Rule:
        """The rule, checked and compiled."""
        self._warn(texts)
        self._check_reach(texts)
        return Rule(
            name=settings.name,
            condition=texts.condition,
            window=settings.period,
            period=str(self.data["period"]),
            severity=settings.severity,
            message=texts.message,
            selection=Selection(
                match=settings.match,
                by=tuple(dict.fromkeys(("source", *settings.by))),
                without=tuple(found for name in settings.exclude_during if (found := self.scope.intervals.get(name))),
            ),
            hold=settings.hold,
            keep_firing_for=settings.keep_firing_for,
            clear=texts.clear,
            min_samples=settings.min_samples,
            no_data=settings.no_data,
            exclude_during=settings.exclude_during,
            labels=Labels(settings.labels),
            annotations=texts.annotations,
            look_back=texts.look_back,
            place=self.sheet.place(self.path),
        )

    def _check_reach(self, texts: _Texts) -> None:
        """What is written has been checked; streaks, ages and periods in runs count as seven days (contract §1)."""
        kept = self.scope.retention
        if texts.look_back > kept:
            reach = f"{format_duration(texts.look_back)}, as streaks, ages and periods in runs do"
            self.sheet.error(self.at("period"), f"the rule looks back {reach}; retention is {format_duration(kept)}")

    def _condition(self, key: str) -> Condition | None:
        text = self.data.get(key)
        if not isinstance(text, str):
            return None
        try:
            return compile_condition(
                text, metrics=self.scope.metrics, window=self.window, retention=self.scope.retention
            )
        except ConditionError as error:
            self.sheet.error_inside(self.at(key), error.column_offset, f"{key}: {error.text}")
            return None

    def _template(self, *keys: str) -> tuple[Template, timedelta] | None:
        """A message or annotation, and how far back it looks."""
        text = self.data.get(keys[0])
        text = text.get(keys[1]) if len(keys) > 1 and isinstance(text, dict) else text
        if not isinstance(text, str):
            return None
        metrics = self.scope.metrics
        try:
            template = compile_template(text, names=TEMPLATE_NAMES | metrics.keys(), functions=TEMPLATE_FUNCTIONS)
            reach = check_message(template, metrics=metrics, window=self.window, retention=self.scope.retention)
        except TemplateError as error:
            offset = sum(len(line) + 1 for line in text.split("\n")[: error.line - 1])
            self.sheet.error_inside(self.at(*keys), offset, f"{'.'.join(keys)}: {error.text}")
            return None
        for name in ratio_before_percent(template, metrics):
            advice = f"write {{{{ {name} | percent }}}} and no % after it"
            self.sheet.warn(
                self.at(*keys), f'{".".join(keys)}: {name} is a ratio: 0.93 would read "0.93%"; {advice}', "percent"
            )
        return template, reach

    def _check_known(self, keys: tuple[str, int], name: str, metrics: Iterable[str]) -> None:
        """That the facts of every metric have the label; text that is no label at all is `RuleSettings`' concern."""
        known = self.scope.labels_of(metrics)
        if name in known or not name:
            return
        path = self.at(*keys)
        if name in self.scope.labels_of([]):
            without = ", ".join(metric for metric in metrics if name not in self.scope.labels_of([metric]))
            self.sheet.error(path, f"{keys[0]}: what {without} counts has no label {shown(name)}")
        elif self.scope.closed:
            self.sheet.error(path, f"{keys[0]}: unknown label {shown(name)}{did_you_mean(name, sorted(known))}")
        else:
            self.sheet.warn(
                path, f"{keys[0]}: {shown(name)} is no label of facts; only project_labels may give it", "label"
            )

    def _check_interval(self, keys: tuple[str, int], name: str) -> None:
        if self.scope.closed and name not in self.scope.intervals:
            near = did_you_mean(name, sorted(self.scope.intervals))
            self.sheet.error(self.at(*keys), f"{keys[0]}: unknown time interval {shown(name)}{near}")

    def _warn(self, texts: _Texts) -> None:
        for name in sorted(texts.metrics):
            if not self.scope.metrics[name].collected:
                key = "condition" if name in texts.condition.metrics else "clear"
                self.sheet.warn(self.at(key), f"{key}: nothing collects {name} yet: it has no data", "no-collector")
        for warning in warnings_of(texts.condition, texts.clear, self.data, self.window, self.scope):
            if warning.offset is None:
                self.sheet.warn(self.at(*warning.keys), warning.text, warning.code)
            else:
                self.sheet.warn_inside(self.at(*warning.keys), warning.offset, warning.text, warning.code)

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self.data.get(key)
        return value if isinstance(value, dict) else {}

    def _texts_of(self, key: str, default: tuple[str, ...] = ()) -> list[str]:
        """The items of a list that are text, and "" for the others, which `RuleSettings` reports."""
        value = self.data.get(key)
        return [item if isinstance(item, str) else "" for item in value] if isinstance(value, list) else list(default)


def _matched_label(text: str) -> str:
    """The label that a matcher is about; "" where it cannot be read."""
    try:
        return parse_matcher(text).name
    except ValueError:
        return ""
