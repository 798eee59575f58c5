"""The evidence behind alerts, asked of a store."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from k2alert.grounds import grounds_of
from k2alert.model import AlertState, EndReason
from k2alert.record import open_store
from tests.support.bench import MINUTE, T0, Bench
from tests.support.explaining import FIRING, rule_text


async def test_what_fires_has_the_value_before_and_the_owner_and_what_is_over_only_if_asked_for(
    tmp_path: Path, store_url: str
) -> None:
    rules = rule_text("failed_pipelines >= 1", period="10m")
    scene = Bench(tmp_path, rules, f"pay/api main {'-' * 3}{'+' * 7}{'-' * 2}{'+' * 8}").scene
    (rule,) = scene.config.rules
    labels = FIRING.labels.merged({"team": "payments"})
    fires = replace(FIRING, labels=labels)
    over = replace(fires, state=AlertState.ENDED, reason=EndReason.RECOVERED, fired_at=T0 - 15 * MINUTE, ended_at=T0)
    store = open_store(store_url)
    try:
        now = T0 - MINUTE + timedelta(seconds=30)
        found = [
            await grounds_of(scene, store, [one], {rule.name: rule}, now=now, ended=ended)
            for one, ended in ((fires, False), (over, False), (over, True))
        ]
    finally:
        await store.close()
    (first,), (last,) = found[0].values(), found[2].values()
    assert (first.faults, first.samples, first.before, first.owner) == (2, 10, 3, "payments")
    assert found[1] == {}
    assert (last.faults, last.samples, last.before, last.owner) == (3, 0, None, "payments")
