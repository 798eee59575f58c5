"""Every engine of the store, for the fixtures `store_url` and `store`, and what a store or a save holds, as lists."""

from datetime import datetime

from k2alert.model import Entry, Kind, Saved
from k2alert.record import Store

ENGINES = ("sqlite", "postgresql")


async def entries_of(store: Store, kind: Kind = Kind.RUN, since_ms: int = 0) -> list[Entry]:
    return [entry async for batch in store.entries(kind, since_ms) for entry in batch]


def news(saved: Saved) -> list[Entry]:
    return [change.new for change in saved.entries if change.new is not None]


async def prune(store: Store, before: datetime) -> Saved:
    """All that retention takes, as one."""
    parts = [Saved(), *[part async for part in store.prune(before)]]
    return Saved(*(tuple(change for one in of_kind for change in one) for of_kind in zip(*parts, strict=True)))
