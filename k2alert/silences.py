"""Silences kept: made, ended and forgotten, in the store first and then in memory; and why alerts are not heard now.

Drafts come in from people and programs; silences go out to whoever plans a round or answers a request.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from k2alert.config.model import Config
from k2alert.expose.view import Quiet
from k2alert.labels import Matcher
from k2alert.model import Alert, AlertState, Hush, Refusal, Silence, SilenceDraft, SilenceState
from k2alert.notify.hush import alert_groups, all_hushes
from k2alert.record.store import Store, StoreError

__all__ = ["KEEP_EXPIRED", "Silences", "decide"]

_LOG = logging.getLogger(__name__)

KEEP_EXPIRED = timedelta(hours=120)
"""So long an expired silence is still shown, as in Alertmanager."""

_MOST = 10_000  # active and pending ones: more is a program gone wrong
_ALWAYS_THERE = ("alertname", "severity", "source")
_NOBODYS = "\ue000"  # a value that no label has


class Silences:
    """All silences. `alerts` are those of now by `Alert.key`; `new_id` makes an id that no other silence has."""

    def __init__(
        self,
        store: Store,
        *,
        alerts: Callable[[], Mapping[str, Alert]],
        config: Callable[[], Config],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._alerts = alerts
        self._config = config
        self._now = now
        self._new_id = new_id
        self._known: dict[str, Silence] = {}
        self._kept = 0  # how often something was

    async def load(self) -> None:
        """Takes up the silences where the store has them."""
        kept = -1
        while kept != self._kept:  # what is kept meanwhile may not be among them
            kept = self._kept
            found = await self._store.silences()
        self._known = {silence.id: silence for silence in found}

    def all(self) -> tuple[Silence, ...]:
        """Every silence, expired ones too until they are forgotten."""
        return tuple(self._known.values())

    def quiet(self) -> Quiet:
        """What HTTP may ask and do."""
        return Quiet(
            started_at=self._now(),
            now=self._now,
            external_url=lambda: self._config().web.external_url,
            silences=self.all,
            hushes=self._hushes,
            groups=lambda: alert_groups(self._alerts().values(), self._config().route, now=self._now()),
            receivers=lambda: tuple(self._config().receivers),
            save=self.save,
            expire=self.expire,
        )

    def _hushes(self) -> dict[str, Hush]:
        config = self._config()
        return all_hushes(self._alerts(), self.all(), config.inhibitions, config.route, now=self._now())

    async def save(self, draft: SilenceDraft) -> Silence | Refusal:
        """Makes a silence, or changes the one with the draft's id, as Alertmanager does."""
        down = await self._catch_up()
        if down is not None:
            return down
        now = self._now()
        made = decide(draft, self._known, self._alerts(), now=now, new_id=self._new_id)
        if isinstance(made, Refusal):
            return made
        failed = await self._keep(made)
        if failed is not None:
            return failed
        saved = made[-1]
        _LOG.info("silence %s is saved", saved.id, extra={"matchers": [str(matcher) for matcher in saved.matchers]})
        return saved

    async def expire(self, id: str) -> Silence | Refusal:
        """Ends a silence now; one that is over stays as it is."""
        down = await self._catch_up()
        if down is not None:
            return down
        silence, now = self._known.get(id), self._now()
        if silence is None:
            return Refusal(404, f"silence {id} not found")
        over = _ended(silence, now)
        failed = await self._keep([over]) if over is not silence else None
        if failed is None:
            _LOG.info("silence %s is over", id)
        return failed or over

    async def tidy(self, *, now: datetime) -> None:
        """Ends those whose incident is over, and forgets what expired long ago. Raises `StoreError`."""
        alerts = self._alerts()
        over = [
            _ended(silence, now)
            for silence in self.all()
            if silence.state(now) is SilenceState.ACTIVE and not silence.outlives(alerts)
        ]
        old = [silence.id for silence in self.all() if now - silence.ends_at > KEEP_EXPIRED]
        if over or old:
            await self._store.save_silences(over, dropped=old)
            self._kept += 1
            self._known.update({silence.id: silence for silence in over})
            for id in old:
                self._known.pop(id, None)

    async def _catch_up(self) -> Refusal | None:
        """Takes up what other replicas have kept this moment, so that nothing is decided on what was."""
        try:
            await self.load()
        except StoreError as error:
            return Refusal(503, f"the store is down: {error}")
        return None

    async def _keep(self, silences: Sequence[Silence]) -> Refusal | None:
        try:
            await self._store.save_silences(silences)
        except StoreError as error:
            return Refusal(503, f"the store is down: {error}")
        self._kept += 1
        self._known.update({silence.id: silence for silence in silences})
        return None


# ------------------------------------------------------------------------------------------- deciding


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a draft is decided on."""

    draft: SilenceDraft
    alerts: Mapping[str, Alert]
    now: datetime

    def wrong(self) -> str:
        """Why it cannot be, "" where it can."""
        draft = self.draft
        if not draft.matchers:
            return "a silence needs at least one matcher"
        if all(map(_matches_anything, draft.matchers)):
            return "it would silence everything: at least one matcher must not match the empty string or every value"
        if draft.ends_at <= self.now:
            return "end time can't be in the past"
        if draft.ends_at <= draft.starts_at:
            return "end time must be after start time"
        if draft.until_resolved and not self.waits_for():
            return "nothing fires that it matches, so there is no incident to last as long as"
        return ""

    def waits_for(self) -> dict[str, datetime]:
        """The alerts that fire now, with the instants at which they began."""
        return {
            key: alert.fired_at
            for key, alert in self.alerts.items()
            if alert.state is AlertState.FIRING
            and alert.fired_at is not None
            and all(matcher.matches(alert.labels) for matcher in self.draft.matchers)
        }

    def silence(self, id: str, starts_at: datetime, until: Mapping[str, datetime]) -> Silence:
        draft = self.draft
        return Silence(
            id=id,
            matchers=draft.matchers,
            starts_at=starts_at,
            ends_at=draft.ends_at,
            updated_at=self.now,
            author=draft.author,
            comment=draft.comment,
            until_resolved=until,
        )


def decide(
    draft: SilenceDraft,
    known: Mapping[str, Silence],
    alerts: Mapping[str, Alert],
    *,
    now: datetime,
    new_id: Callable[[], str],
) -> list[Silence] | Refusal:
    """What becomes of a draft: the silences to keep, the new or changed one last; or why not.

    One with other matchers, or that began and shall begin at another time, or that is over, is not the same any more:
    it ends, and a new one begins.
    """
    before = known.get(draft.id)
    if draft.id and before is None:
        return Refusal(404, f"silence {draft.id} not found")
    desk = _Desk(draft, alerts, now)
    wrong = desk.wrong()
    if wrong:
        return Refusal(400, f"invalid silence: {wrong}")
    if before is None and sum(one.state(now) is not SilenceState.EXPIRED for one in known.values()) >= _MOST:
        return Refusal(400, f"there are {_MOST} silences already")
    if before is not None and _may_change(before, draft, now):
        until = before.until_resolved or (desk.waits_for() if draft.until_resolved else {})
        return [desk.silence(before.id, draft.starts_at, until)]
    ended = [_ended(before, now)] if before is not None else []
    fresh = desk.silence(new_id(), max(draft.starts_at, now), desk.waits_for() if draft.until_resolved else {})
    return [*ended, fresh]


def _may_change(before: Silence, draft: SilenceDraft, now: datetime) -> bool:
    if before.matchers != draft.matchers:
        return False
    state = before.state(now)
    if state is SilenceState.ACTIVE:
        return draft.starts_at == before.starts_at
    return state is SilenceState.PENDING and draft.starts_at >= now


def _ended(silence: Silence, now: datetime) -> Silence:
    """The silence, over; one that had not begun never began."""
    if silence.state(now) is SilenceState.EXPIRED:
        return silence
    return replace(silence, starts_at=min(silence.starts_at, now), ends_at=now, updated_at=now)


def _matches_anything(matcher: Matcher) -> bool:
    """Whether it leaves out nothing: what lacks the label, or, where every alert has it, any value."""
    return matcher.matches_value("") or (matcher.name in _ALWAYS_THERE and matcher.matches_value(_NOBODYS))
