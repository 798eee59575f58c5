"""A stand-in mail server: takes every mail over plain SMTP (RFC 5321) on loopback, and delivers it to nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from k2alert.rehearse.loopback import LOOPBACK

__all__ = ["serve_mail"]

_ANSWERS = {
    b"EHLO": b"250-stand-in\r\n250 8BITMIME",
    b"HELO": b"250 stand-in",
    b"MAIL": b"250 OK",
    b"RCPT": b"250 OK",
    b"RSET": b"250 OK",
    b"NOOP": b"250 OK",
    b"DATA": b"354 go ahead, end with a dot",
    b"QUIT": b"221 goodbye",
}


@asynccontextmanager
async def serve_mail(hear: Callable[[EmailMessage], None]) -> AsyncIterator[str]:
    """The server's address (host:port) while it runs; `hear` is given every mail."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _converse(reader, writer, hear)
        finally:
            writer.close()

    async with await asyncio.start_server(talk, LOOPBACK, 0) as server:
        yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[EmailMessage], None]
) -> None:
    verb, answer = b"", b"220 stand-in"
    while True:
        writer.write(answer + b"\r\n")
        await writer.drain()
        if verb == b"QUIT":
            return
        if verb == b"DATA" and answer.startswith(b"354"):
            hear(message_from_bytes(await _read_content(reader), policy=policy.default))
            verb, answer = b"", b"250 OK"
            continue
        line = await reader.readline()
        if not line:
            return
        verb = line[:4].upper()
        answer = _ANSWERS.get(verb, b"502 not here")


async def _read_content(reader: asyncio.StreamReader) -> bytes:
    """Lines up to a lone dot; a dot at the beginning of a line was doubled (RFC 5321, 4.5.2)."""
    lines = []
    while (line := await reader.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)
