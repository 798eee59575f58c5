"""What a backtest shows: figures come in; a table, JSON or Markdown for a merge request's comment goes out.

Names of projects and branches are a forge's text: in Markdown they stand in code, where nothing is a link or a mention.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from k2alert.measure.catalogue import METRICS
from k2alert.model import Evidence
from k2alert.notify.text import clean, safe_url
from k2alert.rehearse.backtest import Incident
from k2alert.rehearse.backtest_figures import (
    Change,
    Row,
    changes,
    length,
    not_compared,
    rows_of,
    rules_of,
    weeks_of,
    with_evidence,
)
from k2alert.rehearse.backtest_source import WithEvidence
from k2alert.rehearse.world import Told
from k2alert.telling import value_text
from k2alert.times import human_duration, iso

__all__ = ["as_json", "as_markdown", "as_text", "counted"]

_MOST_LISTED = 50  # incidents in Markdown: a comment is read, not searched


def as_text(found: WithEvidence, before: WithEvidence | None = None) -> str:
    """For people at a terminal."""
    grid = found.rehearsed.grid
    lines = [
        f"{_time(grid.start)} to {_time(grid.end)} UTC, {counted(found.projects, 'project')}, "
        f"judged every {human_duration(grid.step)}",
        *found.notes,
        "",
        *_table(["rule", "incidents", "still firing", "time", "messages"], [_cells(row) for row in rows_of(found)]),
        "",
        *_table(
            ["week of", "incidents", "messages"],
            [[str(week.begins), str(week.incidents), str(week.messages)] for week in weeks_of(found)],
        ),
    ]
    if before is not None:
        lines += ["", _summary(before, found), *(f"  {note}" for note in not_compared(before, found))]
        lines += [f"  {_change(one)}" for one in changes(before, found)]
    lines += ["", *(_line(incident, evidence, grid.end) for incident, evidence in with_evidence(found))]
    return "\n".join(lines).rstrip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    every = [head, *rows]
    widths = [max(len(row[place]) for row in every) for place in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]


def _cells(row: Row) -> list[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(row.kinds.items()))
    messages = f"{row.messages} ({kinds})" if kinds else "0"
    return [row.rule, str(row.incidents), str(row.open), human_duration(row.total), messages]


def _line(incident: Incident, evidence: Evidence, end: datetime) -> str:
    runs = " ".join(safe_url(run.web_url) or f"#{clean(run.number or run.id)}" for run in evidence.runs[:3])
    more = f" and {evidence.faults - 3} more" if evidence.faults > 3 else ""
    return (
        f"{incident.rule.name} {_names(incident)}: {_when(incident, end)}, {_peak(incident)}, {runs or 'no runs'}{more}"
    )


def _when(incident: Incident, end: datetime) -> str:
    lasted = human_duration(length(incident, end))
    if incident.ended_at is None:
        return f"since {_time(incident.fired_at)}, still firing ({lasted})"
    return f"{_time(incident.fired_at)} to {_time(incident.ended_at)} ({lasted})"


def _names(incident: Incident) -> str:
    return " ".join(f"{name}={clean(value)}" for name, value in incident.alert.identity.items())


def _peak(incident: Incident) -> str:
    first = incident.rule.condition.first
    metric = METRICS[first.metric] if first is not None else None
    return f"worst {value_text(incident.peak, metric) or 'no data'}"


def _summary(before: WithEvidence, after: WithEvidence) -> str:
    old, new = before.rehearsed, after.rehearsed
    return (
        f"compared with the old rules: {counted(len(old.incidents), 'incident')} before, {len(new.incidents)} after; "
        f"{counted(len(old.messages), 'message')} before, {len(new.messages)} after"
    )


def _change(one: Change) -> str:
    labels = " ".join(f"{name}={clean(value)}" for name, value in one.labels.items())
    return f"{one.what}: {one.rule} {labels} from {_time(one.fired_at)} ({_lengths(one)})"


def _lengths(one: Change) -> str:
    if one.before is not None and one.after is not None:
        return f"{human_duration(one.before)} before, {human_duration(one.after)} now"
    return human_duration(one.after or one.before or timedelta(0))


def counted(number: int, thing: str) -> str:
    """`1 incident`, `2 incidents`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


# ------------------------------------------------------------------------------------------- Markdown


def as_markdown(found: WithEvidence, before: WithEvidence | None = None) -> str:
    """For a comment on a merge request."""
    grid, incidents = found.rehearsed.grid, list(with_evidence(found))
    lines = [
        "### k2alert backtest",
        "",
        f"{_time(grid.start)} to {_time(grid.end)} UTC over {counted(found.projects, 'project')}: "
        f"**{counted(len(incidents), 'incident')}, {counted(len(found.rehearsed.messages), 'message')}**.",
        *(f"- {_code(note)}" for note in found.notes),
        "",
    ]
    if before is not None:
        lines += [f"{_summary(before, found).capitalize()}.", ""]
        lines += [*(f"- {_code(note)}" for note in not_compared(before, found)), ""]
        lines += _details("What changes", (f"- {_code(_change(one))}" for one in changes(before, found)))
    cells = [[_code(row.rule), *_cells(row)[1:]] for row in rows_of(found)]
    lines += _markdown_table(["rule", "incidents", "still firing", "time", "messages"], cells)
    weeks = [[str(week.begins), str(week.incidents), str(week.messages)] for week in weeks_of(found)]
    lines += ["", *_markdown_table(["week of", "incidents", "messages"], weeks), ""]
    listed = [_item(incident, evidence, grid.end) for incident, evidence in incidents[:_MOST_LISTED]]
    if len(incidents) > _MOST_LISTED:
        listed.append(f"- and {len(incidents) - _MOST_LISTED} more")
    return "\n".join([*lines, *_details("Incidents", listed)]).rstrip() + "\n"


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_markdown_row(head), _markdown_row(["---"] * len(head)), *map(_markdown_row, rows)]


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _details(title: str, lines: Iterable[str]) -> list[str]:
    inside = list(lines)
    if not inside:
        return []
    return [f"<details><summary>{title} ({len(inside)})</summary>", "", *inside, "", "</details>", ""]


def _item(incident: Incident, evidence: Evidence, end: datetime) -> str:
    links = [f"[run {place}]({url})" for place, run in enumerate(evidence.runs[:3], 1) if (url := _target(run.web_url))]
    subject = _code(f"{incident.rule.name} {_names(incident)}")
    return ", ".join([f"- {subject}: {_when(incident, end)}", _peak(incident), *links])


def _code(text: str) -> str:
    """Text of others as a piece of code: nothing in it is markup, and it ends no table cell."""
    return f"`{clean(text, 300).replace('`', chr(39)).replace('|', '¦')}`"


def _target(url: str) -> str:
    """A URL that ends where it should."""
    safe = safe_url(url)
    return safe.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


# ----------------------------------------------------------------------------------------------- JSON


def as_json(found: WithEvidence, before: WithEvidence | None = None) -> str:
    """For programs: times are RFC 3339, lengths whole seconds."""
    grid = found.rehearsed.grid
    body: dict[str, Any] = {
        "from": iso(grid.start),
        "until": iso(grid.end),
        "interval_seconds": _seconds(grid.step),
        "projects": found.projects,
        "notes": list(found.notes),
        "rules": [_rule(row, found) for row in rows_of(found)],
        "weeks": [
            {"begins": str(week.begins), "incidents": week.incidents, "messages": week.messages}
            for week in weeks_of(found)
        ],
        "incidents": [_incident(incident, evidence, grid.end) for incident, evidence in with_evidence(found)],
        "messages": [_message(told) for told in found.rehearsed.messages],
    }
    if before is not None:
        old = before.rehearsed
        counts = {"incidents_before": len(old.incidents), "messages_before": len(old.messages)}
        notes = not_compared(before, found)
        body["compared"] = {**counts, "notes": notes, "changes": [_changed(one) for one in changes(before, found)]}
    return json.dumps(body, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()


def _rule(row: Row, found: WithEvidence) -> dict[str, Any]:
    since = found.rehearsed.judged_from.get(row.rule)
    return {
        "name": row.rule,
        "judged_from": iso(since) if since else None,
        "incidents": row.incidents,
        "open": row.open,
        "seconds": _seconds(row.total),
        "messages": dict(row.kinds),
    }


def _incident(incident: Incident, evidence: Evidence, end: datetime) -> dict[str, Any]:
    return {
        "rule": incident.rule.name,
        "labels": dict(incident.alert.labels),
        "fired_at": iso(incident.fired_at),
        "ended_at": iso(incident.ended_at) if incident.ended_at else None,
        "reason": incident.reason.value if incident.reason else None,
        "seconds": _seconds(length(incident, end)),
        "value": incident.alert.value,
        "peak": incident.peak,
        "runs": [{"id": run.id, "result": run.result.value, "url": safe_url(run.web_url)} for run in evidence.runs],
        "more_runs": evidence.more,
    }


def _message(told: Told) -> dict[str, Any]:
    due = told.due
    return {
        "at": iso(told.at),
        "receiver": due.receiver,
        "integration": due.integration.name,
        "kind": due.kind.value,
        "rules": sorted(rules_of(told)),
        "alerts": [dict(alert.labels) for part in due.parts for alert in part.alerts],
    }


def _changed(one: Change) -> dict[str, Any]:
    return {
        "what": one.what,
        "rule": one.rule,
        "labels": dict(one.labels),
        "fired_at": iso(one.fired_at),
        "seconds_before": None if one.before is None else _seconds(one.before),
        "seconds": None if one.after is None else _seconds(one.after),
    }


def _seconds(span: timedelta) -> int:
    return span // timedelta(seconds=1)
