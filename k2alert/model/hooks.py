"""Webhooks: what a forge told us by itself, as it waits in the store to become facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["HookEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """One webhook that was verified and accepted.

    `delivery` tells it from every other of its source: the forge's own delivery id, or a digest of what was sent.
    `project` and `run` are the forge's ids. `body` holds only what facts are made of: what else was sent (variables,
    people) is dropped on receipt. `id` is the store's number, 0 until it has one.
    """

    source: str
    delivery: str
    project: str
    run: str
    received_at: datetime
    body: Mapping[str, Any]
    id: int = 0
