"""A proxy that cuts a connection at the worst moment: just before, or just after, a request has arrived."""

import asyncio
from contextlib import suppress
from types import TracebackType

__all__ = ["CuttingProxy"]


class CuttingProxy:
    """Passes bytes on to a server on this machine, until `cut_next()`: then the first request that holds a word is the
    end of its connection. `arrives`: the server still hears it, and answers into the void.
    """

    def __init__(self, port: int, word: bytes, *, arrives: bool) -> None:
        self._server_port = port
        self._word = word
        self._arrives = arrives
        self._armed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0

    def cut_next(self) -> None:
        """From now on."""
        self._armed = True

    async def __aenter__(self) -> "CuttingProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = [
            asyncio.ensure_future(self._pass_on(reader, forth, watch=True)),
            asyncio.ensure_future(self._pass_on(back, writer)),
        ]
        self._tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        writer.transport.abort()
        forth.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watch: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                cut = watch and self._armed and self._word in data
                if not cut or self._arrives:
                    writer.write(data)
                    await writer.drain()
                if cut:
                    self._armed = False
                    self.cuts += 1
                    return
