"""What the shipped rules would have said on real history, beside four naive ones.

    python benchmarks/rule_pack.py [--data ../shared/data] [--each] [HISTORY …]

Each history is collected over HTTP from a stand-in forge, as benchmarks/replay.py does it, and then lived through
again: the real cycle at every instant at which something is likely to change, with every message delivered. That is
after each run's end (at once and after the waits that rules have) and once an hour; so what only time changes may be
noticed up to an hour late.
Rules begin a week after the history does: what lay before is not known, and counts as if nothing had been.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.alert.lifecycle import AlertId, forget
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Scene, plan
from k2alert.measure.catalogue import METRICS
from k2alert.model import Alert, AlertState, Kind, LogEntry, Project, Sent, Transition
from k2alert.notify.outcome import finished, record_outcome, settled
from k2alert.recall import fill_board, make_board
from k2alert.record import Store
from k2alert.times import from_ms, iso
from k2alert.universe import make_universe
from tests.support.history import HISTORIES, read_history
from tests.support.replay import replaying

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SHIPPED = sorted((ROOT / "rules").glob("*.yml"))
DEFAULT = "{receiver: team}"
ADVISED = """{receiver: team, group_by: [source, project], repeat_interval: 24h,
  routes: [{matchers: ['severity="info"'], receiver: planning}]}"""  # the digest is one message a week, and not counted
PACKS = {
    "naive": ([ROOT / "benchmarks" / "naive_rules.yml"], DEFAULT),
    "shipped": (SHIPPED, DEFAULT),
    "shipped, as advised": (SHIPPED, ADVISED),
}
WEEK = timedelta(days=7)
_TICK = 30_000  # ms between two evaluations of a daemon
_HOUR = 3_600_000
_AFTER = (0, 1, 6, 11, 31, 61)  # minutes after a run's end at which a wait may be over

_MAIN = """
sources: [{{type: {forge}, name: forge, url: "http://127.0.0.1", token: not-used, {key}: [a/b]}}]
rule_files: [{rules}]
retention: 60d
receivers: [{{name: team, slack: {{bot_token: not-used, channel: "#ci"}}}}, {{name: planning}}]
route: {route}
"""


@dataclass
class Life:
    """What a history was like under some rules."""

    weeks: float = 0.0
    edges: list[Transition] = field(default_factory=list)
    messages: Counter[str] = field(default_factory=Counter)
    repeats: int = 0

    @property
    def incidents(self) -> Counter[str]:
        """How often each rule began to fire."""
        return Counter(edge.rule for edge in self.edges if edge.after is AlertState.FIRING)


@dataclass
class World:
    """The state that a daemon keeps between two rounds."""

    scene: Scene
    life: Life
    alerts: Mapping[AlertId, Alert] = field(default_factory=dict)
    log: dict[tuple[str, str, str], LogEntry] = field(default_factory=dict)

    def round(self, now: datetime) -> None:
        """One round at which everything could be read, and every message was taken."""
        read = [replace(project, complete_at=now, success_at=now) for project in self.scene.projects]
        scene = replace(self.scene, projects=read, alerts=self.alerts, log=tuple(self.log.values()))
        made = plan(scene, now=now)
        self.alerts = made.step.alerts
        self.life.edges += made.step.transitions
        for due in made.due:
            self.life.messages[due.parts[0].alerts[0].rule] += 1
            self.life.repeats += due.kind.value == "repeat"
            self.log |= {entry.key: entry for entry in record_outcome(due, Sent({"here": "1"}), now=now)}
        self._tidy(scene.config)

    def _tidy(self, config: Config) -> None:
        by_key = {alert.key: alert for alert in self.alerts.values()}
        log = tuple(self.log.values())
        done = settled(alerts=by_key, log=log, route=config.route, receivers=config.receivers)
        self.log |= {entry.key: entry for entry in done}
        heard = finished(alerts=by_key, log=tuple(self.log.values()), receivers=config.receivers)
        back, gone = forget(self.alerts, lambda alert: alert.key in heard)
        dropped = {(alert.rule, alert.identity) for alert in gone}
        kept = {identity: alert for identity, alert in self.alerts.items() if identity not in dropped}
        self.alerts = kept | {(alert.rule, alert.identity): alert for alert in back}
        self.log = {key: entry for key, entry in self.log.items() if not entry.closed}


async def live(store: Store, config: Config, every: int) -> Life:
    """The history in the store, lived through under these rules, at one in `every` of the instants."""
    board = make_board(config, METRICS)
    await fill_board(board, store)
    ends = [entry.finished async for batch in store.entries(Kind.RUN) for entry in batch]
    begins = from_ms(min(ends)) + min(WEEK, (from_ms(max(ends)) - from_ms(min(ends))) / 4)
    projects = [replace(project, covered_since=from_ms(min(ends)) - 10 * WEEK) for project in await store.projects()]
    life = Life(weeks=(from_ms(max(ends)) - begins) / WEEK)
    world = World(_scene(config, board, projects, begins), life)
    for at in _instants(ends)[::every]:
        if begins <= from_ms(at) <= from_ms(max(ends)):
            world.round(from_ms(at))
    return life


def _scene(config: Config, board: object, projects: Sequence[Project], started_at: datetime) -> Scene:
    return Scene(
        config=config,
        metrics=METRICS,
        measures=board,  # type: ignore[arg-type]
        universe=make_universe(config, projects),
        projects=projects,
        alerts={},
        log=(),
        started_at=started_at,
    )


def _instants(ends: Sequence[int]) -> list[int]:
    after = {end // _TICK * _TICK + _TICK + minutes * 60_000 for end in ends for minutes in _AFTER}
    return sorted(after | set(range(min(ends) // _HOUR * _HOUR, max(ends), _HOUR)))


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


async def try_history(data: Path, name: str, *, every: int = 1) -> dict[str, Life]:
    """What each pack made of a history, at one in `every` of the instants."""
    history = read_history(data, name)
    with TemporaryDirectory() as folder:
        async with replaying(history, Path(folder)) as replay:
            await replay.look(history.ends)
            return {
                pack: await live(replay.store, configure(history.forge, files, route, Path(folder)), every)
                for pack, (files, route) in PACKS.items()
            }


def table(name: str, lives: Mapping[str, Life]) -> Iterator[str]:
    """The rows of a history: one for each pack."""
    for pack, life in lives.items():
        incidents, messages = sum(life.incidents.values()), sum(life.messages.values())
        cells = [name, f"{life.weeks:.1f}", pack, str(incidents), f"{incidents / life.weeks:.2f}", str(messages)]
        cells += [f"{messages / life.weeks:.1f}", f"{(messages - life.repeats) / life.weeks:.2f}"]
        yield f"| {' | '.join(cells)} |"


def by_rule(lives: Mapping[str, Life]) -> Iterator[str]:
    """Each incident of the shipped rules."""
    for edge in lives["shipped"].edges:
        if AlertState.FIRING in (edge.before, edge.after):
            labels = " ".join(value for name, value in edge.identity.items() if name != "source")
            yield f"{iso(edge.at)} {edge.after.value:7} {edge.rule} {labels} {edge.value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("histories", nargs="*", default=list(HISTORIES), help="which; all by default")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--each", action="store_true", help="also every incident of the shipped rules")
    given = parser.parse_args()
    if not given.data.is_dir():
        print(f"there is no data in {given.data}")
        return
    print("| history | weeks | rules | incidents | a week | messages | a week | without repeats |")
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for name in given.histories:
        lives = asyncio.run(try_history(given.data, name))
        print("\n".join(table(name, lives)), flush=True)
        if given.each:
            print("\n".join(by_rule(lives)), flush=True)


if __name__ == "__main__":
    main()
