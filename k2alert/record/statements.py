"""The store's SQL, out of the files beside this one.

In: `queries.sql`, `fact_queries.sql`, `replica_queries.sql` and the numbered files in `migrations/`. Out: `QUERIES` and
`REPLICA_QUERIES` by name, and `MIGRATIONS` in order.
SQL is text in its own files so that a person can read it, and a second engine share it.
"""

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

__all__ = ["MIGRATIONS", "QUERIES", "REPLICA_QUERIES", "Migration", "split_statements"]

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_NUMBERED = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(NamedTuple):
    """One step of the schema. Once released a step never changes: `checksum` tells."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def split_statements(sql: str) -> list[str]:
    """The statements of a script, without comments. Our scripts hold no semicolon inside a statement."""
    return [part.strip() for part in _COMMENT.sub("", sql).split(";") if part.strip()]


def _read_queries(*names: str) -> dict[str, str]:
    here = files(__package__)
    text = "".join((here / name).read_text("utf-8") for name in names)
    return {found[1]: _COMMENT.sub("", found[2]).strip().removesuffix(";") for found in _NAMED.finditer(text)}


def _read_migrations() -> Iterator[Migration]:
    for file in (files(__package__) / "migrations").iterdir():
        found = _NUMBERED.fullmatch(file.name)
        if found:
            yield Migration(int(found[1]), found[2], file.read_text("utf-8"))


QUERIES = _read_queries("queries.sql", "fact_queries.sql")
REPLICA_QUERIES = _read_queries("replica_queries.sql")
MIGRATIONS = tuple(sorted(_read_migrations()))
