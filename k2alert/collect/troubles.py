"""Says in the log what goes wrong with sources and their projects: each trouble once, and its end."""

import logging
import traceback
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from k2alert.collect.answers import one_line
from k2alert.collect.flow import Failure, Refusal
from k2alert.collect.timetable import Source
from k2alert.model import Project

__all__ = ["name_bug", "tell_bug", "tell_groups", "tell_look", "tell_refusals"]

_LOG = logging.getLogger(__name__)
_MOST_TOLD = 10_000  # files remembered as told; who breaks so many hears of them again


def tell_look(source: Source, before: Project, failure: Failure | None, *, now: datetime) -> None:
    """Logs that a project fails, once for each reason, and that it is well again."""
    place = source.places[before.key]
    where = {"source": source.name, "project": before.key}
    if failure is not None and failure.reason == "rate_limited":
        _tell_limit(source, failure, now)
    elif failure is None:
        if before.failures and place.told:
            _LOG.info("project %s of source %s can be read again", before.key, source.name, extra=where)
        place.told = ""
    elif place.told != failure.reason:
        _LOG.warning(
            "project %s of source %s cannot be read: %s",
            before.key,
            source.name,
            failure.detail,
            extra={**where, "reason": failure.reason},
        )
        place.told = failure.reason


def _tell_limit(source: Source, failure: Failure, now: datetime) -> None:
    """Logs that the forge's limit is reached: one line for all projects of the source, as long as it lasts."""
    if source.limited_until <= now:
        extra = {"source": source.name, "reason": failure.reason}
        _LOG.warning("source %s must wait: %s", source.name, failure.detail, extra=extra)
    source.limited_until = max(source.limited_until, now + (failure.retry_after or timedelta()))


def tell_groups(source: Source, failure: Failure | None) -> None:
    """Logs that a source's groups cannot be read, once for each reason, and that they can again."""
    reason = failure.reason if failure is not None else ""
    if failure is not None and source.told != reason:
        _LOG.warning("the groups of source %s cannot be read: %s", source.name, failure.detail)
    if failure is None and source.told:
        _LOG.info("the groups of source %s can be read again", source.name)
    source.told = reason


def tell_refusals(source: Source, key: str, refusals: Iterable[Refusal]) -> None:
    """Counts report files that were not read, and logs each file of a job once for each reason."""
    for refusal in refusals:
        source.refused[refusal.reason] += 1
        told = (key, refusal.job, refusal.file, refusal.reason)
        if told in source.refusals_told:
            continue
        if len(source.refusals_told) >= _MOST_TOLD:
            source.refusals_told.clear()
        source.refusals_told.add(told)
        what = f"{refusal.file} of {refusal.job}" if refusal.file else f"the artifacts of {refusal.job}"
        _LOG.warning(
            "project %s of source %s: %s in run %s cannot be read: %s",
            key,
            source.name,
            one_line(what),
            refusal.run,
            one_line(refusal.line),
            extra={"source": source.name, "project": key, "reason": refusal.reason},
        )


def name_bug(error: Exception) -> str:
    """What the bug is and where in the code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def tell_bug(source: Source, keys: Sequence[str], error: Exception) -> None:
    """Logs that a look met a bug, once for each project, the first at each place in the code with its trace.

    One in a scan of several projects is told once, for each is looked at by itself next.
    """
    bug = name_bug(error)
    extra = {"source": source.name, "project": keys[0], "reason": "bug"}
    trace = None if bug in source.traced else error
    if len(keys) > 1 and trace is not None:
        extra = {"source": source.name, "reason": "bug"}
        _LOG.error("scanning source %s failed: %s", source.name, bug, extra=extra, exc_info=trace)
    elif len(keys) == 1 and source.places[keys[0]].told != bug:
        source.places[keys[0]].told = bug
        _LOG.error(
            "looking at project %s of source %s failed: %s", keys[0], source.name, bug, extra=extra, exc_info=trace
        )
    source.traced.add(bug)
