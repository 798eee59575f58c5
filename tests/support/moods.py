"""How receivers that fail at random answer: each message meets a mood, drawn from a seeded chance.

A mood says whether the message is taken, and what is answered. What is taken without a good answer may be said again;
what is refused plainly was not taken.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Mood", "Moods"]


MOST_IN_A_ROW = 2


class Mood(Enum):
    """What a message meets: whether it is taken, and whether it is answered."""

    GOOD = (True, "well")
    BUSY = (False, "to come again in a second")  # 429 with Retry-After; 421 of a mail server
    BROKEN = (False, "plainly not taken")  # 503; 451
    RESET_BEFORE = (False, "nothing: the connection is reset, and nothing was taken")
    RESET_AFTER = (True, "nothing: the connection is reset, after it was taken")
    LYING = (True, "not taken, which is wrong")  # 502 of a gateway; a mail server hangs up
    SILENT_BEFORE = (False, "nothing, and nothing was taken")
    SILENT_AFTER = (True, "nothing, though it was taken")

    @property
    def takes(self) -> bool:
        """Whether the message is taken."""
        return self.value[0]

    @property
    def is_unsure(self) -> bool:
        """Whether who sent it can't know if it was taken."""
        return self not in (Mood.GOOD, Mood.BUSY, Mood.BROKEN)


@dataclass
class Moods:
    """Draws a mood for each message.

    Each lane of each integration meets at most `most` bad ones (None: any number), and at most two in a row: waits
    double from failure to failure.
    """

    chance: random.Random = field(default_factory=lambda: random.Random(0))
    rates: Mapping[Mood, float] = field(default_factory=dict)
    most: int | None = None
    met: Counter[tuple[str, Mood]] = field(default_factory=Counter)
    _bad: Counter[tuple[str, str]] = field(default_factory=Counter)
    _row: Counter[tuple[str, str]] = field(default_factory=Counter)

    def draw(self, integration: str, lane: str) -> Mood:
        """The mood that the next message of an integration to a lane meets."""
        moods = [Mood.GOOD, *self.rates]
        (mood,) = self.chance.choices(moods, [1 - sum(self.rates.values()), *self.rates.values()])
        if mood is Mood.GOOD or not self._bears_another((integration, lane)):
            mood = Mood.GOOD
            self._row[integration, lane] = 0
        else:
            self._bad[integration, lane] += 1
            self._row[integration, lane] += 1
        self.met[integration, mood] += 1
        return mood

    def _bears_another(self, who: tuple[str, str]) -> bool:
        return self._row[who] < MOST_IN_A_ROW and (self.most is None or self._bad[who] < self.most)
