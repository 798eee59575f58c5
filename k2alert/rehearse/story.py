"""The story of the demo: what happens while somebody watches.

Pipelines that are running when it begins finish one after the other, at moments that the story sets: main of
shop/checkout breaks, pipelines of mobile/app get slow, and both recover. Moments are in seconds since the beginning.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from k2alert.rehearse.gitlab_standin_json import StandinPipeline
from k2alert.rehearse.history import Fate, Start, stretch

__all__ = ["STORY", "Beat", "end_at", "starts_of"]


_GREEN = Fate()
_RED = Fate("failed", "test_e2e")
_SLOW = Fate(slow=2.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A pipeline of the story: began so many minutes before it, ends so many seconds into it. `says` tells why."""

    path: str
    began: float
    ends: float
    title: str
    fate: Fate = _GREEN
    says: str

    def start(self, now: datetime) -> Start:
        """How the history has it, if `now` is when the story is made up."""
        at = now - timedelta(minutes=self.began)
        return Start(at, self.path, "main", "push", self.title, self.fate)


def _red(began: float, ends: float, title: str) -> Beat:
    return Beat(path="shop/checkout", began=began, ends=ends, title=title, fate=_RED, says="failed in test_e2e")


def _slow(began: float, ends: float, title: str) -> Beat:
    return Beat(path="mobile/app", began=began, ends=ends, title=title, fate=_SLOW, says="took 46 minutes, not 16")


def _quick(began: float, ends: float, title: str) -> Beat:
    return Beat(path="mobile/app", began=began, ends=ends, title=title, says="took 16 minutes again")


STORY: tuple[Beat, ...] = (
    _red(26.0, 4, "Merge: Upgrade the payment client to 4.0"),
    _red(25.2, 8, "Merge: Round vouchers down"),
    _red(24.6, 12, "Merge: Log the basket's size"),
    _slow(46.5, 24, "Merge: Move the build cache to the network disk"),
    _slow(46.1, 26, "Merge: Larger fonts on the sign-in screen"),
    _slow(45.8, 29, "Merge: Ask before the first push message"),
    _red(24.1, 33, "Merge: Test tax rules of Norway"),
    Beat(
        path="shop/checkout",
        began=23.4,
        ends=45,
        title="Merge: Back to payment client 3.9",
        says="is green",
    ),
    _quick(16.3, 54, "Merge: Give the build cache its own disk back"),
    _quick(16.0, 56, "Merge: Open deep links in offline mode"),
    _quick(15.8, 58, "Merge: Translate the sign-in screen"),
)


def starts_of(story: Iterable[Beat], *, now: datetime) -> dict[Beat, Start]:
    """Every beat as a start for `make_history`."""
    return {beat: beat.start(now) for beat in story}


def end_at(
    story: Iterable[Beat], pipelines: Mapping[Beat, StandinPipeline], *, begin: datetime, speed: float = 1.0
) -> dict[Beat, StandinPipeline]:
    """The pipelines of the story, made to end when it says."""
    return {beat: stretch(pipelines[beat], finished_at=begin + timedelta(seconds=beat.ends / speed)) for beat in story}
