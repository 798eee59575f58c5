"""The daemon as a process of its own, which is killed and started again."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 60.0


async def until_all_has_come() -> None:
    """Until what was sent has come to the servers in this process, which take it in steps."""
    for _ in range(20):
        await asyncio.sleep(0.01)


@dataclass
class Mortal:
    """`k2alert run` as a process, in its file's folder.

    `life` counts its lives; `killed_at` says when each was ended, on the loop's clock. `name` tells apart several that
    share a file. The clock of the next life is `ahead` of the machine's by so many seconds.
    """

    config: Path
    environ: dict[str, str] = field(default_factory=dict)
    name: str = ""
    ahead: float = 0.0
    life: int = 0
    killed_at: dict[int, float] = field(default_factory=dict)
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begins another life; does not wait until it is ready."""
        self.life += 1
        command = ("tests.support.ahead", str(self.ahead)) if self.ahead else ("k2alert", "run")
        with self.log(self.life).open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *command, "--config", str(self.config)),
                *("--listen", "127.0.0.1:0", "--log-format", "json"),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
                cwd=self.config.parent,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **self.environ},
            )

    @property
    def pid(self) -> int:
        """The process of this life."""
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """Ends this life at once."""
        assert self._process is not None
        self.killed_at[self.life] = asyncio.get_running_loop().time()
        os.kill(self._process.pid, signal.SIGKILL)
        assert await self._process.wait() == -signal.SIGKILL, "it had died before: see its log"
        await until_all_has_come()

    async def pause(self) -> None:
        """Stops it in the middle of whatever it does, as a machine that is put to sleep."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        await until_all_has_come()

    def wake(self) -> None:
        """Lets it go on where it was, if it lives."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGCONT)

    async def stop(self) -> int:
        """Asks it to end; its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._process.wait()

    async def ready(self) -> int:
        """Waits until this life has the history in memory; its port."""
        deadline = time.monotonic() + PATIENCE
        while self._lives() and not self._is_ready():
            assert time.monotonic() < deadline, "it does not become ready"
            await asyncio.sleep(0.02)
        return self._port()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What all lives have logged; the last line of each may have been cut by its end."""
        for life in range(1, self.life + 1):
            yield from self._lines(life)

    def log(self, life: int) -> Path:
        return self.config.with_suffix(f".{self.name}{life}.log")

    def _lines(self, life: int) -> Iterator[dict[str, Any]]:
        whole, _, _ = self.log(life).read_text().rpartition("\n")
        for line in whole.splitlines():
            yield json.loads(line)

    def _lives(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, f"it has died by itself:\n{self.log(self.life).read_text()}"
        return True

    def _is_ready(self) -> bool:
        return any(line["msg"] == "the history is in memory" for line in self._lines(self.life))

    def _port(self) -> int:
        said = (str(line["msg"]) for line in self._lines(self.life))
        return int(next(line for line in said if line.startswith("listening on port ")).rpartition(" ")[2])
