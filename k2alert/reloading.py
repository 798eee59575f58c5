"""The configuration read again: when its files change, or when somebody asks.

Files come in, a configuration that runs goes out to whoever uses it, all at once or not at all: what is wrong with the
files is logged, and everything stays as it was.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from k2alert.config.load import Loaded
from k2alert.config.model import Config
from k2alert.config.watch import fingerprint
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.record.store import StoreError

__all__ = ["NotRunnable", "Reloader", "runnable"]

_LOG = logging.getLogger(__name__)


class NotRunnable(Exception):
    """The configuration has errors; `lines` says which, each with its place."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def runnable(loaded: Loaded) -> Config:
    """The configuration that was read; logs its warnings. Raises `NotRunnable`."""
    for problem in loaded.problems:
        if problem.warning and problem.code != "unset":
            _LOG.warning("%s: %s", problem.place, problem.text)
    if loaded.config is None or not loaded.runnable:
        fatal = [
            str(replace(problem, warning=False))
            for problem in loaded.problems
            if not problem.warning or problem.code == "unset"
        ]
        raise NotRunnable(fatal or ["the configuration cannot be used"])
    return loaded.config


class Reloader:
    """Reads the files anew (`read`) and has the configuration used (`use`, which may raise as this module says)."""

    def __init__(
        self,
        watched: Mapping[Path, str],
        *,
        read: Callable[[], Loaded],
        use: Callable[[Config], Awaitable[None]],
        self_metrics: SelfMetrics,
    ) -> None:
        self._watched = watched
        self._read = read
        self._use = use
        self._self_metrics = self_metrics
        self._reloading = asyncio.Lock()
        self._seen = watched
        self._down_told = False

    async def watch(self) -> None:
        """Reads the files again where they have changed, and are as the last look saw them.

        Somebody may be at it: half a file can be a good one, and alerts whose rules are missing in it would be closed.
        """
        before, self._seen = self._seen, await asyncio.to_thread(fingerprint, self._watched)
        if dict(self._seen) == dict(before) != dict(self._watched):
            if not self._down_told:
                _LOG.info("the files have changed")
            await self.reload()

    async def reload_when(self, asked: asyncio.Event) -> None:
        """Reads them again each time that `asked` is set, for ever."""
        while True:
            await asked.wait()
            asked.clear()
            await self.reload()

    async def reload(self) -> Sequence[str]:
        """Reads the files again; what is wrong with them, and then everything stays as it was."""
        async with self._reloading:
            loaded = await asyncio.to_thread(self._read)
            before, self._watched = self._watched, loaded.watched
            try:
                config = runnable(loaded)
                await self._use(config)
            except NotRunnable as refused:
                self._down_told = False
                # A main file that cannot be read names no rule files: those of before are watched on, as they are now.
                self._watched = {**await asyncio.to_thread(fingerprint, before), **loaded.watched}
                self._self_metrics.config_refused()
                for line in refused.lines:
                    _LOG.error("not reloaded: %s", line)
                return refused.lines
            except StoreError as error:
                self._watched = before  # the files are good: they are read again until the store is back
                self._self_metrics.config_refused()
                if not self._down_told:
                    _LOG.error("not reloaded, the store is down: %s", error)
                self._down_told = True
                return [f"the store is down: {error}"]
            self._down_told = False
            _LOG.info("reloaded", extra={"rules": len(config.rules)})
            return ()
