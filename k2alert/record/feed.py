"""What one replica tells the others of its writes, as text.

In: what a write changed. Out: JSON for the table `changes`, and back. Pure. Bytes are hexadecimal and sets of tests
too, for a decimal number of ten thousand bits takes long to read. A version that is not known here is read by nobody:
whoever meets it reads everything anew.
"""

import json
from collections.abc import Mapping
from typing import Any

from k2alert.labels import Labels
from k2alert.model import (
    BenchmarkEntry,
    CoverageEntry,
    DeploymentEntry,
    Entry,
    EntryChange,
    FactChange,
    FactEntry,
    Kind,
    NamedTest,
    OpenChange,
    OpenEntry,
    ReportEntry,
    RunState,
    Saved,
    ScheduleEntry,
    Stream,
)
from k2alert.record.store import Topic

__all__ = ["VERSION", "decode_change", "encode_change"]

VERSION = 1
"""Of the form below; it grows with every change of it, or of the entries of `model`."""

Body = tuple[Saved, frozenset[Topic]]

_ENTRIES: Mapping[Kind, type[FactEntry]] = {
    Kind.TEST: ReportEntry,
    Kind.COVERAGE: CoverageEntry,
    Kind.BENCHMARK: BenchmarkEntry,
    Kind.DEPLOYMENT: DeploymentEntry,
    Kind.SCHEDULE: ScheduleEntry,
}
_SETS = ("ran", "failing", "mixed", "files")


def encode_change(saved: Saved, topics: frozenset[Topic]) -> str:
    """A change as JSON, of form `VERSION`."""
    body = {
        "topics": sorted(topic.value for topic in topics),
        "streams": [(stream.id, stream.kind, dict(stream.labels)) for stream in saved.streams],
        "entries": saved.entries,
        "opens": [
            (change.kind, change.key, change.new and change.new._replace(state=change.new.state.value))  # type: ignore[arg-type]
            for change in saved.opens
        ],
        "facts": [(change.kind, _fact_row(change.old), _fact_row(change.new)) for change in saved.facts],
        "tests": saved.tests,
        "gone": saved.gone,
    }
    return json.dumps({name: value for name, value in body.items() if value}, separators=(",", ":"))


def decode_change(version: int, body: str) -> Body | None:
    """A change out of JSON; None where it is of another form."""
    if version != VERSION:
        return None
    told = json.loads(body)
    saved = Saved(
        tuple(Stream(number, Kind(kind), Labels(labels)) for number, kind, labels in told.get("streams", ())),
        tuple(EntryChange(Kind(kind), _entry(old), _entry(new)) for kind, old, new in told.get("entries", ())),
        tuple(OpenChange(Kind(kind), key, _open(new)) for kind, key, new in told.get("opens", ())),
        tuple(FactChange(Kind(kind), _fact(kind, old), _fact(kind, new)) for kind, old, new in told.get("facts", ())),
        tuple(NamedTest(*row) for row in told.get("tests", ())),
        tuple(told.get("gone", ())),
    )
    return saved, frozenset(Topic(name) for name in told.get("topics", ()))


def _entry(row: list[Any] | None) -> Entry | None:
    return None if row is None else Entry(*row)


def _open(row: list[Any] | None) -> OpenEntry | None:
    if row is None:
        return None
    stream, key, state, created, started = row
    return OpenEntry(stream, key, RunState(state), created, started)


def _fact_row(entry: FactEntry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    row = entry._asdict()
    for name in _SETS:
        if name in row:
            row[name] = f"{row[name]:x}"
    if "sha" in row:
        row["sha"] = row["sha"].hex()
    return row


def _fact(kind: str, row: dict[str, Any] | None) -> FactEntry | None:
    if row is None:
        return None
    for name in _SETS:
        if name in row:
            row[name] = int(row[name], 16)
    if "sha" in row:
        row["sha"] = bytes.fromhex(row["sha"])
    if "repeats" in row:
        row["repeats"] = tuple(map(tuple, row["repeats"]))
    return _ENTRIES[Kind(kind)](**row)
