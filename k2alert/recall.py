"""What memory takes from the store: the board that rules measure on, filled, and what is behind a value."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from itertools import islice

from k2alert.config.model import Config
from k2alert.garbage import paused
from k2alert.measure.board import Board
from k2alert.model import EvidenceRefs, Kind, Known, Metric, OpenChange, Rule, Saved, Selection
from k2alert.record.store import Reader

__all__ = ["behind", "export_selection", "fill_board", "make_board", "settle", "settle_more"]

_A_ROUND = 2000  # bits of work, of a millisecond or two at most


def make_board(config: Config, metrics: Mapping[str, Metric]) -> Board:
    """An empty board that asks for everything the rules and the exported gauges measure."""
    board = Board(lambda known: config.labels_of_project(known.get("source", ""), known.get("project", "")))
    for selection, kinds in _wanted(config, metrics).items():
        board.require(selection, kinds)
    measured = frozenset(metric.kind for metric in metrics.values() if metric.kind is not None)
    board.require(export_selection(config), measured, later=True)
    return board


async def fill_board(board: Board, store: Reader, on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Reads everything recorded into the board, and says how many rows that was.

    Nothing may be recorded meanwhile: whoever calls holds the saves back.
    """
    with paused():
        return await _fill_all(board, store, on_progress)


async def _fill_all(board: Board, store: Reader, on_progress: Callable[[int], None]) -> int:
    await asyncio.to_thread(board.add_streams, await store.streams())
    opens = await store.opens()
    board.apply(Saved(opens=[OpenChange(kind, entry.key, entry) for kind, entry in opens]))
    rows = 0
    for kind in Kind:
        async for count in _fill(board, store, kind):
            rows += count
            on_progress(rows)
    if board.wants_tests:
        async for tests in store.tests():
            board.name_tests(tests)
    return rows


async def _fill(board: Board, store: Reader, kind: Kind) -> AsyncIterator[int]:
    """Reads the rows of one kind, and says of each batch how many they were.

    The board takes them in another thread, as nobody else looks at it yet, so that others are answered meanwhile.
    """
    if kind.of_runs:
        async for rows in store.rows(kind):
            await asyncio.to_thread(board.load_rows, kind, rows, more=True)
            yield len(rows)
        board.load(kind, ())
    else:
        async for facts in store.facts(kind):
            await asyncio.to_thread(board.load_facts, kind, facts, more=True)
            yield len(facts)
        board.load_facts(kind, ())


async def settle(board: Board) -> None:
    """Works out what takes long of a history that was loaded and rules ask for; lets others work in between."""
    for _ in board.settle(later=False):
        await asyncio.sleep(0)


async def settle_more(board: Board, pause: Callable[[], Awaitable[None]]) -> None:
    """The same for a part of what only gauges ask for: a month of it would hold the rounds up for long."""
    for _ in islice(board.settle(later=True), _A_ROUND):
        await pause()


async def behind(store: Reader, refs: Iterable[EvidenceRefs]) -> Known:
    """What the store knows of the rows behind some values."""
    rows: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    tests: set[tuple[int, int]] = set()
    for found in refs:
        rows[found.kind].update(found.refs)
        rows[Kind.RUN] |= {ref for ref in (found.first_failing, found.last_green) if ref is not None}
        tests.update(found.tests)
    wanted = {kind: sorted(of_kind) for kind, of_kind in rows.items()}
    reports = store.report_evidence
    return Known(
        runs=await store.run_evidence(wanted[Kind.RUN]) if wanted[Kind.RUN] else {},
        jobs=await store.job_evidence(wanted[Kind.JOB]) if wanted[Kind.JOB] else {},
        test_reports=await reports(Kind.TEST, wanted[Kind.TEST]) if wanted[Kind.TEST] else {},
        coverage_reports=await reports(Kind.COVERAGE, wanted[Kind.COVERAGE]) if wanted[Kind.COVERAGE] else {},
        benchmark_reports=await reports(Kind.BENCHMARK, wanted[Kind.BENCHMARK]) if wanted[Kind.BENCHMARK] else {},
        deployments=await store.deployment_evidence(wanted[Kind.DEPLOYMENT]) if wanted[Kind.DEPLOYMENT] else {},
        tests=await store.test_evidence(sorted(tests)) if tests else {},
    )


def export_selection(config: Config) -> Selection:
    """Which facts the exported gauges count."""
    return Selection(config.export.match, tuple(dict.fromkeys(("source", *config.export.by))))


def _wanted(config: Config, metrics: Mapping[str, Metric]) -> dict[Selection, frozenset[Kind]]:
    wanted: dict[Selection, frozenset[Kind]] = {}
    for rule in config.rules:
        kinds = {metrics[name].kind for name in _metrics_of(rule) & metrics.keys()}
        wanted[rule.selection] = wanted.get(rule.selection, frozenset()) | {kind for kind in kinds if kind is not None}
    return wanted


def _metrics_of(rule: Rule) -> set[str]:
    """Every metric that the rule's condition, clear, message and annotations may look up (and other names)."""
    names = set(rule.condition.metrics)
    if rule.clear is not None:
        names |= rule.clear.metrics
    for text in (rule.message, *rule.annotations.values()):
        names |= text.variables
        names |= {str(argument) for call in text.calls for argument in call.arguments[:1]}
    return names
