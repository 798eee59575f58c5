"""Whether watched files changed, told by content, so that a ConfigMap's symlink swap counts and a touch does not.

In: paths of files and of rule-file patterns. Out: a digest for each, to compare with the digests from when the
configuration was loaded. Polling it is portable; inotify misses a symlink swap when it watches the file.
"""

import glob
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from k2alert.document import LARGEST_FILE

__all__ = ["digest", "fingerprint", "is_file", "matched", "names_digest", "read_start"]

_ABSENT = ""


def fingerprint(paths: Iterable[Path]) -> Mapping[Path, str]:
    """The SHA-256 of each file's content; of the names it matches for a pattern; "" for what cannot be read."""
    return {path: _of_path(path) for path in paths}


def digest(content: bytes | None) -> str:
    """The SHA-256 of a content in hex; "" for one that could not be read."""
    return _ABSENT if content is None else hashlib.sha256(content).hexdigest()


def matched(pattern: Path) -> tuple[Path, ...]:
    """The files that a pattern (`*`, `?`, `[a-z]`, `**`) matches now, sorted. A plain path matches itself."""
    if is_file(pattern) or not glob.has_magic(str(pattern)):
        return (pattern,)
    return tuple(Path(name) for name in sorted(glob.glob(str(pattern), recursive=True)) if is_file(Path(name)))


def is_file(path: Path) -> bool:
    """Whether it is a regular file, as far as we may look: what is behind a directory shut to us is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def real(path: Path) -> Path:
    """Where a path leads to in the end, to know a file again; a link that leads to itself is where it is."""
    return Path(os.path.realpath(path))


def names_digest(names: Iterable[Path]) -> str:
    """The digest of what a pattern matches."""
    return digest("\0".join(map(str, names)).encode("utf-8", "surrogateescape"))


def _of_path(path: Path) -> str:
    if glob.has_magic(str(path)) and not is_file(path):
        return names_digest(matched(path))
    return digest(_read(path))


def read_start(path: Path) -> bytes:
    """A file's content, up to a byte more than any file that is read here may have. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def _read(path: Path) -> bytes | None:
    """A regular file's content, None where there is none to read."""
    try:
        return read_start(path) if is_file(path) else None
    except OSError:
        return None
