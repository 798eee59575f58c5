"""A peer's process on loopback: started on a free port, asked, and what it has used. Not a benchmark itself."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

__all__ = ["Peer", "free_port", "running"]


class Peer:
    """A started server on a port of loopback, and what it has used."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self._port = port
        self._proc = Path("/proc", str(process.pid))

    def wait_until_ready(self, path: str) -> None:
        """Returns when the path is answered with 200."""
        while True:
            if self._process.poll() is not None:
                raise SystemExit(f"{self._process.args!r} ended with {self._process.returncode}")
            try:
                if self.request("GET", path)[0] == 200:
                    return
            except ConnectionRefusedError:
                pass
            time.sleep(0.1)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=300)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def cpu(self) -> float:
        """CPU milliseconds that it has used so far."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB resident, at the most so far."""
        status = (self._proc / "status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def running(command: Sequence[str], port: int, ready: str) -> Iterator[Peer]:
    """Runs a server that listens on this port until the block ends; it is ready once that path is answered with 200."""
    with subprocess.Popen(list(command)) as process:
        try:
            peer = Peer(process, port)
            peer.wait_until_ready(ready)
            yield peer
        finally:
            process.terminate()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
