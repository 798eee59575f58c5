"""The demo: the real daemon against stand-ins on this machine, a story, and what people would have been told.

Nothing is configured and nothing leaves the machine. What is made up is the forge's week, the story, and who listens;
collecting, recording, judging and telling are those of `k2alert run`, with the configuration `demo.yml` beside this
file. The store is a temporary file.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from secrets import token_hex
from typing import Any

import aiohttp

from k2alert.app import Options, serve
from k2alert.collect.http import Time
from k2alert.logs import Secrets
from k2alert.model import Project
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from k2alert.rehearse.history import make_history
from k2alert.rehearse.loopback import LOOPBACK, serve_web
from k2alert.rehearse.mail_standin import serve_mail
from k2alert.rehearse.shapes import PROJECTS
from k2alert.rehearse.slack_standin import SlackPost, SlackStandin
from k2alert.rehearse.story import STORY, Beat, end_at, starts_of
from k2alert.rehearse.terminal import Terminal
from k2alert.times import format_duration, human_duration

__all__ = ["Demo", "DemoOptions", "Progress"]

CONFIG = Path(__file__).with_name("demo.yml")

_SEED = 20260105
# For the people in the demo it is always a Wednesday afternoon, so that every showing is alike.
_AFTERNOON = datetime(2026, 1, 14, 15, 20, tzinfo=UTC)
_TICK = timedelta(seconds=1)
_PATIENCE = 60  # ticks that the last messages of the story may take
_MOST_SPEED = 10.0  # faster, and the daemon's rounds would run into each other

Progress = Callable[[Project, int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How the demo runs: `keep` goes on after the story, `speed` makes the story so many times faster."""

    time: Time
    secrets: Secrets
    on_progress: Progress
    keep: bool = False
    speed: float = 1.0

    @property
    def tick(self) -> timedelta:
        """How often everything is looked at."""
        return _TICK / min(self.speed, _MOST_SPEED)


@dataclass(slots=True)
class _Heard:
    """What the listeners have been told so far."""

    posts: int = 0
    edits: int = 0
    replies: int = 0
    mails: Counter[str] = field(default_factory=Counter)  # by state


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the parts of the demo are reached."""

    gitlab: str
    slack: str
    mail: str
    folder: Path


class Demo:
    """One showing. `show` runs it from the first line to the last."""

    def __init__(self, options: DemoOptions, terminal: Terminal) -> None:
        self._options = options
        self._time = options.time
        self._terminal = terminal
        self._started = options.time.now()
        self._began: datetime | None = None
        self._token = f"demo-{token_hex(8)}"
        self._gitlab = StandinGitLab(options.time.now, token=self._token)
        self._heard = _Heard()
        self._url = ""
        self._story = self._make_week()

    async def show(self, stop: asyncio.Event) -> None:
        """Runs until the story is over (with `keep`: until `stop` is set). `stop` ends it cleanly at any time.

        Raises what `serve` raises where the daemon cannot start.
        """
        ended = asyncio.Event()
        async with self._stand_ins() as place:
            daemon = asyncio.create_task(self._serve(place, ended), name="daemon")
            telling = asyncio.create_task(self._tell(), name="story")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({daemon, telling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            ended.set()
            telling.cancel()
            stopping.cancel()
            await asyncio.gather(daemon, telling, stopping, return_exceptions=True)
        daemon.result()
        if not telling.cancelled():
            telling.result()

    # --------------------------------------------------------------------------------------- the parts

    def _make_week(self) -> dict[Beat, StandinPipeline]:
        """Fills the stand-in GitLab; the pipelines of the story run on until it begins."""
        starts = starts_of(STORY, now=self._started)
        made = make_history(_SEED, now=self._started, local_now=_AFTERNOON, given=tuple(starts.values()))
        for shape in PROJECTS:
            self._gitlab.add_project(shape.path, default_branch=shape.default_branch)
        for start, pipeline in made.items():
            self._gitlab.put(start.path, pipeline)
        story = {beat: made[start] for beat, start in starts.items()}
        self._put(end_at(STORY, story, begin=self._started + timedelta(hours=1)))
        return story

    def _put(self, pipelines: Mapping[Beat, StandinPipeline]) -> None:
        for beat, pipeline in pipelines.items():
            self._gitlab.put(beat.path, pipeline)

    @asynccontextmanager
    async def _stand_ins(self) -> AsyncIterator[_Place]:
        slack = SlackStandin(self._token, self._hear_post)
        with tempfile.TemporaryDirectory(prefix="k2alert-demo-") as folder:
            async with (
                serve_web(self._gitlab.app()) as gitlab,
                serve_web(slack.app()) as api,
                serve_mail(self._hear_mail) as mail,
            ):
                yield _Place(gitlab, f"{api}/api/", mail, Path(folder))

    async def _serve(self, place: _Place, ended: asyncio.Event) -> None:
        environ = {
            "DEMO_GITLAB": place.gitlab,
            "DEMO_SLACK": place.slack,
            "DEMO_MAIL": place.mail,
            "DEMO_STORE": str(place.folder / "k2alert.db"),
            "DEMO_TOKEN": self._token,
            "DEMO_TICK": format_duration(self._options.tick),
        }
        options = Options(
            config=CONFIG,
            environ=environ,
            listen=f"{LOOPBACK}:0",
            time=self._time,
            secrets=self._options.secrets,
            on_ready=self._be_ready,
            on_progress=self._options.on_progress,
        )
        await serve(options, ended)

    def _be_ready(self, port: int) -> None:
        self._url = f"http://{LOOPBACK}:{port}"

    # --------------------------------------------------------------------------------------- the listeners

    def _hear_post(self, post: SlackPost) -> None:
        self._heard.replies += bool(post.thread)
        self._heard.edits += bool(post.edits)
        self._heard.posts += not post.thread and not post.edits
        self._terminal.show_post(post, self._when())

    def _hear_mail(self, mail: EmailMessage) -> None:
        self._heard.mails[str(mail["X-K2Alert-State"])] += 1
        self._terminal.show_mail(mail, self._when())

    def _when(self) -> str:
        since = self._began or self._started
        return f"+{(self._time.now() - since).total_seconds():.0f} s"

    # --------------------------------------------------------------------------------------- the story

    async def _tell(self) -> None:
        async with aiohttp.ClientSession() as session:
            self._introduce()
            await self._wait_until_calm(session)
            await self._read_history(session)
            await self._unfold()
            await self._hear_the_end()
            await self._sum_up(session)
        if self._options.keep:
            self._terminal.say(f"Still running: {self._url}/ and {self._url}/metrics. Ctrl-C ends it.")
            await asyncio.Event().wait()

    def _introduce(self) -> None:
        say = self._terminal.say
        say("k2alert demo", bold=True)
        say("The real daemon on this machine: it reads a stand-in GitLab over HTTP and tells a stand-in Slack")
        say("and mail server, shown here as you would see them. Only the CI and the people are made up.")
        say(f"The configuration is {CONFIG}, the rules are in {CONFIG.with_name('demo_rules.yml').name} beside it.")
        say()

    async def _wait_until_calm(self, session: aiohttp.ClientSession) -> None:
        """Until every rule has been judged over the whole history."""
        while True:
            rules = await self._rules(session) if self._url else []
            judged = [rule["k2alert"]["judged"] for rule in rules]
            if judged and all(sum(counts.values()) > counts["unknown"] == 0 for counts in judged):
                return
            await self._time.sleep(self._options.tick.total_seconds() / 4)

    async def _rules(self, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        async with session.get(f"{self._url}/api/v1/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def _read_history(self, session: aiohttp.ClientSession) -> None:
        took = human_duration(self._time.now() - self._started)
        asked = sum(self._gitlab.requests.values())
        async with session.get(f"{self._url}/metrics") as answer:
            runs = _sum_of(await answer.text(), "k2alert_ci_runs_total")
        say = self._terminal.say
        say(f"A week of {len(PROJECTS)} projects is read: {runs:,.0f} finished pipelines, {asked} requests, {took}.")
        say(f"Metrics: {self._url}/metrics   alerts: {self._url}/api/v1/alerts")
        say("Now main of shop/checkout breaks, pipelines of mobile/app get slow, and both recover.")
        say()

    async def _unfold(self) -> None:
        """Lets the story's pipelines end, and says so when they do."""
        self._began = begin = self._time.now()
        speed = self._options.speed
        pipelines = end_at(STORY, self._story, begin=begin, speed=speed)
        self._put(pipelines)
        for beat in STORY:
            left = begin + timedelta(seconds=beat.ends / speed) - self._time.now()
            await self._time.sleep(max(0.0, left.total_seconds()))
            title = beat.title.removeprefix("Merge: ")
            said = f"{self._when():>5}  {beat.path} #{pipelines[beat].iid} “{title}” {beat.says}"
            self._terminal.say(said)

    async def _hear_the_end(self) -> None:
        """Until both incidents that can recover are told as resolved by mail and in Slack's threads."""
        for _ in range(_PATIENCE):
            if self._heard.mails["resolved"] >= 2 and self._heard.replies >= 2:
                return
            await self._time.sleep(self._options.tick.total_seconds())

    async def _sum_up(self, session: aiohttp.ClientSession) -> None:
        say, heard = self._terminal.say, self._heard
        rules = await self._rules(session)
        async with session.get(f"{self._url}/metrics") as answer:
            rounds = _sum_of(await answer.text(), "k2alert_rule_evaluations_total") / max(len(rules), 1)
        say()
        say("What you saw", bold=True)
        say(f"  {len(rules)} rules were judged {rounds:.0f} times. How they stand now, project by project:")
        for rule in rules:
            say(f"    {rule['name']:<27} {_standing(rule)}")
        told = sum(heard.mails.values())
        say(f"  Slack: {heard.posts} messages, {heard.edits} edits, {heard.replies} answers in threads. Mail: {told}.")
        say("  A rule over 24 hours that fires now will go on firing: for a day those failures are part of its window.")
        say("  Nothing reports tests or coverage here, so two rules have no data, which is not the same as zero.")
        say()


def _standing(rule: Mapping[str, Any]) -> str:
    """How the rule stands, such as "1 firing, 4 calm"."""
    judged = rule["k2alert"]["judged"]
    firing = sum(alert["state"] == "firing" for alert in rule["alerts"])
    counts = {"firing": firing, "calm": judged["false"], "no data": judged["no_data"]}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _sum_of(metrics: str, name: str) -> float:
    """The sum of a family's samples in Prometheus's text format."""
    lines = (line for line in metrics.splitlines() if line.startswith((name + "{", name + " ")))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
