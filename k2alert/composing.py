"""The words of one message, looked for beside the rounds: what is due and the last round come in, a message goes out.

A message about thousands of alerts takes a while, here and there; others work in between.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from k2alert.cycle import Scene
from k2alert.grounds import grounds_of
from k2alert.loops import beside, unhurried
from k2alert.model import Evidence, Rule
from k2alert.notify import INTEGRATIONS
from k2alert.notify.dues import Due, Kind
from k2alert.notify.message import Message, compose, shown
from k2alert.record.store import Reader
from k2alert.telling import items_of

__all__ = ["composed_of"]

_AT_A_TIME = 100  # alerts whose evidence is looked up before others may work again


async def composed_of(
    due: Due,
    scene: Scene,
    rules: Mapping[str, Rule],
    store: Reader,
    *,
    now: datetime,
    monotonic: Callable[[], float],
) -> Message:
    """The message that is due, from the present state and the evidence that the store has. Raises `StoreError`."""
    most = INTEGRATIONS[due.integration.kind].shows
    alerts = await beside(len(due.parts), lambda: shown(due, most))
    ended = due.kind is Kind.DIGEST  # the only message that tells of what is over for the first time
    evidence: dict[str, Evidence] = {}
    for first in range(0, len(alerts), _AT_A_TIME):
        some = alerts[first : first + _AT_A_TIME]
        evidence |= await grounds_of(scene, store, some, rules, now=now, ended=ended)
    items = await unhurried(items_of(scene, due, alerts, rules, evidence, now=now), monotonic=monotonic)
    url = scene.config.web.external_url
    return await beside(len(due.parts), lambda: compose(due, items, now=now, external_url=url))
