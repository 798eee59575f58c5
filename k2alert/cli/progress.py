"""A progress bar for backfills, where a person waits at a terminal; nothing anywhere else."""

from types import TracebackType
from typing import Self, TextIO

from k2alert.model import Project

__all__ = ["Progress"]

_WIDTH = 24


class Progress:
    """One line that is drawn over and over: how many runs of the projects being backfilled have been read."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = stream.isatty()
        self._projects: dict[tuple[str, str], tuple[int, int | None]] = {}
        self._is_drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._clear()

    def report(self, project: Project, done: int, total: int | None) -> None:
        """A backfill has come so far; both numbers equal means that it is done."""
        if not self._is_shown:
            return
        self._projects[project.source, project.key] = (done, total)
        if all(read == whole for read, whole in self._projects.values()):
            self._clear()
        else:
            self._draw()

    def _draw(self) -> None:
        done = sum(read for read, _ in self._projects.values())
        totals = [whole for _, whole in self._projects.values()]
        known = sum(whole for whole in totals if whole is not None)
        bar = "" if None in totals or not known else _bar(done / known)
        finished = sum(read == whole for read, whole in self._projects.values())
        line = f"{bar} backfill: {done:,} runs, {finished} of {len(self._projects)} projects done"
        self._stream.write(f"\r\x1b[2K{line.strip()}")
        self._stream.flush()
        self._is_drawn = True

    def _clear(self) -> None:
        if self._is_drawn:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._is_drawn = False


def _bar(share: float) -> str:
    filled = min(_WIDTH, int(share * _WIDTH))
    return f"[{'#' * filled}{'.' * (_WIDTH - filled)}]"
