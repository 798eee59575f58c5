"""Stories as data: what happens and when goes in, what people hear must come out, each in a file of tests/stories.

A file has a `story` in a sentence, a `config` as in k2alert.yml, the length of a `tick`, when it is over (`until`),
what `happens`, and what is `told`: when, which message, and the projects whose news it tells (how many, where they are
many). `receivers` are names, or names with their channels; one that refuses says `channel_not_found` to everything.
Silences, routes and inhibition are read by the real loader; a restart goes through a real store. Receivers are bots
of Slack, or, where a story names `kinds`, those, one after the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.measure.catalogue import METRICS
from k2alert.model import Delivery, Refused
from k2alert.notify.dues import Due
from k2alert.notify.message import subject
from k2alert.notify.unreached import changed_settings, set_anew
from k2alert.record import open_store
from k2alert.times import format_duration, parse_duration
from tests.support.notified import T0, World, always

STORIES = sorted((Path(__file__).parent / "stories").glob("*.yml"))
MANY = 5
KINDS: dict[str, Any] = {
    "bot": {"slack": {"bot_token": "xoxb-1", "channel": "#ci"}},
    "hook": {"slack": {"webhook_url": "http://127.0.0.1/x"}},
    "mail": {"email": {"smtp_server": "127.0.0.1", "from_address": "a@k2.test", "to_addresses": ["b@k2.test"]}},
    "webhook": {"webhook": {"url": "http://127.0.0.1/x"}},
}
RULES = "alert_rules: [{name: r, condition: success_rate < 1, period: 1h, severity: info, message: m}]\n"


@dataclass
class Stage:
    """Where a story plays: a world, and what was said in it."""

    folder: Path
    world: World
    kind: str = "bot"
    told: list[str] = field(default_factory=list)
    refusing: set[str] = field(default_factory=set)

    async def happen(self, event: dict[str, Any]) -> None:
        for what, about in event.items():
            if what not in ("at", "rule"):
                await getattr(self, f"_{what}")(about, event)

    async def _fire(self, projects: str | int, event: dict[str, Any]) -> None:
        for project in _projects(projects):
            self.world.fire(project, rule=event.get("rule", "main_is_red"))

    async def _end(self, projects: str | int, event: dict[str, Any]) -> None:
        wanted = set(_projects(projects))
        for one in list(self.world.alerts.values()):
            if one.labels.get("project") in wanted and one.rule == event.get("rule", "main_is_red"):
                self.world.end(one)

    async def _silence(self, asked: dict[str, str], _: object) -> None:
        matcher, length = asked["matcher"], parse_duration(asked.get("for", "52w"))
        until = self.world.alerts.values() if asked.get("until_resolved") else ()
        self.world.silence(
            matcher, length, [one for one in until if matcher.endswith(f'"{one.labels.get("project")}"')]
        )

    async def _reload(self, config: dict[str, Any], _: object) -> None:
        before = self.world.receivers
        self.use(config)
        for who in changed_settings(before, self.world.receivers):
            self.world.write(set_anew(self.world.log.values(), who, now=self.world.now))

    async def _refuse(self, receivers: str, _: object) -> None:
        self.refusing |= set(receivers.split())

    async def _take(self, receivers: str, _: object) -> None:
        self.refusing -= set(receivers.split())

    def _answer(self, due: Due) -> Delivery:
        refused = due.receiver in self.refusing
        return Refused("Slack answered 200 channel_not_found") if refused else always(due)

    async def _restart(self, *_: object) -> None:
        """What is known goes into a real store, and nothing but the store comes back."""
        url, world = f"sqlite:///{self.folder}/story.db", self.world
        store = open_store(url)
        await store.save_alerts(list(world.alerts.values()))
        await store.save_log(list(world.log.values()))
        await store.save_silences(world.silences)
        await store.close()
        store = open_store(url)
        world.alerts = {one.key: one for one in await store.alerts()}
        world.log = {one.key: one for one in await store.log()}
        world.silences = await store.silences()
        await store.close()

    def use(self, config: dict[str, Any]) -> None:
        read = _config(self.folder, config, self.kind)
        self.world.route, self.world.receivers = read.route, dict(read.receivers)
        self.world.inhibitions = list(read.inhibitions)

    def tick(self) -> None:
        before = len(self.world.said)
        self.world.judge_deliveries()
        self.world.tick(answer=self._answer)
        self.told += [self._line(due) for due in self.world.said[before:]]

    def _line(self, due: Due) -> str:
        news = sorted({subject(one) for part in due.parts for one in part.news or part.alerts})
        who = " ".join(news) if len(news) <= MANY else str(len(news))
        return f"{format_duration(self.world.now - T0)} {due.receiver} {due.kind.value}: {who}"


def _config(folder: Path, config: dict[str, Any], kind: str) -> Config:
    """A whole configuration around the story's own, with receivers of one kind; those with channels are bots."""
    written = config.get("receivers", ["team"])
    if isinstance(written, dict):
        told = {name: {"slack": {**KINDS["bot"]["slack"], "channel": to}} for name, to in written.items()}
    else:
        told = dict.fromkeys(written, KINDS[kind])
    receivers = {"receivers": [{"name": name, **settings} for name, settings in told.items()]}
    file = folder / "k2alert.yml"
    file.write_text(RULES + yaml.safe_dump({**config, **receivers}))
    loaded = load(file, environ={}, metrics=METRICS)
    assert loaded.config is not None, loaded.problems
    return loaded.config


def _projects(written: str | int) -> list[str]:
    return written.split() if isinstance(written, str) else [f"k2/app-{number}" for number in range(written)]


def _times(story: dict[str, Any]) -> Iterator[timedelta]:
    tick, at = parse_duration(story.get("tick", "30s")), timedelta(0)
    while at <= parse_duration(story["until"]):
        yield at
        at += tick


def _casts() -> Iterator[Any]:
    """Every story, with each kind of receiver that it is told to."""
    for path in STORIES:
        story = yaml.safe_load(path.read_text())
        for kind in story.get("kinds", ["bot"]):
            yield pytest.param(story, kind, id=f"{path.stem}-{kind}")


@pytest.mark.parametrize(("story", "kind"), list(_casts()))
async def test_what_happens_is_told_as_the_story_says(story: dict[str, Any], kind: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, World(), kind)
    stage.use(story["config"])
    left = list(story["happens"])
    for at in _times(story):
        stage.world.now = T0 + at
        while left and parse_duration(left[0]["at"]) <= at:
            await stage.happen(left.pop(0))
        stage.tick()
    assert (stage.told, left) == (story["told"], [])
