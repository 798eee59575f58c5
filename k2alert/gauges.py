"""Which CI series exist: the configuration's `export` and what is known come in, families of samples go out."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from k2alert.config.model import Config
from k2alert.expose.exposition import NEVER_SHOWN, Family, gauge_families
from k2alert.labels import Labels, matches_all
from k2alert.model import Kind, Measures, Metric, Needs, Project, Window
from k2alert.recall import export_selection
from k2alert.times import to_ms

__all__ = ["ci_families"]

_AT_A_TIME = 20  # label sets; the first streak of a busy project takes milliseconds, everything else microseconds


def ci_families(
    config: Config, metrics: Mapping[str, Metric], measures: Measures, projects: Sequence[Project], *, now: datetime
) -> Iterator[Family]:
    """Families for each metric of the catalogue that can be grouped as `export.by` says.

    A family comes in parts, a few label sets each, so that whoever goes through them can let others work in between.
    """
    selection = export_selection(config)
    own = {"source", "project"} | {name for entry in config.project_labels for name in entry.labels}
    at = to_ms(now)
    blind = _blind_to_open_jobs(config, metrics)
    if not NEVER_SHOWN.isdisjoint(selection.by):
        return
    fitting = {
        kind: {
            name: metric
            for name, metric in metrics.items()
            if metric.kind is kind and set(selection.by) <= metric.labels | own
        }
        for kind in Kind
    }
    if set(selection.by) <= own:
        parts = ((part, tuple(Kind)) for part in _parts(_of_projects(config, projects, own)))
    else:
        window = Window(max(config.export.windows))
        read = {(project.source, project.path) for project in projects}
        parts = (
            (part, (kind,))
            for kind in Kind
            if fitting[kind]
            for part in _parts(
                (identity, _shown(config, identity))
                for identity in measures.label_sets(selection, window, at, kind)
                if _is_read(identity, read)
            )
        )
    for part, kinds in parts:
        for kind in kinds:
            for known, of in _known(fitting[kind], part, blind if kind is Kind.JOB else frozenset()):
                yield from gauge_families(known, measures, selection, of, config.export.windows, at=at)


_LabelSets = list[tuple[Labels, Labels]]


def _parts(label_sets: Iterable[tuple[Labels, Labels]]) -> Iterator[_LabelSets]:
    left = iter(label_sets)
    while part := list(islice(left, _AT_A_TIME)):
        yield part


def _blind_to_open_jobs(config: Config, metrics: Mapping[str, Metric]) -> frozenset[str]:
    """The sources whose open runs are read without their jobs: GitHub's, unless a rule or a webhook tells of them."""
    spoken_of = {metrics[name].kind for rule in config.rules for name in rule.condition.metrics if name in metrics}
    silent = [source for source in config.sources if source.type == "github" and not source.webhook_secret]
    return frozenset() if Kind.JOB in spoken_of else frozenset(source.name for source in silent)


def _known(
    metrics: Mapping[str, Metric], label_sets: _LabelSets, blind: frozenset[str]
) -> Iterator[tuple[Mapping[str, Metric], _LabelSets]]:
    """All of these, but for what is going on at a source that is blind to it: there is no zero where nobody looked."""
    seen = [(identity, shown) for identity, shown in label_sets if identity.get("source") not in blind]
    if len(seen) == len(label_sets):
        yield metrics, label_sets
        return
    yield {name: metric for name, metric in metrics.items() if metric.needs is not Needs.STATE}, label_sets
    yield {name: metric for name, metric in metrics.items() if metric.needs is Needs.STATE}, seen


def _of_projects(config: Config, projects: Sequence[Project], names: set[str]) -> Iterator[tuple[Labels, Labels]]:
    by = {"source", *config.export.by}
    about_projects = [matcher for matcher in config.export.match if matcher.name in names]
    found: set[Labels] = set()
    for project in projects:
        own = {"source": project.source, "project": project.path}
        labels = config.labels_of_project(project.source, project.path).merged(own)
        if matches_all(about_projects, labels) and (identity := labels.only(by)) not in found:
            found.add(identity)
            yield identity, identity.merged(labels.only(config.export.labels))


def _is_read(identity: Labels, projects: Collection[tuple[str, str]]) -> bool:
    """Whether the label set's project is one of these (one without a project is of all of them)."""
    return "project" not in identity or (identity["source"], identity["project"]) in projects


def _shown(config: Config, identity: Labels) -> Labels:
    """The labels a series is shown with: what it is grouped by, and the project labels that `export.labels` adds."""
    owned = config.labels_of_project(identity.get("source", ""), identity.get("project", ""))
    return owned.only(config.export.labels).merged(identity)
