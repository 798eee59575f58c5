"""The schema, brought forward step by step.

In: the versions that a database has, and the steps that this k2alert knows. Out: the steps that are missing, or
`StoreError`. Pure; what each engine does with them is its own.
"""

from collections.abc import Mapping, Sequence

from k2alert.record.statements import MIGRATIONS, Migration
from k2alert.record.store import StoreError

__all__ = ["VERSIONS", "check_version", "missing_steps", "newest_version"]

VERSIONS = """CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL
)"""
"""The table of the steps that were taken."""


def newest_version(migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """The schema's version once every step is taken."""
    return max((step.version for step in migrations), default=0)


def missing_steps(
    store: str, applied: Mapping[int, str], migrations: Sequence[Migration] = MIGRATIONS
) -> list[Migration]:
    """The steps to take; `applied` are the checksums of those taken, by version.

    Raises `StoreError` where somebody newer was there, or a step is not the one that was released.
    """
    newest = newest_version(migrations)
    if max(applied, default=0) > newest:
        raise StoreError(
            f"{store}: its schema is version {max(applied)}, this k2alert knows up to {newest}; use a newer one"
        )
    for step in migrations:
        if applied.get(step.version, step.checksum) != step.checksum:
            raise StoreError(f"{store}: its schema version {step.version} is not the released one")
    return [step for step in migrations if step.version not in applied]


def check_version(store: str, found: int | None) -> None:
    """Refuses a schema that is not the one this k2alert reads; only a daemon brings one forward."""
    known = newest_version()
    if found != known:
        raise StoreError(f"{store}: its schema is version {found}, this k2alert reads version {known}")
