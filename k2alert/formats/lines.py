"""What a coverage report says: how many lines there are and how many were run, and the same of branches."""

from dataclasses import dataclass

from k2alert.formats.caps import Unreadable, malformed
from k2alert.model import CoverageReport, Execution

__all__ = ["Coverage", "covered", "share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The coverage of a report file, in percent. `branches_valid` 0: it says nothing of branches.

    The other fields mean what those of a `CoverageReport` do.
    """

    percent: float
    branch_percent: float | None = None
    lines_covered: int | None = None
    lines_valid: int | None = None
    branches_covered: int = 0
    branches_valid: int = 0
    files: tuple[str, ...] = ()

    def report(self, by: Execution) -> CoverageReport:
        """The report of an execution that wrote this."""
        return CoverageReport(
            by=by,
            percent=self.percent,
            branch_percent=self.branch_percent,
            lines_covered=self.lines_covered,
            lines_valid=self.lines_valid,
            files=self.files,
        )


def covered(
    *, hit: int, valid: int, branches_hit: int, branches_valid: int, files: tuple[str, ...]
) -> Coverage | Unreadable:
    """The coverage that these counts are; none where they cannot be."""
    if not valid:
        return malformed("it holds no lines")
    if hit > valid or branches_hit > branches_valid:
        return malformed("it says that more was covered than there is")
    return Coverage(
        percent=share(hit, valid),
        branch_percent=share(branches_hit, branches_valid) if branches_valid else None,
        lines_covered=hit,
        lines_valid=valid,
        branches_covered=branches_hit,
        branches_valid=branches_valid,
        files=files,
    )


def share(hit: int, valid: int) -> float:
    """A part in percent; of nothing, all."""
    return 100 * hit / valid if valid else 100.0
