"""The oracle of the soak: what every lane should have been told, and what may have been said twice.

In come what was done to the branches, every message that came to a receiver, taken or not, and what the store called
tried at each kill; out come what is lost, what was said twice without need, and what makes no sense. It knows nothing
of how k2alert decides.

Each incident is told once in each of its states, in their order. A message may be said again only where nobody could
know that it had been taken: it was in flight when its sender was killed, or it got no good answer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.ears import INTEGRATIONS, Said

__all__ = ["Lived", "Verdict", "judge"]

FIRING = {"firing": 1, "worse": 2, "resolved": 0}
"""How many alerts fire in each state of an incident."""

_ORDER = tuple(FIRING)

InFlight = Mapping[int, Mapping[tuple[str, str], set[int]]]
"""By life that was killed, lane and integration: how many alerts fired in the messages that the store called tried."""


@dataclass
class Lived:
    """A branch that was red: since when (RFC 3339), and what there was to be told of it, in order.

    `sure`: it stayed as it was until everyone had heard. Otherwise it may have been over before anyone could be told;
    but then, whoever heard of it hears its end.
    """

    lane: str
    since: str
    sure: bool
    states: list[str] = field(default_factory=list)


@dataclass
class Verdict:
    """What is wrong, in sentences; and how often something was said again, by the reason that excuses it."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    again: Counter[tuple[str, str]] = field(default_factory=Counter)  # by integration and reason


def judge(
    lived: Sequence[Lived], heard: Iterable[Said], in_flight: InFlight, ways: Iterable[str] = INTEGRATIONS
) -> Verdict:
    """Holds what was heard in these ways against what was lived."""
    ways = tuple(ways)
    verdict = Verdict()
    by_way: dict[tuple[str, str], list[Said]] = {}
    for said in heard:
        if said.state != "edit":
            by_way.setdefault((said.lane, said.integration), []).append(said)
    for lane in {one.lane for one in lived}:
        mine = sorted((one for one in lived if one.lane == lane), key=lambda one: one.since)
        for integration in ways:
            _judge_way(mine, by_way.get((lane, integration), []), integration, in_flight, verdict)
    return verdict


def _judge_way(lived: list[Lived], heard: list[Said], integration: str, in_flight: InFlight, verdict: Verdict) -> None:
    """What one integration was told of one lane."""
    of: dict[int, list[Said]] = {}
    for said in heard:
        of.setdefault(sum(one.since <= said.incident for one in lived) - 1, []).append(said)
    verdict.odd += (f"told of nothing: {said}" for said in of.pop(-1, ()))
    if lived[0].sure:
        for number, one in enumerate(lived):
            words = of.get(number, [])
            told = {said.state for said in words if said.mood.takes}
            verdict.lost += (
                f"{integration} was not told that {one} is {state}" for state in one.states if state not in told
            )
            verdict.odd += _oddities(one, words, integration)
            _excuse_all(_repeats(words), in_flight, verdict)
    else:
        verdict.lost += _lost_in_haste(lived, heard, integration)
        verdict.odd += _ends_of_nothing(heard, in_flight)
        _excuse_all(_repeats_in_haste(heard, in_flight), in_flight, verdict)


# ---------------------------------------------------------------------------- where everyone was waited for


def _oddities(lived: Lived, words: list[Said], integration: str) -> Iterator[str]:
    """One incident told as two, states that nobody knows, and those that go backwards."""
    taken = [said for said in words if said.mood.takes]
    incidents, states = {said.incident for said in words}, [said.state for said in taken]
    if len(incidents) > 1:
        yield f"{integration} was told of {lived} as of {len(incidents)} incidents: {words}"
    if not set(states) <= set(_ORDER):
        yield f"{integration} was told that {lived} is {set(states)}"
    elif states != sorted(states, key=_ORDER.index):
        yield f"{integration} was told of {lived} in a wrong order: {taken}"


def _repeats(words: list[Said]) -> Iterator[tuple[Said, Said]]:
    """What was said again, each with what was said before: the same state, or another message outside of a thread."""
    taken = [said for said in words if said.mood.takes]
    for place, said in enumerate(taken):
        before = [one for one in taken[:place] if one.state == said.state]
        if before:
            yield before[-1], said
    roots = [said for said in taken if said.root and said.integration == "bot"]
    yield from ((first, second) for first, second in pairwise(roots) if first.state != second.state)


# ------------------------------------------------------------- where it may be over before anyone can be told


def _lost_in_haste(lived: list[Lived], heard: list[Said], integration: str) -> Iterator[str]:
    """The last word must be how things are. Red after red is one incident to who could not be told of the green."""
    last = next((said.state for said in reversed(heard) if said.mood.takes), "resolved")
    now = lived[-1].states[-1]
    if (last == "resolved") != (now == "resolved"):
        yield f"{integration} heard last that {lived[-1]} is {last}, and it is {now}"


def _ends_of_nothing(heard: list[Said], in_flight: InFlight) -> Iterator[str]:
    """An end that is the first that was heard, though nobody can have heard a beginning."""
    place = next((place for place, said in enumerate(heard) if said.mood.takes), None)
    if place is not None and heard[place].state == "resolved":
        first = heard[place]
        if not _may_have_begun(heard[:place], first, range(first.life), in_flight):
            yield f"only the end was told: {first}"


def _repeats_in_haste(heard: list[Said], in_flight: InFlight) -> Iterator[tuple[Said, Said]]:
    """What was said again, whichever incident it was of: what began twice did not end in between.

    What began, or ended, twice did end, or begin, in between where that may have been heard.
    """
    taken = [place for place, said in enumerate(heard) if said.mood.takes]
    for before, place in pairwise(taken):
        first, second = heard[before], heard[place]
        lives = range(first.life, second.life)
        may_have_changed = _may_have_begun if first.state == "resolved" else _may_have_ended
        if first.state == second.state and not may_have_changed(heard[before:place], second, lives, in_flight):
            yield first, second


def _may_have_begun(between: list[Said], end: Said, lives: Iterable[int], in_flight: InFlight) -> bool:
    """Whether a beginning was on its way before an end, and got no answer or was in flight at a kill."""
    who = (end.lane, INTEGRATIONS[end.integration])
    return any(said.state != "resolved" and said.mood.is_unsure for said in between) or any(
        max(in_flight.get(life, {}).get(who, {0})) > 0 for life in lives
    )


def _may_have_ended(between: list[Said], again: Said, lives: Iterable[int], in_flight: InFlight) -> bool:
    """Whether an end was on its way before another beginning, and got no answer or was in flight at a kill."""
    who = (again.lane, INTEGRATIONS[again.integration])
    return any(said.state == "resolved" and said.mood.is_unsure for said in between) or any(
        0 in in_flight.get(life, {}).get(who, ()) for life in lives
    )


# ----------------------------------------------------------------------------------------------- excuses


def _excuse_all(repeats: Iterable[tuple[Said, Said]], in_flight: InFlight, verdict: Verdict) -> None:
    for first, second in repeats:
        reason = _excuse(first, second, in_flight)
        if reason:
            verdict.again[first.integration, reason] += 1
        else:
            verdict.twice.append(f"{second} said again what {first} had said")


def _excuse(first: Said, second: Said, in_flight: InFlight) -> str:
    """Why nobody could know that the first was taken; "" where somebody should have known."""
    who = (first.lane, INTEGRATIONS[first.integration])
    firing = {FIRING.get(first.state, -1)}
    if first.state == "worse" and not first.root:
        firing.add(FIRING["firing"])  # in a thread: one that fires again, of which it could not be told that it ended
    if any(firing & in_flight.get(life, {}).get(who, set()) for life in range(first.life, second.life)):
        return "in flight at a kill"
    return "no good answer" if first.mood.is_unsure else ""
