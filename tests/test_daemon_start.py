"""How the daemon starts, and how it does not."""

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from k2alert.cli import main
from tests.support.daemon import Clock, daemon, until_a_round_is_over

SILENT = "sources: []\nstore: sqlite:///{folder}/k2alert.db\nevaluation_interval: 100ms\n"


def write(folder: Path, text: str = SILENT) -> Path:
    config = folder / "k2alert.yml"
    config.write_text(text.format(folder=folder))
    return config


async def test_a_store_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    config = write(tmp_path)
    async with daemon(config, Clock()):
        pass  # makes the store
    other = sqlite3.connect(tmp_path / "k2alert.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    async def run() -> str:
        async with daemon(config, Clock()) as running:
            while "not ready" in (answer := await running.text("/-/ready")):
                await asyncio.sleep(0.02)
            return answer

    waiting = asyncio.create_task(run())
    done, _ = await asyncio.wait({waiting}, timeout=6)  # longer than SQLite itself waits for a lock
    assert not done
    other.execute("ROLLBACK")
    other.close()

    assert await waiting == "k2alert is ready.\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: sqlite:////nowhere/at/all.db\n", "the folder /nowhere/at does not exist"),
        ("web: {{listen: 256.0.0.1:1}}\nstore: sqlite:///{folder}/x.db\n", "cannot listen on 256.0.0.1:1"),
        ("store: sqlite:///{folder}\n", "store {folder}"),
        ("retention: x\n", "1:12: retention: not a duration"),
        ("notifications: {{slack: {{webhook_url: $NOPE_X, channel: a}}}}\n", "$NOPE_X is not set"),
    ],
    ids=["no folder", "no address", "a folder", "a bad value", "an unset variable"],
)
def test_what_cannot_start_says_why_in_one_line_and_exits_with_1(tmp_path: Path, text: str, said: str) -> None:
    result = CliRunner().invoke(main, ["run", "--config", str(write(tmp_path, text))])

    assert result.exit_code == 1
    assert said.format(folder=tmp_path) in result.output
    assert "Traceback" not in result.output
    assert "warning: $NOPE_X" not in result.output


# The command, which says `here` when it begins to import the daemon.
HERE = """
import sys
import threading
import k2alert.cli.run as run

class Here:
    def find_spec(self, name, *_):
        if name == "k2alert.app":
            print("here", flush=True)

sys.meta_path.insert(0, Here())
run.command(sys.argv[1:])
"""


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_0_however_early(tmp_path: Path, name: signal.Signals) -> None:
    """The signal comes as soon as the command has begun: the daemon itself is not there yet."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HERE, "--config", str(write(tmp_path)), "--listen", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"here\n"
    os.kill(process.pid, name)
    _, errors = await process.communicate()

    assert (process.returncode, errors.count(b"Traceback")) == (0, 0)


async def test_rounds_go_on_while_many_hosts_are_looked_up_in_vain(tmp_path: Path) -> None:
    found = threading.Event()  # the system looks a name up in a thread, for minutes where no name server answers
    async with daemon(write(tmp_path), Clock()) as running:
        await until_a_round_is_over(running)
        looking = [asyncio.create_task(asyncio.to_thread(found.wait)) for _ in range(32)]
        try:
            await until_a_round_is_over(running)
        finally:
            found.set()
            await asyncio.gather(*looking)
