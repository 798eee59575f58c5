"""The whole configuration, checked and frozen: what the rest of the program sees of the files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr

from k2alert.collect.settings import SourceSettings
from k2alert.intervals import Interval
from k2alert.labels import Labels, Matcher, matches_all
from k2alert.model import Rule
from k2alert.notify.hush import Inhibition
from k2alert.notify.route import Receiver, Route


@dataclass(frozen=True, slots=True)
class ProjectLabels:
    """Labels that projects get by matchers on their `source` and `project`."""

    match: tuple[Matcher, ...]
    labels: Labels


@dataclass(frozen=True, slots=True)
class Export:
    """Which CI gauges exist (contract §5)."""

    windows: tuple[timedelta, ...] = (timedelta(hours=24), timedelta(days=7))
    by: tuple[str, ...] = ("project",)
    match: tuple[Matcher, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Web:
    """Where the HTTP server listens and who may write."""

    listen: str = "127.0.0.1:9725"
    external_url: str = ""
    admin_token: SecretStr | None = None
    read_token: SecretStr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything the files say. `hash` changes when any of them does."""

    sources: tuple[SourceSettings, ...] = ()
    store: str = field(default="sqlite:///k2alert.db", repr=False)  # it may hold a password
    retention: timedelta = timedelta(days=35)
    evaluation_interval: timedelta = timedelta(seconds=30)
    web: Web = field(default_factory=Web)
    labels: Labels = field(default_factory=Labels)
    project_labels: tuple[ProjectLabels, ...] = ()
    export: Export = field(default_factory=Export)
    receivers: Mapping[str, Receiver] = field(default_factory=dict)
    route: Route | None = None  # None: nobody is told anything
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    inhibitions: tuple[Inhibition, ...] = ()
    rules: tuple[Rule, ...] = ()
    hash: str = ""

    def labels_of_project(self, source: str, project: str) -> Labels:
        """The `project_labels` of a project; later entries win."""
        known = {"source": source, "project": project}
        found: dict[str, str] = {}
        for entry in self.project_labels:
            if matches_all(entry.match, known):
                found.update(entry.labels)
        return Labels(found)

    @property
    def look_back(self) -> timedelta:
        """The longest look-back of any rule or exported gauge."""
        return max([rule.look_back for rule in self.rules] + list(self.export.windows), default=timedelta(days=7))
