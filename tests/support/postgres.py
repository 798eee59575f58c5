"""A real PostgreSQL on this machine: a server of its own in a temporary folder, ended by its process id."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

__all__ = ["PostgresServer", "binaries"]

PASSWORD = "correct horse"  # of a server that ends with the test
_MOST_DATABASES = 10  # of 8 MB each; no test has that many
_HASTY = {
    "fsync": "off",  # nothing here outlives the machine
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
}


def binaries() -> Path | None:
    """Where the server's programs are, of the newest version installed; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


class PostgresServer:
    """A server with a superuser `k2` and as many databases as are asked for."""

    def __init__(
        self, programs: Path, settings: Mapping[str, str] = _HASTY, files: Mapping[str, bytes] | None = None
    ) -> None:
        self._settings = {"listen_addresses": "127.0.0.1", **settings}
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="k2pg"))  # short: a socket's path may have 107 bytes
        self._names = count(1)
        self._made: deque[str] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        (self._folder / "password").write_text(PASSWORD)
        (self._folder / "password").chmod(0o644)
        self._run(
            *("initdb", "--no-sync", "-D", self._data, "-U", "k2", "-A", "scram-sha-256"),
            *("--pwfile", self._folder / "password", "-E", "UTF8", "--locale=C.UTF-8"),
        )
        for file, content in (files or {}).items():
            (self._data / file).write_bytes(content)
            (self._data / file).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(self._data / file, "postgres", "postgres")
        self.start()

    @property
    def pid(self) -> int | None:
        """The process that began all others of the server, None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Starts it unless it runs, and waits until it answers."""
        if self._process is not None:
            return
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._as_user("postgres", "-D", self._data, "-p", self.port, "-k", self._folder, *settings),
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        for _ in range(600):
            if self._process.poll() is not None:
                break
            if subprocess.run(self._as_user("pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port)).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError((self._folder / "log").read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it: SIGINT ends all sessions first, SIGQUIT does so at once."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Ends it for good."""
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str, password: str = PASSWORD) -> str:
        """The URL of a database."""
        return f"postgresql://k2:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def make_database(self) -> str:
        """The URL of a new, empty database; its texts sort as people do, not as bytes. Old ones go, to save room."""
        name = f"k2_{next(self._names)}"
        self.say(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
        self._made.append(name)
        while len(self._made) > _MOST_DATABASES:
            self.say(f"DROP DATABASE {self._made.popleft()} WITH (FORCE)")
        return self.url(name)

    def say(self, sql: str, database: str = "postgres") -> list[str]:
        """What a statement finds, as psql shows it."""
        told = subprocess.run(
            [*self._as_user("psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql)],
            check=True,
            capture_output=True,
            text=True,
            cwd=self._folder,
        )
        return told.stdout.splitlines()

    def _run(self, *command: object) -> None:
        subprocess.run(self._as_user(*command), check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def _as_user(self, program: object, *rest: object) -> Sequence[str]:
        who = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        return [*who, str(self._programs / str(program)), *map(str, rest)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
