"""Several replicas as processes of their own, on one store: who of them leads, and since when, as their logs say."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from k2alert.times import parse_asked
from tests.support.mortal import PATIENCE, Mortal

__all__ = ["Crew", "Reign"]


class Reign(NamedTuple):
    """From when on a replica led, and when its first round was over, by the machine's clock (None: not yet)."""

    epoch: int
    member: Mortal
    life: int
    won_at: datetime
    judged_at: datetime | None = None


@dataclass
class Crew:
    """The replicas. To a soak they are one daemon, which lives on: `life` counts what was done to it."""

    config: Path
    members: list[Mortal]
    life: int = 1
    reigns: list[Reign] = field(default_factory=list)
    _read: dict[Path, int] = field(default_factory=dict)

    async def start(self) -> None:
        """Starts them all, and waits until one leads and the others could."""
        for member in self.members:
            await member.start()
        for member in self.members:
            await member.ready()
        await self.next_reign(0)

    async def ready(self) -> int:
        """The port of the one that leads."""
        return await self.leader().ready()

    def leader(self) -> Mortal:
        """Who began to lead last."""
        self.read()
        return max(self.reigns).member

    @property
    def epoch(self) -> int:
        self.read()
        return max((reign.epoch for reign in self.reigns), default=0)

    async def next_reign(self, after: int, patience: float = PATIENCE) -> Reign:
        """Waits until somebody leads, in a later epoch than this, and has judged."""
        async with asyncio.timeout(patience):
            while True:
                self.read()
                for reign in self.reigns:
                    if reign.epoch > after and reign.judged_at is not None:
                        return reign
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """Ends them all; the worst of their exit codes."""
        return max([abs(await member.stop()) for member in self.members], default=0)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What all have logged."""
        for member in self.members:
            yield from member.lines()

    def read(self) -> None:
        """Takes in what has been logged since the last time."""
        for member in self.members:
            for life in range(max(1, member.life - 1), member.life + 1):
                for line in self._news(member.log(life)):
                    self._note(member, life, line)

    def _news(self, log: Path) -> Iterator[dict[str, Any]]:
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            whole, end, _ = file.read().rpartition(b"\n")
        self._read[log] = self._read.get(log, 0) + len(whole + end)
        for line in whole.splitlines():
            yield json.loads(line)

    def _note(self, member: Mortal, life: int, line: dict[str, Any]) -> None:
        if line["msg"] == "this replica leads":
            self.reigns.append(Reign(line["epoch"], member, life, parse_asked(line["ts"])))
        elif line["msg"] == "the first round of this reign is over":
            mine = [reign for reign in self.reigns if (reign.member, reign.life) == (member, life)]
            place = self.reigns.index(max(mine, key=lambda reign: reign.epoch))
            self.reigns[place] = self.reigns[place]._replace(judged_at=parse_asked(line["ts"]))
