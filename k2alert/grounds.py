"""The evidence behind alerts: alerts of a round come in, what the store knows of the rows behind them goes out."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from k2alert.cycle import Scene
from k2alert.model import Alert, AlertState, Evidence, Rule
from k2alert.recall import behind
from k2alert.record.store import Reader
from k2alert.telling import evidence_of, wanted
from k2alert.trend import owner_of, with_past

__all__ = ["grounds_of"]


async def grounds_of(
    scene: Scene,
    store: Reader,
    alerts: Iterable[Alert],
    rules: Mapping[str, Rule],
    *,
    now: datetime,
    ended: bool = False,
) -> dict[str, Evidence]:
    """The evidence of those that fire, by `Alert.key`, as it is at this time. Raises `StoreError`.

    With `ended` also what was behind those that ended, when they began to fire.
    """
    by_key = {alert.key: alert for alert in alerts}
    refs = wanted(scene, by_key.values(), rules, now=now, ended=ended)
    known = await behind(store, refs.values())
    projects = {(project.source, project.path): project for project in scene.projects}
    forges = {source.name: source.type for source in scene.config.sources}
    found: dict[str, Evidence] = {}
    for key, ref in refs.items():
        alert = by_key[key]
        source = alert.identity.get("source", "")
        project = projects.get((source, alert.identity.get("project", "")))
        evidence = evidence_of(ref, known, project, forges.get(source, ""))
        found[key] = _with_past(scene, alert, rules[alert.rule], evidence, now)
    return found


def _with_past(scene: Scene, alert: Alert, rule: Rule, evidence: Evidence, now: datetime) -> Evidence:
    """The evidence with the value before and the owner; of what is over only what failed, not how many of how many."""
    if alert.state is not AlertState.FIRING:
        return replace(evidence, samples=0, owner=owner_of(alert.labels))
    return with_past(scene, rule, alert.identity, alert.labels, evidence, now=now)
