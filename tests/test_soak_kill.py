"""kill -9 at random moments, receivers that fail at random: nothing lost, nothing said twice but what was in flight.

What happens is in tests/support/soak.py; what should have been told says an oracle, tests/support/verdict.py.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.daemon import until
from tests.support.ears import INTEGRATIONS, Said
from tests.support.moods import Mood
from tests.support.soak import Script, Soak, a_soak
from tests.support.verdict import Lived, judge

SHORT = Script(
    seed=20260105,
    kills=6,
    branches=2,
    pause=4,
    moods={Mood.BUSY: 0.1, Mood.BROKEN: 0.05, Mood.LYING: 0.1, Mood.RESET_AFTER: 0.1},
    most_moods=1,
)
LONG = Script(
    seed=1,
    kills=200,
    branches=6,
    pause=45,
    moods={
        Mood.BUSY: 0.05,
        Mood.BROKEN: 0.05,
        Mood.LYING: 0.05,
        Mood.RESET_BEFORE: 0.03,
        Mood.RESET_AFTER: 0.03,
        Mood.SILENT_BEFORE: 0.02,
        Mood.SILENT_AFTER: 0.02,
    },
    peace=6,
    rest_every=50,
    vain=600,
)


async def endure(folder: Path, script: Script) -> str:
    """The whole script; its figures."""
    began = time.monotonic()
    async with a_soak(folder, script) as soak:
        await soak.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(soak.reap(), name="reap")
            for lane in soak.lanes:
                tasks.create_task(soak.live(lane), name=lane.name)
        await soak.settle()
        await soak.until_api_agrees()
        assert await soak.mortal.stop() == 0
        assert [line for line in soak.mortal.lines() if line["level"] == "error"] == []
        verdict = soak.verdict()
        assert (verdict.lost, verdict.twice, verdict.odd) == ([], [], [])
        assert soak.wrong_posts() == []
        return figures(soak, time.monotonic() - began)


def figures(soak: Soak, took: float) -> str:
    """A soak that found nothing, in a few lines."""
    took_by = Counter(said.integration for said in soak.ears.said)
    again = soak.verdict().again
    lines = [
        f"seed {soak.script.seed}: {len(soak.mortal.killed_at)} kills, {soak.in_the_middle} of them in the middle of a "
        f"delivery; {len(soak.lived)} incidents on {len(soak.lanes)} branches; {took:.0f} s; lost 0; said twice 0 but"
    ]
    for integration in INTEGRATIONS:
        reasons = ", ".join(f"{number} {why}" for (way, why), number in sorted(again.items()) if way == integration)
        lines.append(f"  {integration}: {took_by[integration]} messages taken; said again: {reasons or 'none'}")
    met = Counter[str]()
    for (_, mood), number in soak.moods.met.items():
        met[mood.name.lower()] += number
    return "\n".join([*lines, "  answers: " + ", ".join(f"{mood} {number}" for mood, number in sorted(met.items()))])


@pytest.mark.parametrize(
    ("taken", "heard"),
    [(True, ["firing", "firing", "resolved"]), (False, ["firing", "resolved"])],
    ids=["taken and not answered", "not taken"],
)
async def test_what_was_in_flight_and_is_over_meanwhile_is_told_from_beginning_to_end(
    tmp_path: Path, taken: bool, heard: list[str]
) -> None:
    async with a_soak(tmp_path, Script(seed=1, kills=1, branches=1, pause=0)) as soak:
        await soak.begin()
        lane = soak.lanes[0]
        killed = soak.arm(taken=taken)
        soak.put(lane, "failed")
        await killed.wait()
        soak.put(lane, "success")
        await soak.mortal.start()

        def told() -> list[list[str]]:
            return [[said.state for said in soak.ears.of(lane.name, way)] for way in INTEGRATIONS]

        await until(lambda: heard in told(), "the whole story")
        await until(lambda: all(one[-1:] != ["firing"] for one in told()), "all ends")
        await soak.settle()
    # Those whose message was not in flight may never hear of it: when they could have been told, it was over.
    assert all(one in ([], ["firing", "resolved"], ["firing", "firing", "resolved"]) for one in told())


async def test_nothing_is_lost_or_said_twice_when_killed_at_random(tmp_path: Path) -> None:
    print(await endure(tmp_path, SHORT))


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_nothing_is_lost_or_said_twice_over_200_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = await endure(tmp_path, LONG)
    with capsys.disabled():
        print(f"\n{said}")


# ------------------------------------------------------------------------------------- the oracle itself

LIVED = Lived("lane", "2026-01-05T10:00:00", sure=True, states=["firing", "resolved"])
RED = Said("hook", "lane", "2026-01-05T10:00:01", "firing", True, 1, 0.0, Mood.GOOD)
GREEN = RED._replace(state="resolved", root=False)


def wrong(lived: Sequence[Lived], *heard: Said, tried: set[int] | None = None) -> list[str]:
    """What the oracle finds wrong with what the incoming webhook heard, by a word each."""
    found = judge(lived, heard, {1: {("lane", "slack[0]"): tried or set()}}, ways=["hook"])
    return [*("lost" for _ in found.lost), *("twice" for _ in found.twice), *("odd" for _ in found.odd)]


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ([RED, GREEN], []),
        ([RED], ["lost"]),
        ([], ["lost", "lost"]),
        ([RED, GREEN._replace(mood=Mood.RESET_BEFORE)], ["lost"]),
        ([RED, RED, GREEN], ["twice"]),
        ([RED, RED._replace(life=2), GREEN._replace(life=2)], ["twice"]),
        ([RED._replace(mood=Mood.LYING), RED, GREEN], []),
        ([RED._replace(mood=Mood.LYING), RED, RED, GREEN], ["twice"]),
        ([GREEN, RED], ["odd"]),
        ([RED, GREEN, RED._replace(incident="2026-01-05T10:00:09")], ["twice", "odd", "odd"]),
        ([RED._replace(incident="2026-01-05T09:00:00"), RED, GREEN], ["odd"]),
        ([RED, GREEN._replace(state="closed")], ["lost", "odd"]),
    ],
)  # fmt: skip
def test_the_oracle_sees_what_is_lost_said_twice_or_makes_no_sense(heard: list[Said], said: list[str]) -> None:
    assert wrong([LIVED], *heard) == said


def test_the_oracle_excuses_what_the_store_called_tried_when_its_sender_was_killed() -> None:
    again = (RED, RED._replace(life=2), GREEN._replace(life=2))
    assert wrong([LIVED], *again, tried={1}) == []
    assert wrong([LIVED], *again, tried={0}) == ["twice"]


def test_the_oracle_knows_that_what_fires_again_is_said_in_the_thread() -> None:
    anew = RED._replace(state="worse", root=False)
    heard = (RED, GREEN._replace(mood=Mood.LYING), anew, anew._replace(life=2), GREEN._replace(life=2))
    hasty = replace(LIVED, sure=False)
    assert wrong([hasty], *heard, tried={1}) == []
    assert wrong([hasty], *heard) == ["twice"]


def test_the_oracle_lets_hasty_incidents_be_missed_but_not_their_ends() -> None:
    hasty = replace(LIVED, sure=False)
    assert wrong([hasty]) == []
    assert wrong([hasty], RED) == ["lost"]
    assert wrong([hasty], GREEN) == ["odd"]
    assert wrong([hasty], RED._replace(mood=Mood.RESET_BEFORE), GREEN) == []
    assert wrong([hasty], GREEN._replace(life=2), tried={1}) == []
    assert wrong([hasty], RED, GREEN, GREEN) == ["twice"]
    assert wrong([hasty], RED, GREEN._replace(mood=Mood.LYING), GREEN, GREEN._replace(life=2), tried={0}) == []
    assert wrong([hasty], RED, GREEN, RED._replace(mood=Mood.RESET_BEFORE), GREEN) == []


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ([RED], []),
        ([RED, GREEN], ["lost"]),
        ([], ["lost"]),
        ([RED, RED._replace(incident="2026-01-05T10:02:00")], ["twice"]),
        ([RED, GREEN, RED._replace(incident="2026-01-05T10:02:00")], []),
    ],
)
def test_the_oracle_takes_red_after_red_for_one_incident_where_nobody_can_have_seen_the_green(
    heard: list[Said], said: list[str]
) -> None:
    first = replace(LIVED, sure=False)
    again = Lived("lane", "2026-01-05T10:01:00", sure=False, states=["firing"])
    assert wrong([first, again], *heard) == said


def test_the_oracle_takes_it_for_two_where_the_green_may_have_been_heard() -> None:
    first = replace(LIVED, sure=False)
    again = Lived("lane", "2026-01-05T10:01:00", sure=False, states=["firing"])
    anew = RED._replace(incident="2026-01-05T10:02:00", life=2)
    assert wrong([first, again], RED, anew, tried={0}) == []
    assert wrong([first, again], RED, GREEN._replace(mood=Mood.RESET_BEFORE), anew) == []
    assert wrong([first, again], RED, GREEN._replace(mood=Mood.BROKEN), anew) == ["twice"]
