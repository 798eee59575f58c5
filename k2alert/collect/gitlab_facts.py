"""Reads what GitLab says of a project beside its pipelines: deployments and pipeline schedules, over REST v4.

Only what a rule needs is asked for, and not in every look: deployments when a pipeline has come to its end, schedules
when one should have run; both once an hour besides. What was read when is in the project's bookmarks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from k2alert.collect.flow import Answer, Batch, Failure, Look, Request
from k2alert.collect.gitlab_facts_parse import environment_of, next_runs, parse_deployment, parse_schedules
from k2alert.collect.gitlab_reading import FATAL, Reading, Steps, fetch
from k2alert.collect.gitlab_reports import read_reports
from k2alert.collect.gitlab_rest import read_pipeline
from k2alert.collect.schedule import OVERLAP
from k2alert.collect.tiers import tier_named
from k2alert.model import Fact, Kind
from k2alert.times import iso

__all__ = ["end_look", "read_facts"]

_PAGE = 100
_MOST_PAGES = 100  # of deployments in one look
_MOST_ENVIRONMENTS = 20  # whose tier is asked for at once; a backfill may meet hundreds of review apps

_EVERY = timedelta(hours=1)
_SOON = timedelta(minutes=5)
"""How often deployments are read where some are made without a pipeline, and how long after a schedule should have run
it is read anew: whoever switched it off since then must not hear that it is overdue."""


def end_look(reading: Reading, failure: Failure | None) -> Steps[Look]:
    """How a look ends whose runs were read, or were not: with what rules need beside them.

    One item that is not what the API promises makes the look fail, once everything readable has been handed over.
    """
    if failure is None:
        failure = (yield from _read_owed(reading)) or (yield from read_facts(reading))
    if failure is None and reading.malformed:
        more = len(reading.malformed) - 1
        failure = Failure("body", reading.malformed[0] + (f" (and {more} more such items)" if more else ""))
    return reading.close(failure)


def _read_owed(reading: Reading) -> Steps[Failure | None]:
    """The reports that looks before could not read, of pipelines that this one did not meet."""
    for run_id in [key for key in reading.owed if key not in reading.handled]:
        read = yield from read_pipeline(reading, {"id": run_id})
        if isinstance(read, Failure):
            return read
        if read is None:
            reading.mark(run_id)
            continue
        run, item = read
        failure = yield from read_reports(reading, [run], {run.id: item})
        if failure is not None:
            return failure
    return None


def read_facts(reading: Reading) -> Steps[Failure | None]:
    """What the rules need of this project and is due, once its runs are recorded."""
    steps: list[tuple[Kind, bool, Callable[[Reading], Steps[Failure | None]]]] = [
        (Kind.DEPLOYMENT, reading.ended or _is_due(reading, Kind.DEPLOYMENT), _read_deployments),
        (Kind.SCHEDULE, _is_due(reading, Kind.SCHEDULE), _read_schedules),
    ]
    for kind, due, read in steps:
        failure = (yield from read(reading)) if due and kind in reading.ask.wants else None
        if failure is not None and failure.reason in FATAL:
            return failure
        if failure is not None and failure.reason in ("forbidden", "not_found"):
            _read_again(reading, kind, reading.ask.now + _EVERY)  # nothing to read, or not for this token
    return None


def _is_due(reading: Reading, kind: Kind) -> bool:
    at: datetime | None = reading.bookmarks.get(f"{kind}_due")
    return at is None or at <= reading.ask.now or kind in reading.ask.heard


def _read_again(reading: Reading, kind: Kind, at: datetime) -> None:
    reading.bookmarks[f"{kind}_due"] = at


# --------------------------------------------------------------------------------------------- deployments


def _read_deployments(reading: Reading) -> Steps[Failure | None]:
    # GitLab takes `updated_after` only in this order (app/finders/deployments_finder.rb).
    order = (("updated_after", _since(reading)), ("order_by", "updated_at"), ("sort", "asc"), ("per_page", str(_PAGE)))
    apart = False
    for page in range(1, _MOST_PAGES + 1):
        request = Request(f"{reading.api}/deployments", (*order, ("page", str(page))), kind="deployments")
        items = _items((yield from fetch(request)))
        if isinstance(items, Failure):
            return items
        failure = yield from _read_tiers(reading, items)
        found = (parse_deployment(item, reading.project, _tiers(reading)) for item in items)
        yield _facts(reading, [each for each in found if each is not None])
        if failure is not None:
            return failure
        apart = apart or any(item.get("deployable") is None for item in items)
        if len(items) < _PAGE:
            break
    reading.bookmarks["deployments_read"] = reading.ask.now
    reading.bookmarks["deployments_apart"] = apart or reading.bookmarks.get("deployments_apart", False)
    often = reading.bookmarks["deployments_apart"]
    _read_again(reading, Kind.DEPLOYMENT, reading.ask.now + (_SOON if often else _EVERY))
    return None


def _since(reading: Reading) -> str:
    """From when on deployments may have changed unread: since the last reading, which a restart forgets."""
    read: datetime | None = reading.bookmarks.get("deployments_read")
    after = reading.ask.since - (timedelta(0) if reading.ask.first else _EVERY) if read is None else read - OVERLAP
    return iso(min(after, reading.ask.since).replace(microsecond=0))


def _tiers(reading: Reading) -> dict[str, str]:
    tiers: dict[str, str] = reading.bookmarks.setdefault("tiers", {})
    return tiers


def _read_tiers(reading: Reading, items: Sequence[Mapping[str, Any]]) -> Steps[Failure | None]:
    """Asks for the tiers of environments not met before; where they are not told, the name says which is likely."""
    named = dict(environment_of(item) for item in items)
    new = [name for name, tier in named.items() if name and not tier and name not in _tiers(reading)]
    failure: Failure | None = None
    for name in new[:_MOST_ENVIRONMENTS]:
        params = (("name", name), ("per_page", "1"))
        listed = _items((yield from fetch(Request(f"{reading.api}/environments", params, kind="environments"))))
        if isinstance(listed, Failure):
            failure = listed if listed.reason in FATAL else None
            break
        told = [tier for item in listed if (tier := environment_of({"environment": item})[1])]
        _tiers(reading)[name] = told[0] if told else tier_named(name)
    missing = {name: tier_named(name) for name in new if name not in _tiers(reading)}
    reading.bookmarks["tiers"] = {**missing, **_tiers(reading)}
    return failure


# ----------------------------------------------------------------------------------------------- schedules


def _read_schedules(reading: Reading) -> Steps[Failure | None]:
    items: list[Any] = []
    for page in range(1, _MOST_PAGES + 1):
        params = (("per_page", str(_PAGE)), ("page", str(page)))
        listed = _items((yield from fetch(Request(f"{reading.api}/pipeline_schedules", params, kind="schedules"))))
        if isinstance(listed, Failure):
            return listed
        items += listed
        if len(listed) < _PAGE:
            break
    now = reading.ask.now
    yield _facts(reading, [parse_schedules(items, reading.project, seen=now)])
    _read_again(reading, Kind.SCHEDULE, max(now + _SOON, min([now + _EVERY, *(at + _SOON for at in next_runs(items))])))
    return None


def _items(answer: Answer) -> Sequence[Mapping[str, Any]] | Failure:
    if isinstance(answer, Failure):
        return answer
    if not isinstance(answer.data, list):
        return Failure("body", "a listing is no list")
    return [item if isinstance(item, Mapping) else {} for item in answer.data]


def _facts(reading: Reading, facts: Iterable[Fact]) -> Batch:
    return Batch((), reading.done, reading.total, facts=tuple(facts))
