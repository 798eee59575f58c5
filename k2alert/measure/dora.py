"""Deployments: those of a ledger in, DORA's measures out (https://dora.dev/guides/dora-metrics-four-keys/).

Only deployments that worked or failed count; cancelled and skipped ones brought nothing. An *environment* is one of one
project. What is measured over several environments is measured in each, and taken together or the worst of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import median
from types import MappingProxyType

from k2alert.measure.ledger import Ledger, Place
from k2alert.model import RESULTS, DeploymentEntry, EvidenceRefs, Kind, Measured, Result, Window

__all__ = ["DEPLOYMENT_EVIDENCE", "DEPLOYMENT_FORMULAS"]

_NO_DATA = Measured(None, 0)
_HOUR = 3_600_000
_DAY = timedelta(days=1)
_DECIDED = frozenset(code for code, result in enumerate(RESULTS) if result.decided)
_WORKED = RESULTS.index(Result.SUCCESS)

Environment = tuple[Place, str]


def _decided(ledger: Ledger, window: Window, at: int) -> list[DeploymentEntry]:
    return [entry for entry in ledger.within(ledger.span(window, at)) if entry.result in _DECIDED]


def _failures(ledger: Ledger, window: Window, at: int) -> list[DeploymentEntry]:
    return [entry for entry in _decided(ledger, window, at) if entry.result != _WORKED]


def _by_environment(ledger: Ledger, at: int) -> Mapping[Environment, Sequence[DeploymentEntry]]:
    """All decided deployments finished by then, by environment, in the order in which they finished."""
    span = (0, ledger.until(at))
    return ledger.remember("environments", span, lambda: _grouped(ledger, ledger.within(span)))


def _grouped(ledger: Ledger, entries: Sequence[DeploymentEntry]) -> Mapping[Environment, Sequence[DeploymentEntry]]:
    found: dict[Environment, list[DeploymentEntry]] = defaultdict(list)
    for entry in entries:
        if entry.result in _DECIDED:
            info = ledger.info(entry)
            found[info.place, info.environment].append(entry)
    return found


def _deployments(ledger: Ledger, window: Window, at: int) -> Measured:
    count = len(_decided(ledger, window, at))
    return Measured(count, count)


def _failed(ledger: Ledger, window: Window, at: int) -> Measured:
    return Measured(len(_failures(ledger, window, at)), len(_decided(ledger, window, at)))


def _failure_rate(ledger: Ledger, window: Window, at: int) -> Measured:
    decided = len(_decided(ledger, window, at))
    return Measured(len(_failures(ledger, window, at)) / decided, decided) if decided else _NO_DATA


def _frequency(ledger: Ledger, window: Window, at: int) -> Measured:
    """Deployments that worked per day of the window; no data where none was ever seen."""
    if not _by_environment(ledger, at):
        return _NO_DATA
    decided = _decided(ledger, window, at)
    worked = sum(entry.result == _WORKED for entry in decided)
    return Measured(worked / (window.look_back / _DAY), len(decided))


def _worst_streak(ledger: Ledger, window: Window, at: int) -> list[DeploymentEntry] | None:
    """The longest present streak of failures, newest created first, of the environments deployed to in the window."""
    span = ledger.span(window, at)
    return ledger.remember(("streak", window), span, lambda: _find_worst_streak(ledger, span[0], at))


def _find_worst_streak(ledger: Ledger, low: int, at: int) -> list[DeploymentEntry] | None:
    since = (ledger.entries[low].finished, ledger.entries[low].ref) if low < len(ledger.entries) else None
    streaks = [
        _streak(entries)
        for entries in _by_environment(ledger, at).values()
        if since is not None and (entries[-1].finished, entries[-1].ref) >= since
    ]
    return max(streaks, key=lambda streak: (len(streak), streak[0].created if streak else 0), default=None)


def _streak(entries: Sequence[DeploymentEntry]) -> list[DeploymentEntry]:
    failing: list[DeploymentEntry] = []
    for entry in sorted(entries, key=lambda entry: (entry.created, entry.ref), reverse=True):
        if entry.result == _WORKED:
            break
        failing.append(entry)
    return failing


def _consecutive(ledger: Ledger, window: Window, at: int) -> Measured:
    streak = _worst_streak(ledger, window, at)
    return _NO_DATA if streak is None else Measured(len(streak), len(_decided(ledger, window, at)))


def _lead_time(ledger: Ledger, window: Window, at: int) -> Measured:
    """The median, over deployments that worked, of the time from the commit (or the run) to the deployment's end."""
    worked = [entry for entry in _decided(ledger, window, at) if entry.result == _WORKED]
    return _median_hours([max(0, entry.finished - entry.since) for entry in worked])


def _time_to_restore(ledger: Ledger, window: Window, at: int) -> Measured:
    """The median, over outages that ended in the window, of the time from the first failure to what worked again."""
    low, _ = ledger.span(window, at)
    if low >= len(ledger.entries):
        return _NO_DATA
    first = ledger.entries[low]
    ended = [
        until.finished - since.finished
        for entries in _by_environment(ledger, at).values()
        for since, until in _outages(entries)
        if (until.finished, until.ref) >= (first.finished, first.ref)
    ]
    return _median_hours(ended)


def _outages(entries: Sequence[DeploymentEntry]) -> Iterator[tuple[DeploymentEntry, DeploymentEntry]]:
    """From the first deployment that failed to the next that worked, again and again."""
    began: DeploymentEntry | None = None
    for entry in entries:
        if entry.result != _WORKED:
            began = began or entry
        elif began is not None:
            yield began, entry
            began = None


def _median_hours(lengths: Sequence[int]) -> Measured:
    return Measured(median(lengths) / _HOUR, len(lengths)) if lengths else _NO_DATA


DEPLOYMENT_FORMULAS: Mapping[str, Callable[[Ledger, Window, int], Measured]] = MappingProxyType(
    {
        "deployments": _deployments,
        "failed_deployments": _failed,
        "consecutive_failed_deployments": _consecutive,
        "deployment_frequency_per_day": _frequency,
        "change_failure_rate": _failure_rate,
        "lead_time_hours": _lead_time,
        "time_to_restore_hours": _time_to_restore,
    }
)


# ---------------------------------------------------------------------------------------- evidence


def _newest(
    pick: Callable[[Ledger, Window, int], Sequence[DeploymentEntry]],
) -> Callable[[Ledger, Window, int, int], EvidenceRefs]:
    """The newest of some deployments, among all that count."""

    def find(ledger: Ledger, window: Window, at: int, limit: int) -> EvidenceRefs:
        found = pick(ledger, window, at)
        refs = tuple(entry.ref for entry in reversed(found[-limit:]))
        among = max(len(found), len(_decided(ledger, window, at)))
        return EvidenceRefs(Kind.DEPLOYMENT, refs, len(found), among, None, None)

    return find


def _of_streak(ledger: Ledger, window: Window, at: int) -> Sequence[DeploymentEntry]:
    return (_worst_streak(ledger, window, at) or [])[::-1]


DEPLOYMENT_EVIDENCE: Mapping[str, Callable[[Ledger, Window, int, int], EvidenceRefs]] = MappingProxyType(
    {
        "deployments": _newest(_decided),
        "failed_deployments": _newest(_failures),
        "consecutive_failed_deployments": _newest(_of_streak),
        "deployment_frequency_per_day": _newest(_decided),
        "change_failure_rate": _newest(_failures),
        "lead_time_hours": _newest(_decided),
        "time_to_restore_hours": _newest(_failures),
    }
)
