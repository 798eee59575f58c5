"""The recorded history as lines, read from the store batch by batch: what `/api/v1/history` streams."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from k2alert.history import FACT_KINDS, end_line, entry_line, fact_line, head_line, name_line, project_line, stream_line
from k2alert.model import Kind, Project
from k2alert.record.store import Reader
from k2alert.times import to_ms

__all__ = ["history_lines"]


async def history_lines(
    store: Reader, projects: Iterable[Project], *, since: datetime | None, project: str = "", until: datetime
) -> AsyncIterator[bytes]:
    """Lines in chunks: everything that finished since then, of one project (by its path) or of all that are read.

    Rows are as of the moments at which they are read: a run that finishes meanwhile may be among them or not. Raises
    `StoreError`.
    """
    count = 0
    async for lines in _lines(store, projects, since, project, until):
        count += len(lines)
        if lines:
            yield b"".join(lines)
    yield end_line(count)


async def _lines(
    store: Reader, projects: Iterable[Project], since: datetime | None, project: str, until: datetime
) -> AsyncIterator[list[bytes]]:
    yield [head_line(since, until)]
    yield [project_line(one) for one in projects if project in ("", one.path)]
    streams = [one for one in await store.streams() if project in ("", one.labels.get("project"))]
    chosen = {stream.id for stream in streams}
    yield [stream_line(stream) for stream in streams]
    since_ms = 0 if since is None else to_ms(since)
    for kind in (Kind.RUN, Kind.JOB):
        async for lines in _entries(store, kind, since_ms, chosen):
            yield lines
    for kind in FACT_KINDS:
        async for facts in store.facts(kind, since_ms):
            yield [
                fact_line(kind, fact) for fact in facts if fact.stream in chosen and isinstance(fact, FACT_KINDS[kind])
            ]
    async for tests in store.tests():
        yield [name_line(test) for test in tests if project in ("", test.project)]


async def _entries(store: Reader, kind: Kind, since_ms: int, chosen: set[int]) -> AsyncIterator[list[bytes]]:
    async for batch in store.entries(kind, since_ms):
        rows = [entry for entry in batch if entry.stream in chosen]
        refs = [entry.ref for entry in rows]
        known = await (store.run_evidence(refs) if kind is Kind.RUN else store.job_evidence(refs))
        yield [entry_line(kind, entry, known.get(entry.ref)) for entry in rows]
