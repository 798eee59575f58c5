"""A real Alertmanager, where Debian's is installed."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PROGRAM = shutil.which("prometheus-alertmanager")
needs_alertmanager = pytest.mark.skipif(PROGRAM is None, reason="prometheus-alertmanager is not installed here")

_SILENT = "route: {receiver: none}\nreceivers: [{name: none}]\n"


@asynccontextmanager
async def real_alertmanager(folder: Path, config: str = _SILENT) -> AsyncIterator[str]:
    """One on loopback that is ready, with this configuration; its address."""
    file = folder / "real-alertmanager.yml"
    file.write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert PROGRAM is not None
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *(f"--config.file={file}", f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="),
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _until_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def alerts_of(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    """The alerts that it holds."""
    async with session.get(f"{url}/api/v2/alerts") as answer:
        found: list[dict[str, Any]] = await answer.json()
        return found


async def _until_ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            try:
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    pytest.fail("the Alertmanager did not start")
