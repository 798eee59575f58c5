"""Memory filled from the store: the board that rules measure on, made to hold what a configuration asks for."""

from collections.abc import Callable, Mapping

from k2alert.config.model import Config
from k2alert.measure.board import Board
from k2alert.model import Kind, Metric, OpenChange, Rule, Saved, Selection
from k2alert.record.store import Reader

__all__ = ["export_selection", "fill_board", "make_board"]


def make_board(config: Config, metrics: Mapping[str, Metric]) -> Board:
    """An empty board that asks for everything the rules and the exported gauges measure."""
    board = Board(lambda known: config.labels_of_project(known.get("source", ""), known.get("project", "")))
    for selection, kinds in _wanted(config, metrics).items():
        board.require(selection, kinds)
    return board


async def fill_board(board: Board, store: Reader, on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Reads everything recorded into the board, and says how many rows that was.

    Nothing may be recorded meanwhile: whoever calls holds the saves back.
    """
    board.add_streams(await store.streams())
    opens = await store.opens()
    board.apply(Saved(opens=[OpenChange(kind, entry.key, entry) for kind, entry in opens]))
    rows = 0
    for kind in Kind:
        async for batch in store.entries(kind):
            board.load(kind, batch, more=True)
            rows += len(batch)
            on_progress(rows)
        board.load(kind, ())
    return rows


def export_selection(config: Config) -> Selection:
    """Which facts the exported gauges count."""
    return Selection(config.export.match, tuple(dict.fromkeys(("source", *config.export.by))))


def _wanted(config: Config, metrics: Mapping[str, Metric]) -> dict[Selection, frozenset[Kind]]:
    wanted: dict[Selection, frozenset[Kind]] = {export_selection(config): frozenset(Kind)}
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
