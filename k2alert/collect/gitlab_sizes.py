"""How much one GraphQL query asks for: less after it was too much, and more again bit by bit.

Sizes are kept in the memory of a source, for what is too much is the instance's matter and not one project's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

__all__ = ["PAGE", "PROJECTS", "Size", "fitting", "learn_cost"]

_GROWS_EVERY = timedelta(minutes=3)  # all of it again after an hour or two: each vain try costs up to minutes
_COST = "graphql_cost"


@dataclass(frozen=True, slots=True)
class Size:
    """A number of rows to ask for, and under which name it is remembered."""

    name: str
    most: int

    def at(self, memory: Mapping[str, Any], now: datetime) -> int:
        """What to ask for now: one more for each three minutes since it was last too much."""
        size, since = memory.get(self.name, (self.most, now))
        return int(min(self.most, size + max(now - since, timedelta(0)) // _GROWS_EVERY))

    def halve(self, memory: dict[str, Any], now: datetime) -> bool:
        """Remembers that it was too much, and says whether there is less to ask for."""
        size = self.at(memory, now)
        memory[self.name] = (max(size // 2, 1), now)
        return size > 1

    def forget(self, memory: dict[str, Any]) -> None:
        """All may be asked for again."""
        memory.pop(self.name, None)


# Pipelines of one project in one answer: about 60 of the 250 points of complexity that a query may cost. What limits
# it is the 30 s that it may take.
PAGE = Size("graphql_page", 20)

PROJECTS = Size("graphql_projects", 50)
"""Projects in one scan. A connection costs a hundredth more for each row, so fifty cost half as much again as one."""


def learn_cost(memory: dict[str, Any], cost: Any, projects: int, page: int) -> None:
    """Remembers what a scan of so many projects cost and what it may cost: GitLab's `queryComplexity`."""
    fields = cost if isinstance(cost, Mapping) else {}
    score, limit = fields.get("score"), fields.get("limit")
    if isinstance(score, int) and isinstance(limit, int) and score > 0:
        memory[_COST] = (score / _weight(projects, page), limit)


def fitting(memory: Mapping[str, Any], page: int, most: int) -> int:
    """The most projects, at least one, whose scan costs what it may, as far as that is known."""
    each, limit = memory.get(_COST, (0.0, 1))
    return next((projects for projects in range(most, 1, -1) if each * _weight(projects, page) <= limit), 1)


def _weight(projects: int, page: int) -> float:
    """What a scan's cost grows by, nearly: most of it are the fields of pipelines and of their jobs."""
    return (100 + projects) * (100 + page)
