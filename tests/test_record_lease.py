"""Who leads of several replicas on one PostgreSQL, and that nobody else writes."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k2alert.model import HookEvent
from k2alert.record import NotLeader, Store, open_store
from k2alert.record.connection import Connection
from k2alert.record.lease import Holding
from k2alert.record.postgres import PostgresEngine
from k2alert.record.postgres_lease import MOST_IDLE, PostgresLease, now_awake_or_asleep
from k2alert.record.postgres_line import Server
from tests.support.looks import at, finished_run
from tests.support.postgres import PostgresServer

PATIENCE = 30  # seconds until a test is sure that it never comes


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_database()


@pytest.fixture
async def stores(url: str) -> AsyncIterator[tuple[Store, Store]]:
    """Two replicas."""
    both = open_store(url), open_store(url)
    yield both
    for store in both:
        await store.close()


async def say(postgres: PostgresServer, url: str, sql: str) -> list[str]:
    return await asyncio.to_thread(postgres.say, sql, url.rpartition("/")[2])


def at_work() -> float:
    return 0.0


@contextmanager
def replica(url: str, name: str, *rest: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.replica", url, name, *rest],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def hear(process: subprocess.Popen[str], word: str) -> str:
    """The next line that begins with a word."""
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        if line.startswith(word):
            return line.strip()
        said.append(line)
    raise AssertionError(f"it ended without a word of {word!r}: {said}")


async def leads(lease: object) -> None:
    async with asyncio.timeout(PATIENCE):
        await lease.changed()  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------- what is known of it


class Watch:
    """A clock in the test's hands, and what is known of a lease by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.holding = Holding(lambda: self.now)

    async def begin(self, epoch: int) -> None:
        self.holding.extend(epoch, self.now + 2.5)
        await self.holding.changed()


async def test_a_reign_is_in_force_once_it_was_told_and_ends_by_itself() -> None:
    watch = Watch()
    assert watch.holding.epoch == 0
    watch.holding.extend(7, 102.5)
    assert watch.holding.epoch == 0
    await watch.holding.changed()
    assert watch.holding.epoch == 7
    watch.now = 102.5
    assert watch.holding.epoch == 0
    assert watch.holding.reign == 7


async def test_whoever_waits_hears_that_a_reign_began_and_ended() -> None:
    watch = Watch()
    heard = asyncio.ensure_future(watch.holding.changed())
    await asyncio.sleep(0)
    watch.holding.look()
    await asyncio.sleep(0)
    assert not heard.done()
    watch.holding.extend(1, 102.5)
    await heard
    heard = asyncio.ensure_future(watch.holding.changed())
    await asyncio.sleep(0)
    watch.holding.extend(1, 103.0)
    await asyncio.sleep(0)
    assert not heard.done()
    watch.now = 103.0
    watch.holding.look()
    await heard
    assert watch.holding.epoch == 0


async def test_a_reign_that_was_lost_and_won_while_nobody_looked_is_told_as_lost_first() -> None:
    watch = Watch()
    await watch.begin(1)
    watch.now += 60
    watch.holding.lose()
    watch.holding.extend(3, watch.now + 2.5)
    assert watch.holding.epoch == 0
    await watch.holding.changed()
    assert watch.holding.epoch == 0
    await watch.holding.changed()
    assert watch.holding.epoch == 3


async def test_a_wait_that_is_broken_off_tells_nothing() -> None:
    watch = Watch()
    waiting = asyncio.ensure_future(watch.holding.changed())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await watch.begin(1)
    assert watch.holding.epoch == 1


async def test_a_reign_that_was_disowned_is_not_extended_by_what_was_on_its_way() -> None:
    watch = Watch()
    await watch.begin(1)
    watch.holding.disown(1)
    watch.holding.extend(1, 200.0)
    await watch.holding.changed()
    assert watch.holding.epoch == 0
    assert watch.holding.reign == 0
    await watch.begin(2)
    assert watch.holding.epoch == 2


# --------------------------------------------------------------------------------------------- one leads


async def test_one_leads_and_the_other_writes_nothing_that_only_a_leader_may(stores: tuple[Store, Store]) -> None:
    first, second = stores
    one = first.campaign("one", at_work)
    await leads(one)
    two = second.campaign("two", at_work)
    await first.save([finished_run("1", 1)])

    with pytest.raises(NotLeader, match="this replica does not lead"):
        await second.save([finished_run("2", 2)])
    with pytest.raises(NotLeader):
        await second.save_alerts([])
    with pytest.raises(NotLeader):
        await second.drop_log([("a", "b", "c")])

    assert len(await second.totals()) == 1
    assert (one.epoch, two.epoch) == (1, 0)
    async with asyncio.timeout(PATIENCE):
        while two.leader != "one":
            await asyncio.sleep(0.01)


async def test_anybody_accepts_webhooks_and_silences(stores: tuple[Store, Store]) -> None:
    first, second = stores
    await leads(first.campaign("one", at_work))
    second.campaign("two", at_work)
    event = HookEvent(
        id=0, source="gitlab", delivery="d1", project="k2/app", run="1", received_at=at(0), body={"id": 1}
    )

    assert await second.accept_hooks([event]) == [True]
    assert await first.accept_hooks([event]) == [False]
    await second.save_silences([])
    await second.ping()
    assert [event.delivery for event in await first.waiting_hooks(10)] == ["d1"]


async def test_who_gives_it_back_is_followed_at_once(stores: tuple[Store, Store]) -> None:
    first, second = stores
    one = first.campaign("one", at_work)
    await leads(one)
    two = second.campaign("two", at_work)
    await one.release()
    assert not one.holds()
    await leads(two)
    assert two.epoch == 2
    await second.save([finished_run("1", 1)])
    with pytest.raises(NotLeader):
        await first.save([finished_run("2", 2)])
    await one.release()


async def test_a_store_that_closes_gives_it_back(url: str, stores: tuple[Store, Store]) -> None:
    third = open_store(url)
    await leads(third.campaign("three", at_work))
    two = stores[0].campaign("two", at_work)
    await third.close()
    await leads(two)
    assert two.epoch == 2


async def test_a_late_epoch_writes_nothing_whatever_it_believes(
    postgres: PostgresServer, url: str, stores: tuple[Store, Store]
) -> None:
    store, idle = stores[0], [0.0]
    lease = store.campaign("one", lambda: idle[0])
    await leads(lease)
    idle[0] = MOST_IDLE + 1  # so it does not ask, and goes on believing
    await say(postgres, url, "UPDATE leases SET holder = 'other 1', epoch = epoch + 1")
    with pytest.raises(NotLeader):
        await store.save([finished_run("1", 1)])
    assert await store.totals() == []
    await leads(lease)
    assert not lease.holds()
    idle[0] = 0.0
    await leads(lease)
    assert lease.epoch == 3


async def test_an_ended_lease_of_ones_own_is_no_right_to_write(
    postgres: PostgresServer, url: str, stores: tuple[Store, Store]
) -> None:
    idle = [0.0]
    lease = stores[0].campaign("one", lambda: idle[0])
    await leads(lease)
    idle[0] = MOST_IDLE + 1
    await say(postgres, url, "UPDATE leases SET expires_at = 1")
    with pytest.raises(NotLeader):
        await stores[0].save([finished_run("1", 1)])
    await leads(lease)
    idle[0] = 0.0
    await leads(lease)
    assert lease.epoch == 2
    await stores[0].save([finished_run("1", 1)])


async def test_a_reign_that_was_disowned_by_mistake_is_given_back_and_another_begins(
    stores: tuple[Store, Store], url: str
) -> None:
    lease = PostgresLease(Server(url), "one", at_work)
    await leads(lease)
    lease.disown(1)
    await leads(lease)
    assert not lease.holds()
    await leads(lease)
    assert lease.epoch == 2
    await lease.release()


async def test_what_waits_for_its_turn_is_not_done_in_a_later_reign(url: str, stores: tuple[Store, Store]) -> None:
    engine = PostgresEngine(url)
    lease = engine.campaign("one", at_work)
    await leads(lease)
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(con: Connection) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    first = asyncio.ensure_future(engine.write(hold_up, by_all=True))
    await asyncio.to_thread(begun.wait, PATIENCE)
    late = asyncio.ensure_future(engine.write(hold_up))
    await asyncio.sleep(0)
    lease.disown(1)  # type: ignore[attr-defined]
    await leads(lease)
    await leads(lease)
    assert lease.epoch == 2
    go_on.set()
    await first
    with pytest.raises(NotLeader):
        await late
    assert lease.holds()
    await engine.close()


async def test_whose_event_loop_hangs_is_replaced(stores: tuple[Store, Store]) -> None:
    idle = [0.0]
    one = stores[0].campaign("one", lambda: idle[0])
    await leads(one)
    two = stores[1].campaign("two", at_work)
    idle[0] = MOST_IDLE + 1
    await leads(two)
    assert two.epoch == 2
    assert not one.holds()
    with pytest.raises(NotLeader):
        await stores[0].save([finished_run("1", 1)])


async def test_one_whose_loop_hangs_does_not_try(stores: tuple[Store, Store]) -> None:
    hanging = stores[0].campaign("one", lambda: MOST_IDLE + 1)
    await leads(stores[1].campaign("two", at_work))
    assert hanging.epoch == 0


async def test_an_end_far_ahead_is_one_from_before_the_database_was_set_back(
    postgres: PostgresServer, url: str, stores: tuple[Store, Store]
) -> None:
    hour = 3_600_000
    await say(
        postgres,
        url,
        "INSERT INTO leases (name, holder, epoch, expires_at) "
        f"VALUES ('leader', 'dead 1', 4, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {hour})",
    )
    lease = stores[0].campaign("one", at_work)
    await leads(lease)
    assert lease.epoch == 5


async def test_clocks_of_replicas_may_differ(url: str, stores: tuple[Store, Store]) -> None:
    early = PostgresLease(Server(url), "early", at_work, lambda: now_awake_or_asleep() - 86_400)
    await leads(early)
    late = PostgresLease(Server(url), "late", at_work, lambda: now_awake_or_asleep() + 86_400)
    async with asyncio.timeout(PATIENCE):
        while late.leader != "early":
            await asyncio.sleep(0.01)
    assert (early.epoch, late.epoch) == (1, 0)
    await early.release()
    await leads(late)
    assert late.epoch == 2
    await late.release()


async def test_a_database_that_restarts_has_a_leader_again(
    postgres: PostgresServer, url: str, stores: tuple[Store, Store]
) -> None:
    lease = stores[0].campaign("one", at_work)
    await leads(lease)
    await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
    await leads(lease)
    assert not lease.holds()
    await asyncio.to_thread(postgres.start)
    await leads(lease)
    assert lease.epoch == 1  # nobody else led
    await stores[0].save([finished_run("1", 1)])


async def test_a_lease_that_cannot_be_given_back_ends_quietly(postgres: PostgresServer, url: str) -> None:
    store = open_store(url)
    await leads(store.campaign("one", at_work))
    await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
    await store.close()
    await asyncio.to_thread(postgres.start)


# ---------------------------------------------------------------------------------------- processes that stop


async def test_one_that_is_killed_is_replaced(url: str, stores: tuple[Store, Store]) -> None:
    with replica(url, "child") as child:
        await asyncio.to_thread(hear, child, "saved 3")
        lease = stores[0].campaign("one", at_work)
        child.kill()
        await leads(lease)
    assert lease.epoch == 2
    await stores[0].save([finished_run("1", 1)])


async def test_one_that_is_stopped_is_replaced_and_writes_nothing_when_it_wakes(
    url: str, stores: tuple[Store, Store]
) -> None:
    with replica(url, "child") as child:
        assert await asyncio.to_thread(hear, child, "leads") == "leads 1"
        await asyncio.to_thread(hear, child, "saved 3")
        lease = stores[0].campaign("one", at_work)
        child.send_signal(signal.SIGSTOP)
        await leads(lease)
        before = sum(total.runs for total in await stores[0].totals())
        child.send_signal(signal.SIGCONT)
        await asyncio.to_thread(hear, child, "follows")
        await asyncio.to_thread(hear, child, "refused")
        assert sum(total.runs for total in await stores[0].totals()) == before
        await lease.release()
        assert await asyncio.to_thread(hear, child, "leads") == "leads 3"
        assert child.stdin is not None
        child.stdin.close()
        await asyncio.to_thread(hear, child, "released")


async def test_one_that_is_stopped_within_a_write_does_not_keep_others_from_leading(
    postgres: PostgresServer, url: str, stores: tuple[Store, Store]
) -> None:
    with replica(url, "child", "within") as child:
        await asyncio.to_thread(hear, child, "within")
        lease = stores[0].campaign("one", at_work)
        await leads(lease)
        assert lease.epoch == 2
        await stores[0].save([finished_run("1", 1)])
        child.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(hear, child, "refused") == "refused StoreBusy"
    assert await say(postgres, url, "SELECT count(*) FROM notes WHERE name = 'half'") == ["0"]
