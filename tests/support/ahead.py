"""`k2alert run` on a machine whose clock is wrong: python -m tests.support.ahead SECONDS --config FILE …"""

import argparse
import asyncio
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from k2alert.app import Options, serve, system_time
from k2alert.logs import Secrets, set_up_logging


async def run(options: Options) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(options, stop)


def main() -> None:
    """The clock is so many seconds ahead of the machine's; behind, where they are negative."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--listen")
    parser.add_argument("--log-format")
    asked = parser.parse_args()
    right, ahead, secrets = system_time(), timedelta(seconds=asked.seconds), Secrets()
    set_up_logging("json", "info", secrets)
    wrong = replace(right, now=lambda: right.now() + ahead)
    asyncio.run(run(Options(config=asked.config, environ=os.environ, listen=asked.listen, time=wrong, secrets=secrets)))


if __name__ == "__main__":
    main()
