"""What a backtest is made of: a configuration, rules and a store come in; a rehearsal with its evidence goes out.

The store is only read, also beside the daemon that writes to it. Facts are taken as the store has them: known from the
moment they finished.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from k2alert.collect.settings import SourceSettings
from k2alert.config.load import is_rule_file, load, load_rules
from k2alert.config.model import Config
from k2alert.cycle import Scene
from k2alert.measure.catalogue import METRICS
from k2alert.model import Evidence, EvidenceRefs, Problem, Project, Rule
from k2alert.recall import behind, fill_board, make_board
from k2alert.record.store import Reader
from k2alert.rehearse.agenda import Grid, is_of_now
from k2alert.rehearse.backtest import Backtest, Rehearsed, in_history
from k2alert.telling import evidence_of
from k2alert.times import EPOCH, format_duration
from k2alert.universe import make_universe

__all__ = ["WithEvidence", "Wrong", "read_rules", "rehearse", "span"]


class Wrong(Exception):
    """The rehearsal cannot be: `lines` say why, each by itself."""

    def __init__(self, lines: Iterable[object]) -> None:
        self.lines = tuple(map(str, lines))
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class WithEvidence:
    """A rehearsal, the evidence of its incidents in the same order, and what was left out of it, a line for each."""

    rehearsed: Rehearsed
    evidence: tuple[Evidence, ...]
    rules: tuple[Rule, ...]
    projects: int
    notes: tuple[str, ...]


def read_rules(paths: Sequence[Path], config: Config, environ: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules of rule files and main files, for the projects and retention of the configuration. Raises `Wrong`."""
    names = frozenset(name for entry in config.project_labels for name in entry.labels)
    alone = [path for path in paths if is_rule_file(path)]
    found = load_rules(alone, metrics=METRICS, retention=config.retention, project_labels=names)
    rules, problems = list(found.rules), list(found.problems)
    for path in paths:
        if path not in alone:
            loaded = load(path, environ=environ, metrics=METRICS)
            rules += loaded.config.rules if loaded.config is not None else ()
            problems += loaded.problems
    _refuse(problems)
    return tuple(rules)


def _refuse(problems: Iterable[Problem]) -> None:
    errors = [problem for problem in problems if not problem.warning]
    if errors:
        raise Wrong(errors)


def span(
    config: Config, projects: Sequence[Project], *, since: timedelta, until: datetime | None, now: datetime
) -> Grid:
    """The instants to rehearse: those of the configuration's interval, up to `until` or the end of what was read.

    It begins no earlier than the history. Raises `Wrong` where there is none.
    """
    read = max((project.complete_at for project in projects if project.complete_at is not None), default=now)
    known = [in_history(project, until=read, retention=config.retention).covered_since for project in projects]
    first = min((covered for covered in known if covered is not None), default=None)
    step, end = config.evaluation_interval, min(until or read, read)
    if first is None or first >= end:
        raise Wrong(["there is no history to rehearse: no project has been read to the end in this time"])
    last = EPOCH + (end - EPOCH) // step * step
    count = min(since, last - first) // step
    return Grid(last - count * step, step, count + 1)


async def rehearse(config: Config, rules: Sequence[Rule], store: Reader, grid: Grid) -> WithEvidence:
    """What these rules would have done. Raises `StoreError`."""
    left_out = [rule for rule in rules if is_of_now(rule)]
    kept = tuple(rule for rule in rules if rule not in left_out)
    found = await store.projects()
    config = replace(config, rules=kept, sources=_sources(config, found))
    projects = [in_history(project, until=grid.end, retention=config.retention) for project in found]
    board = make_board(config, METRICS)
    await fill_board(board, store)
    scene = Scene(
        config=config,
        metrics=METRICS,
        measures=board,
        universe=make_universe(config, projects),
        projects=projects,
        alerts={},
        log=(),
        started_at=grid.start,
    )
    rehearsed = Backtest(scene, board, grid).run()
    notes = [f"{rule.name} asks for what is open now; no history knows that: left out" for rule in left_out]
    notes += _late(rehearsed, kept)
    return WithEvidence(rehearsed, await _evidence(scene, store, rehearsed), kept, len(projects), tuple(notes))


def _sources(config: Config, projects: Iterable[Project]) -> tuple[SourceSettings, ...]:
    """The sources of the history: a daemon forgets the projects of those that it no longer reads.

    The configuration need not have them: its addresses may stand in variables that are not set here, or it is that of
    rules alone.
    """
    known = {source.name: source.model_copy(update={"backfill": None}) for source in config.sources}
    for name in sorted({project.source for project in projects} - known.keys()):
        known[name] = SourceSettings(type="gitlab", name=name)
    return tuple(known.values())


def _late(rehearsed: Rehearsed, rules: Sequence[Rule]) -> Iterable[str]:
    """Which rules could not be judged from the start, for they look back further than the history goes."""
    for rule in rules:
        since = rehearsed.judged_from.get(rule.name)
        if since is None:
            length = format_duration(rule.look_back)
            yield f"{rule.name} looks back {length}, further than the history goes: never judged"
        elif since > rehearsed.grid.start:
            length = format_duration(rule.look_back)
            yield f"{rule.name} is judged from {since:%Y-%m-%d %H:%M} UTC: it looks back {length}"


async def _evidence(scene: Scene, store: Reader, rehearsed: Rehearsed) -> tuple[Evidence, ...]:
    refs: list[EvidenceRefs | None] = [incident.refs for incident in rehearsed.incidents]
    known = await behind(store, [found for found in refs if found is not None])
    return tuple(Evidence() if found is None else evidence_of(found, known, None, "") for found in refs)
