"""Projects, alerts, edges, log entries, silences and totals: values of `model` to rows of tables and back.

In: values or rows. Out: the other. Pure. The order of columns is that of the statements in `queries.sql`.
Labels, mappings and values that may be of several types are JSON.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from k2alert.labels import Labels, parse_matcher
from k2alert.model import (
    RESULTS,
    Alert,
    AlertState,
    EndReason,
    LogEntry,
    Project,
    RefType,
    RunTotal,
    Severity,
    Silence,
    Transition,
)
from k2alert.record.rows import maybe_ms, storable
from k2alert.times import from_ms, to_ms

__all__ = [
    "alert_of",
    "alert_row",
    "log_entry_of",
    "log_row",
    "project_of",
    "project_row",
    "silence_of",
    "silence_row",
    "total_of",
    "transition_of",
    "transition_row",
]

Row = Sequence[Any]


def project_row(project: Project) -> Row:
    """For `put_project`."""
    return (
        project.source,
        project.key,
        storable(project.path),
        project.forge_id,
        storable(project.default_branch),
        storable(project.web_url),
        to_ms(project.first_seen_at),
        maybe_ms(project.cursor),
        maybe_ms(project.covered_since),
        maybe_ms(project.complete_at),
        maybe_ms(project.success_at),
        maybe_ms(project.swept_at),
        storable(project.failure),
        int(project.forbidden),
        project.failures,
    )


def project_of(row: Row) -> Project:
    """From `all_projects`."""
    return Project(
        source=row[0],
        key=row[1],
        path=row[2],
        forge_id=row[3],
        default_branch=row[4],
        web_url=row[5],
        first_seen_at=from_ms(row[6]),
        cursor=_instant(row[7]),
        covered_since=_instant(row[8]),
        complete_at=_instant(row[9]),
        success_at=_instant(row[10]),
        swept_at=_instant(row[11]),
        failure=row[12],
        forbidden=row[13] == 1,
        failures=row[14],
    )


def alert_row(alert: Alert) -> Row:
    """For `put_alert`."""
    return (
        alert.key,
        alert.rule,
        _json(alert.identity),
        _json(alert.labels),
        alert.severity.value,
        alert.state.value,
        maybe_ms(alert.active_at),
        maybe_ms(alert.fired_at),
        maybe_ms(alert.ended_at),
        _reason_text(alert.reason),
        json.dumps(alert.value),
        json.dumps(alert.threshold),
        alert.samples,
        int(alert.initial),
        maybe_ms(alert.quiet_since),
        maybe_ms(alert.no_data_since),
        int(alert.unknown),
        json.dumps(alert.by),
    )


def alert_of(row: Row) -> Alert:
    """From `all_alerts`."""
    return Alert(
        rule=row[0],
        identity=_labels(row[1]),
        labels=_labels(row[2]),
        severity=Severity(row[3]),
        state=AlertState(row[4]),
        active_at=_instant(row[5]),
        fired_at=_instant(row[6]),
        ended_at=_instant(row[7]),
        reason=_reason(row[8]),
        value=json.loads(row[9]),
        threshold=json.loads(row[10]),
        samples=row[11],
        initial=row[12] == 1,
        quiet_since=_instant(row[13]),
        no_data_since=_instant(row[14]),
        unknown=row[15] == 1,
        by=tuple(json.loads(row[16])),
    )


def transition_row(edge: Transition) -> Row:
    """For `add_transition`."""
    return (
        to_ms(edge.at),
        edge.rule,
        _json(edge.identity),
        edge.before.value,
        edge.after.value,
        _reason_text(edge.reason),
        json.dumps(edge.value),
    )


def transition_of(row: Row) -> Transition:
    """From `last_transitions`."""
    at, rule, identity, before, after, reason, value = row
    return Transition(
        from_ms(at),
        rule,
        _labels(identity),
        AlertState(before),
        AlertState(after),
        _reason(reason),
        json.loads(value),
    )


def log_row(entry: LogEntry) -> Row:
    """For `put_notification`."""
    return (
        entry.incident,
        entry.group,
        _json(entry.group_labels),
        entry.receiver,
        entry.integration,
        _json({key: state.value for key, state in entry.told.items()}),
        maybe_ms(entry.first_sent_at),
        maybe_ms(entry.last_sent_at),
        entry.sent,
        _json(entry.handle),
        int(entry.closed),
        entry.failures,
        storable(entry.error),
        maybe_ms(entry.retry_at),
        int(entry.gave_up),
    )


def log_entry_of(row: Row) -> LogEntry:
    """From `live_notifications`."""
    return LogEntry(
        incident=row[0],
        group=row[1],
        group_labels=_labels(row[2]),
        receiver=row[3],
        integration=row[4],
        told={key: AlertState(state) for key, state in json.loads(row[5]).items()},
        first_sent_at=_instant(row[6]),
        last_sent_at=_instant(row[7]),
        sent=row[8],
        handle=json.loads(row[9]),
        closed=row[10] == 1,
        failures=row[11],
        error=row[12],
        retry_at=_instant(row[13]),
        gave_up=row[14] == 1,
    )


def silence_row(silence: Silence) -> Row:
    """For `put_silence`."""
    return (
        silence.id,
        json.dumps([str(matcher) for matcher in silence.matchers]),
        to_ms(silence.starts_at),
        to_ms(silence.ends_at),
        to_ms(silence.updated_at),
        storable(silence.author),
        storable(silence.comment),
        json.dumps({key: to_ms(since) for key, since in silence.until_resolved.items()}),
    )


def silence_of(row: Row) -> Silence:
    """From `all_silences`."""
    id, matchers, starts_at, ends_at, updated_at, author, comment, until = row
    return Silence(
        id=id,
        matchers=tuple(parse_matcher(text) for text in json.loads(matchers)),
        starts_at=from_ms(starts_at),
        ends_at=from_ms(ends_at),
        updated_at=from_ms(updated_at),
        author=author,
        comment=comment,
        until_resolved={key: from_ms(since) for key, since in json.loads(until).items()},
    )


def total_of(row: Row) -> RunTotal:
    """From `all_totals`."""
    source, project, ref_type, result, runs, duration_ms, timed_runs = row
    return RunTotal(source, project, RefType(ref_type), RESULTS[result], runs, duration_ms, timed_runs)


def _json(mapping: Mapping[str, str]) -> str:
    return json.dumps(dict(mapping), separators=(",", ":"))


def _labels(text: str) -> Labels:
    return Labels(json.loads(text))


def _instant(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _reason_text(reason: EndReason | None) -> str | None:
    return None if reason is None else reason.value


def _reason(text: str | None) -> EndReason | None:
    return None if text is None else EndReason(text)
