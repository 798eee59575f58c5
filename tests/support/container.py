"""The image, built by `scripts/image`, and a process in it as a container runs it, without an engine.

The process is the first of its own PID namespace, nobody by its user, in a root that cannot be written to and has no
shell. Its network is the machine's, so that stand-ins on loopback are reached.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NEEDED = ("buildah", "debootstrap", "apt-get", "unshare", "nsenter", "setpriv")


def missing() -> list[str]:
    """What is not here of what all this needs: programs, or rights that containers of CI seldom have."""
    found = [name for name in NEEDED if shutil.which(name) is None]
    try:
        subprocess.run(("unshare", "--mount", "--net", "--pid", "--fork", "true"), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        found.append("the right to make namespaces")
    return found if os.geteuid() == 0 else [*found, "root"]


# What an engine does before the process begins. $1 is the root, $2 the user, $3 the group, $4 the number of mounts;
# then each with what is mounted, where, and ro or rw; the rest is the command.
_CONTAIN = """
root=$1 uid=$2 gid=$3 mounts=$4; shift 4
mount --bind "$root" "$root"
mount --bind /dev "$root/dev"; mount -t proc proc "$root/proc"
for ((i = 0; i < mounts; i++)); do
    place=$root$2
    if [ -d "$1" ]; then mkdir -p "$place"; else mkdir -p "${place%/*}"; : >>"$place"; fi
    mount --bind "$1" "$place"; mount -o "remount,bind,$3" "$place"
    shift 3
done
for shell in "$root"/usr/bin/{bash,dash}; do mount --bind /dev/null "$shell"; done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs unshare --root "$root" --wd "$WORKDIR" --setgid "$gid" --setuid "$uid" -- "$@"
"""


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, where the process sees it."""

    source: Path
    place: str
    read_only: bool = True


def buildah(folder: Path, *words: str) -> str:
    """What buildah says about the storage in a folder."""
    places = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "vfs")
    return subprocess.run(("buildah", *places, *words), check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Image:
    """A built image: where it is unpacked, and its configuration as engines read it."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environ(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["Env"])

    @property
    def health(self) -> list[str]:
        """The command of its HEALTHCHECK."""
        kind, *words = self.config["Healthcheck"]["Test"]
        assert kind == "CMD", "a health check that needs a shell"
        return words


def build(folder: Path) -> Image:
    """Builds it with `scripts/image`, from nothing: a minute or two."""
    built = subprocess.run(("scripts/image", str(folder)), cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    config = json.loads(buildah(folder, "inspect", "--type", "image", "localhost/k2alert"))["Docker"]["config"]
    return Image(Path(buildah(folder, "mount", buildah(folder, "from", "localhost/k2alert"))), config)


@dataclass(frozen=True)
class Container:
    """A running one. `pid` is the process's number outside of it."""

    image: Image
    environ: Mapping[str, str]
    outer: asyncio.subprocess.Process
    pid: int

    async def healthy(self) -> bool:
        """What the image's own HEALTHCHECK says, run inside."""
        inside = ("nsenter", "-t", str(self.pid), "-m", "-p", "-r", "-S", "65534", "-G", "65534", "--")
        asked = await asyncio.create_subprocess_exec(
            *inside, *self.image.health, env=self.environ, stderr=subprocess.DEVNULL
        )
        return await asked.wait() == 0

    def status(self, name: str) -> str:
        """A line of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(name + ":"))

    def mount_options(self, place: str) -> list[str]:
        """How a place is mounted, as the process sees it."""
        lines = [line.split() for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]
        return next(line[5] for line in lines if line[4] == place).split(",")

    async def stop(self, name: signal.Signals) -> int:
        """Sends the signal; the exit code."""
        os.kill(self.pid, name)
        return await self.outer.wait()


@asynccontextmanager
async def container(
    image: Image,
    mounts: Sequence[Mount],
    *,
    log: Path,
    environ: Mapping[str, str] | None = None,
    args: Sequence[str] | None = None,
) -> AsyncIterator[Container]:
    """The image's own command, or its entry point with other `args`; what may be written to is its user's."""
    uid, gid = image.config["User"].split(":")
    environ = {**image.environ, **(environ or {})}
    places = []
    for mount in mounts:
        if not mount.read_only:
            os.chown(mount.source, int(uid), int(gid))
        places += [str(mount.source), mount.place, "ro" if mount.read_only else "rw"]
    command = (*image.config["Entrypoint"], *(image.config["Cmd"] if args is None else args))
    path = environ["PATH"] + ":" + os.environ["PATH"]
    with log.open("wb") as errors:
        outer = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--pid", "--fork", "--", "/bin/bash", "-euc", _CONTAIN, "contain"),
            *(str(image.root), uid, gid, str(len(mounts)), *places, *command),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=errors,
            env={**environ, "PATH": path, "WORKDIR": image.config["WorkingDir"]},
        )
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while not (found := children.read_text().split()):
        await asyncio.sleep(0.02)
    running = Container(image, environ, outer, int(found[0]))
    try:
        yield running
    finally:
        if outer.returncode is None:
            await running.stop(signal.SIGKILL)
