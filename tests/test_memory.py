"""Memory follows the store: what is recorded here and elsewhere, and what is forgotten."""

import asyncio
from pathlib import Path

import pytest

from k2alert.measure.catalogue import METRICS
from k2alert.memory import Memory
from k2alert.model import Kind, RunState
from k2alert.record import StoreError
from tests.support.loading import load_text
from tests.support.looks import at, finished_run, job, ms, run
from tests.support.shared_store import Hub

RULES = "alert_rules: [{name: busy, condition: running_pipelines > 0, period: 1h, severity: info, message: x}]\n"
DAY = 24 * 60


async def test_what_retention_took_before_the_store_failed_is_forgotten_in_memory(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, RULES)
    assert loaded.config is not None, loaded.problems
    (rule,) = loaded.config.rules
    hub = Hub.at(tmp_path)
    store, waiting = hub.door(), asyncio.ensure_future(hub.doors[0].changed())
    hub.lead(0)
    await waiting
    memory = Memory(loaded.config, store, METRICS)
    await memory.fill(loaded.config)
    await memory.record(
        [run("1", seen=1, state=RunState.RUNNING), finished_run("2", 50 * DAY, jobs=(job(finished=2),))]
    )

    hub.doors[0].breaks_off = True
    for _ in range(2):  # a part is done each time: jobs, then runs
        assert memory.setting.board.label_sets(rule.selection, rule.window, ms(2), Kind.RUN)
        with pytest.raises(StoreError):
            await memory.prune(at(40 * DAY))

    assert memory.setting.board.label_sets(rule.selection, rule.window, ms(2), Kind.RUN) == []
    await hub.store.close()
