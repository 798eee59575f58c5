"""The evidence behind alerts: alerts of a round come in, what the store knows of the rows behind them goes out."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from k2alert.cycle import Scene
from k2alert.model import Alert, Evidence, Rule
from k2alert.recall import behind
from k2alert.record.store import Reader
from k2alert.telling import evidence_of, wanted

__all__ = ["grounds_of"]


async def grounds_of(
    scene: Scene, store: Reader, alerts: Iterable[Alert], rules: Mapping[str, Rule], *, now: datetime
) -> dict[str, Evidence]:
    """The evidence of those that fire, by `Alert.key`, as it is at this time. Raises `StoreError`."""
    by_key = {alert.key: alert for alert in alerts}
    refs = wanted(scene, by_key.values(), rules, now=now)
    known = await behind(store, refs.values())
    projects = {(project.source, project.path): project for project in scene.projects}
    forges = {source.name: source.type for source in scene.config.sources}
    found: dict[str, Evidence] = {}
    for key, ref in refs.items():
        identity = by_key[key].identity
        source = identity.get("source", "")
        project = projects.get((source, identity.get("project", "")))
        found[key] = evidence_of(ref, known, project, forges.get(source, ""))
    return found
