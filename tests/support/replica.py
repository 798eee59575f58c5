"""A replica as a process of its own, which a test may stop in any way.

Run as `python -m tests.support.replica URL NAME [WHERE]`: tries to lead, says `leads EPOCH` when it does and `follows`
when it does no more, and while it leads saves one run after the other and says `saved N`. A write that is refused is
`refused`. It says `released` and ends when its input does. WHERE `within`: it stops itself in the middle of its first
write, having said `within`.
"""

import asyncio
import os
import signal
import sys
import time

from k2alert.record import Lease, NotLeader, StoreError, open_store
from k2alert.record.connection import Connection
from k2alert.record.postgres import PostgresEngine
from k2alert.record.statements import QUERIES
from tests.support.looks import finished_run


def say(what: str) -> None:
    print(what, flush=True)


def stop_within(con: Connection) -> None:
    con.execute(QUERIES["put_note"], ("half", 1))
    say("within")
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)  # it takes a moment until every thread has stopped


async def tell(lease: Lease) -> None:
    while True:
        await lease.changed()
        say(f"leads {lease.epoch}" if lease.holds() else "follows")


async def main(url: str, name: str, where: str = "") -> None:
    if where == "within":
        engine = PostgresEngine(url)
        await engine.campaign(name, lambda: 0.0).changed()
        try:
            await engine.write(stop_within)
            say("done")
        except StoreError as error:
            say(f"refused {type(error).__name__}")
        await engine.close()
        return
    store = open_store(url)
    lease = store.campaign(name, lambda: 0.0)
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    changes = asyncio.ensure_future(tell(lease))
    number = 0
    while not ended.done():
        try:
            await store.save([finished_run(f"{name}{number}", 1 + number / 100)])
            say(f"saved {number}")
            number += 1
        except NotLeader:
            say("refused")
        except StoreError as error:
            say(f"failed {type(error).__name__}")
        await asyncio.sleep(0.05)
    changes.cancel()
    await lease.release()
    say("released")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
