"""Deployments and schedules into tables.

In: an open transaction and what a look at the forge said. Out: what that changed. A look at a deployment that is older
than the newest one changes nothing; its labels and its creation stay what they first were. A project's schedules are
saved all together: one that is missing is gone.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from k2alert.model import (
    RESULTS,
    Deployment,
    DeploymentEntry,
    Event,
    FactChange,
    Kind,
    RunState,
    Schedule,
    ScheduleEntry,
    Schedules,
)
from k2alert.record.connection import Connection
from k2alert.record.reports import RunOf
from k2alert.record.rows import STATES, StreamKey, clean, fold_link, length_ms, maybe_ms, pack_id, pack_sha
from k2alert.record.statements import QUERIES
from k2alert.times import to_ms

__all__ = [
    "DeploymentRow",
    "ScheduleRow",
    "deployment_entry",
    "deployment_link",
    "deployment_stream",
    "save_deployment",
    "save_schedules",
    "schedule_entry",
    "schedule_link",
    "schedule_stream",
]


class DeploymentRow(NamedTuple):
    """A row of `deployments`, without its number."""

    origin: int
    forge_id: int | str
    stream: int
    sha: bytes
    run: int | str
    state: int
    result: int | None
    created: int
    finished: int | None
    since: int
    link: int
    seen: int


class ScheduleRow(NamedTuple):
    """A row of `schedules`, without its number."""

    origin: int
    forge_id: int | str
    stream: int
    cron: str
    timezone: str
    any_workflow: int
    active: int
    since: int
    delay: int
    last_run: int | None
    link: int


# ----------------------------------------------------------------------------------------- deployments


def deployment_stream(deployment: Deployment, run: RunOf | None) -> StreamKey:
    """The stream that a deployment starts in: under the labels of its run, where that is recorded."""
    ref_type = "" if deployment.ref_type is None else deployment.ref_type.value
    labels = (ref_type, clean(deployment.branch), "", "")
    if run is not None:
        labels = (run.stream.ref_type, run.stream.branch, run.stream.event, run.stream.workflow)
    return StreamKey(
        Kind.DEPLOYMENT.value,
        clean(deployment.source),
        clean(deployment.project),
        *labels,
        environment=clean(deployment.environment),
        environment_tier=clean(deployment.tier),
    )


def deployment_link(deployment: Deployment) -> str:
    """Its web address as it is stored."""
    return fold_link(deployment.web_url, deployment.id, "")


def save_deployment(
    con: Connection, look: Deployment, run: RunOf | None, *, origin: int, stream: int, link: int
) -> Iterator[FactChange]:
    """Records one look at a deployment."""
    known = con.execute(QUERIES["find_deployment"], (origin, pack_id(look.id))).fetchone()
    before = None if known is None else DeploymentRow(*known[1:])
    row = _deployment_row(look, run, origin, stream, link)
    if before is not None:
        if row.seen < before.seen:
            return
        row = row._replace(stream=before.stream, created=before.created)
        if row == before:
            return
    number = int(con.execute(QUERIES["put_deployment"], row).fetchone()[0])
    old = None if before is None else deployment_entry(number, before)
    new = deployment_entry(number, row)
    if old != new:
        yield FactChange(Kind.DEPLOYMENT, old, new)


def _deployment_row(look: Deployment, run: RunOf | None, origin: int, stream: int, link: int) -> DeploymentRow:
    created, ended = to_ms(look.created_at), look.state is RunState.FINISHED and look.result is not None
    return DeploymentRow(
        origin=origin,
        forge_id=pack_id(look.id),
        stream=stream,
        sha=pack_sha(look.sha),
        run=pack_id(look.run),
        state=STATES.index(look.state),
        result=RESULTS.index(look.result) if ended and look.result is not None else None,
        created=created,
        finished=to_ms(look.finished_at or look.seen) if ended else None,
        since=_since(look, run, created),
        link=link,
        seen=to_ms(look.seen),
    )


def _since(look: Deployment, run: RunOf | None, created: int) -> int:
    """From when on the change waited to be deployed: the commit, or else its run, or else the deployment itself."""
    if look.committed_at is not None:
        return to_ms(look.committed_at)
    return created if run is None else run.created


def deployment_entry(number: int, row: DeploymentRow) -> DeploymentEntry | None:
    """A finished deployment as `measure` counts it."""
    if row.result is None or row.finished is None:
        return None
    return DeploymentEntry(row.stream, number, row.finished, row.created, row.result, row.since)


# ------------------------------------------------------------------------------------------- schedules


def schedule_stream(of: Schedules, schedule: Schedule) -> StreamKey:
    """The stream of a schedule; it is named by its description, or by its id where it has none."""
    return StreamKey(
        Kind.SCHEDULE.value,
        clean(of.source),
        clean(of.project),
        ref_type=schedule.ref_type.value,
        branch=clean(schedule.branch),
        event=Event.SCHEDULE.value,
        workflow=clean(schedule.workflow or ""),
        schedule=clean(schedule.name or schedule.id),
    )


def schedule_link(schedule: Schedule) -> str:
    """Its web address as it is stored."""
    return fold_link(schedule.web_url, schedule.id, "")


def save_schedules(
    con: Connection, look: Schedules, *, origin: int, streams: Mapping[StreamKey, int], links: Mapping[str, int]
) -> Iterator[FactChange]:
    """Records all schedules of a project, and forgets those that are gone."""
    known = {row[2]: (row[0], ScheduleRow(*row[1:])) for row in con.execute(QUERIES["schedules_of"], (origin,))}
    told = {pack_id(schedule.id): schedule for schedule in look.schedules}
    for forge_id, schedule in told.items():
        stream, link = streams[schedule_stream(look, schedule)], links[schedule_link(schedule)]
        number, before = known.get(forge_id, (0, None))
        first = to_ms(look.seen) if before is None else before.since
        row = _schedule_row(schedule, origin, stream, link, first)
        if row != before:
            number = int(con.execute(QUERIES["put_schedule"], row).fetchone()[0])
            yield from _changed(number, before, row)
    for forge_id in known.keys() - told.keys():
        number, before = known[forge_id]
        con.execute(QUERIES["drop_schedule"], (number,))
        yield from _changed(number, before, None)


def _changed(number: int, before: ScheduleRow | None, after: ScheduleRow | None) -> Iterator[FactChange]:
    old = None if before is None else schedule_entry(number, before)
    new = None if after is None else schedule_entry(number, after)
    if old != new:
        yield FactChange(Kind.SCHEDULE, old, new)


def _schedule_row(look: Schedule, origin: int, stream: int, link: int, first: int) -> ScheduleRow:
    """`first`: nothing that was due before counts."""
    return ScheduleRow(
        origin=origin,
        forge_id=pack_id(look.id),
        stream=stream,
        cron=clean(look.cron),
        timezone=clean(look.timezone),
        any_workflow=int(look.workflow is None),
        active=int(look.active),
        since=max(to_ms(look.since), first),
        delay=length_ms(look.delay) or 0,
        last_run=maybe_ms(look.last_run_at),
        link=link,
    )


def schedule_entry(number: int, row: ScheduleRow) -> ScheduleEntry | None:
    """An active schedule as `measure` takes it."""
    if not row.active:
        return None
    any_workflow = row.any_workflow == 1
    return ScheduleEntry(row.stream, number, row.since, row.cron, row.timezone, any_workflow, row.delay, row.last_run)
