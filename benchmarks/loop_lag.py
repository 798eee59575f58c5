"""For how long a daemon's rounds hold the event loop, over 10,000 projects; and what holds it then.

    .venv/bin/python benchmarks/loop_lag.py [PROJECTS]     # some 3 minutes

The daemon's own rounds with the seed's four rules, over SQLite on disk: a start, rounds in which nothing came, rounds
in which the usual share of 30 s came (200 runs a project and day), and one in which a tenth of all projects turn red. A
task beside them measures the CPU time of the loop's thread from one of its turns to the next; a thread looks at what
that thread does, so that each long hold can be named.
"""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from evaluate import RULES
from storm import BATCH, Daemon, a_daemon, make_run

from k2alert.config.load import load
from k2alert.garbage import leave_out
from k2alert.measure.catalogue import METRICS
from k2alert.model import Result

MAIN = """
sources: [{{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, groups: [k2], max_staleness: 1d}}]
store: sqlite:///{store}
rule_files: [rules.yml]
receivers: [{{name: team, webhook: {{url: "http://127.0.0.1:1/"}}}}]
route: {{receiver: team, group_wait: 1h}}
"""
ROUND = timedelta(seconds=30)
LOOK = 0.002  # seconds from one look of the thread to the next
NOTED = 0.02  # holds of so many CPU seconds are named


class Watch:
    """The longest hold since `begin`, and what was seen in the long ones."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.seen: Counter[str] = Counter()
        self._now: list[str] = []
        self._main = threading.get_ident()
        self._over = False

    def begin(self) -> None:
        self.longest = 0.0
        self.seen.clear()

    async def probe(self) -> None:
        """Turns with the loop."""
        while True:
            before = time.thread_time()
            self._now = []
            await asyncio.sleep(0.001)
            held = time.thread_time() - before
            if held > NOTED:
                self.seen.update(dict.fromkeys(_most_common(self._now), held))
            self.longest = max(self.longest, held)

    def look(self) -> None:
        """What the loop's thread is doing, again and again."""
        while not self._over:
            time.sleep(LOOK)
            frame = sys._current_frames().get(self._main)
            names = []
            while frame is not None:
                if "k2alert" in frame.f_code.co_filename:
                    names.append(frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name)
                frame = frame.f_back
            if names:
                self._now.append(" < ".join(names[:3]))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Both at work."""
        probe, thread = asyncio.ensure_future(self.probe()), threading.Thread(target=self.look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            probe.cancel()
            self._over = True


def _most_common(names: list[str]) -> list[str]:
    return [name for name, _ in Counter(names).most_common(1)]


async def phase(name: str, daemon: Daemon, watch: Watch, rounds: int, share: float, result: Result) -> None:
    """Rounds of one kind."""
    took: list[float] = []
    watch.begin()
    longest = 0.0
    for _ in range(rounds):
        daemon.now += ROUND
        every = max(1, round(1 / share)) if share else 0
        red = daemon.projects[len(took) % every :: every] if every else []
        for first in range(0, len(red), BATCH):
            batch = [make_run(one.path, 10 + len(took), daemon.now, result) for one in red[first : first + BATCH]]
            daemon.board.apply(await daemon.store.save(batch))
        daemon.read()
        await asyncio.sleep(0.01)
        watch.longest = 0.0
        before = time.thread_time()
        await daemon.rounds.round()
        daemon.rounds.pictures._draw_from = 0.0  # now, and not after a rest
        await daemon.rounds.draw()
        await asyncio.sleep(0.01)
        took.append(time.thread_time() - before)
        longest = max(longest, watch.longest)
    print(f"{name}: CPU of a round {sorted(took)[len(took) // 2] * 1000:.0f} ms, longest hold {longest * 1000:.0f} ms")
    for seen, held in watch.seen.most_common(5):
        print(f"    {held * 1000:5.0f} ms in holds over {NOTED * 1000:.0f} ms: {seen}")
    sys.stdout.flush()


async def main(projects: int = 10_000) -> None:
    """All phases."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(RULES)
        (folder / "k2alert.yml").write_text(MAIN.format(store=folder / "k.db"))
        config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
        if config is None:
            raise RuntimeError("the configuration is wrong")
        watch = Watch()
        async with a_daemon(config, projects) as daemon:
            daemon.read()
            leave_out()  # as the daemon does once it has read its history
            with watch.watching():
                await phase("the first round", daemon, watch, 1, 0, Result.SUCCESS)
                leave_out()
                await phase("nothing came", daemon, watch, 5, 0, Result.SUCCESS)
                await phase("the usual share came", daemon, watch, 10, 200 * 30 / 86_400, Result.SUCCESS)
                await phase("a tenth turns red", daemon, watch, 1, 0.1, Result.FAILURE)
                await phase("it stays red", daemon, watch, 3, 0, Result.SUCCESS)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
