"""What the shipped rules would have said on real history, beside four naive ones.

    python benchmarks/rule_pack.py [--data ../shared/data] [--each] [HISTORY …]

Each history is collected over HTTP from a stand-in forge, as benchmarks/replay.py does it, and then rehearsed: by what
`k2alert backtest` runs, every five minutes. All packs are held against the same time, which begins where four weeks of
look-back lie behind it (of what lay before the history nothing is known: ten days of that count as without a run).
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.measure.catalogue import METRICS
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest import Incident, Rehearsed
from k2alert.rehearse.backtest_source import rehearse
from k2alert.times import EPOCH, iso
from tests.support.history import HISTORIES, History, read_history
from tests.support.replay import replaying

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
STEP = timedelta(minutes=5)
WEEK = timedelta(days=7)
LOOK_BACK = timedelta(days=18)  # with the ten days that a replay takes for quiet: four weeks

SHIPPED = sorted((ROOT / "rules").glob("*.yml"))
DEFAULT = "{receiver: team}"
ADVISED = """{receiver: team, group_by: [source, project], repeat_interval: 24h,
  routes: [{matchers: ['severity="info"'], receiver: planning}]}"""  # the digest is one message a week, and not counted
PACKS = {
    "naive": ([ROOT / "benchmarks" / "naive_rules.yml"], DEFAULT),
    "shipped": (SHIPPED, DEFAULT),
    "shipped, as advised": (SHIPPED, ADVISED),
}

_MAIN = """
sources: [{{type: {forge}, name: forge, url: "http://127.0.0.1", token: not-used, {key}: [a/b]}}]
rule_files: [{rules}]
retention: 2000d
receivers: [{{name: team, slack: {{bot_token: not-used, channel: "#ci"}}}}, {{name: planning}}]
route: {route}
"""


@dataclass(frozen=True)
class Life:
    """What a history was like under a pack of rules."""

    rehearsed: Rehearsed

    @property
    def weeks(self) -> float:
        """How long it was rehearsed."""
        grid = self.rehearsed.grid
        return (grid.end - grid.start) / WEEK

    @property
    def incidents(self) -> Sequence[Incident]:
        """One for each time that an alert fired."""
        return self.rehearsed.incidents

    @property
    def messages(self) -> int:
        """How many were told."""
        return len(self.rehearsed.messages)


def grid_of(history: History) -> Grid:
    """The instants to rehearse; all of a history that is shorter than the look-back."""
    begins = history.begins + LOOK_BACK if history.ends - history.begins > LOOK_BACK else history.begins
    start = EPOCH + (begins - EPOCH) // STEP * STEP
    return Grid(start, STEP, (history.ends - start) // STEP + 1)


def configure(forge: str, rules: Sequence[Path], route: str, folder: Path) -> Config:
    """A configuration with these rule files, this route and a Slack channel."""
    main = folder / "k2alert.yml"
    named = ", ".join(f'"{file}"' for file in rules)
    key = "projects" if forge == "gitlab" else "repositories"
    main.write_text(_MAIN.format(forge=forge, key=key, rules=named, route=route))
    config = load(main, environ={}, metrics=METRICS).config
    if config is None:
        raise RuntimeError(f"{rules} cannot be used")
    return config


async def try_history(data: Path, name: str) -> dict[str, Life]:
    """What each pack made of a history."""
    history = read_history(data, name)
    lives = {}
    with TemporaryDirectory() as folder:
        async with replaying(history, Path(folder)) as replay:
            await replay.look(history.ends)
            for pack, (files, route) in PACKS.items():
                config = configure(history.forge, files, route, Path(folder))
                lives[pack] = Life((await rehearse(config, config.rules, replay.store, grid_of(history))).rehearsed)
    return lives


def table(name: str, lives: Mapping[str, Life]) -> Iterator[str]:
    """The rows of a history: one for each pack."""
    for pack, life in lives.items():
        incidents, messages, weeks = len(life.incidents), life.messages, life.weeks
        cells = [name, f"{weeks:.1f}", pack, str(incidents), f"{incidents / weeks:.2f}", str(messages)]
        cells.append(f"{messages / weeks:.1f}")
        yield f"| {' | '.join(cells)} |"


def each_incident(life: Life) -> Iterator[str]:
    """When, which, where, and its worst value."""
    for one in life.incidents:
        labels = " ".join(value for name, value in one.alert.identity.items() if name != "source")
        until = iso(one.ended_at) if one.ended_at is not None else "still"
        yield f"{iso(one.fired_at)} to {until} {one.rule.name} {labels} {one.peak}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("histories", nargs="*", default=list(HISTORIES), help="which; all by default")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--each", action="store_true", help="also every incident of the shipped rules")
    given = parser.parse_args()
    if not given.data.is_dir():
        print(f"there is no data in {given.data}")
        return
    print("| history | weeks | rules | incidents | a week | messages | a week |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for name in given.histories:
        lives = asyncio.run(try_history(given.data, name))
        print("\n".join(table(name, lives)), flush=True)
        if given.each:
            print("\n".join(each_incident(lives["shipped"])), flush=True)


if __name__ == "__main__":
    main()
