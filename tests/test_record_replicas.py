"""What a store promises to several replicas, whatever the engine; where it has but one process, that one leads."""

import asyncio

from k2alert.model import Kind, Result
from k2alert.record import Store
from tests.support.looks import finished_run
from tests.support.stores import entries_of


async def test_a_frozen_store_stays_as_it_was(store: Store) -> None:
    await store.save([finished_run("1", 10)])
    async with store.frozen() as moment:
        seen = [entry async for batch in moment.entries(Kind.RUN) for entry in batch]
        await store.save([finished_run("2", 20, Result.FAILURE)])
        assert [entry async for batch in moment.entries(Kind.RUN) for entry in batch] == seen
        assert len(await moment.totals()) == 1
        assert len(await store.totals()) == 2
    assert len(await entries_of(store)) == 2


async def test_the_only_replica_leads_until_it_gives_that_up(store: Store) -> None:
    lease = store.campaign("host:1", lambda: 0.0)
    await lease.changed()
    assert lease.holds()
    assert lease.leader == "host:1"
    assert lease.epoch == 1
    waiting = asyncio.ensure_future(lease.changed())
    await lease.release()
    await waiting
    assert not lease.holds()
    assert lease.epoch == 0
    assert lease.leader == ""
