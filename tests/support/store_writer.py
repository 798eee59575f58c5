"""A process that saves runs one by one and says each number when it is saved, until it is killed.

Run as `python -m tests.support.store_writer URL [LIMIT]`: LIMIT is the size in bytes that no file may exceed. A
`StoreError` is printed and ends it with 1.
"""

import asyncio
import resource
import sys
from itertools import count

from k2alert.record import StoreError, open_store
from tests.support.looks import finished_run


async def write(url: str) -> None:
    store = open_store(url)
    for number in count():
        await store.save([finished_run(str(number), number / 100)])
        print(number, flush=True)


def main(url: str, *limits: str) -> int:
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        asyncio.run(write(url))
    except StoreError as error:
        print(error, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
