"""Files out of a zip archive, in bounded memory, whatever the archive says of itself.

An archive in a file comes in; its list of members, and each wanted member as chunks, go out. Python's own `zipfile`
makes an object of every member before the first can be asked for: half a gigabyte for an archive of 60 MB that holds a
million of them. Nothing is written anywhere, so that no name can lead astray.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import error as StructError
from struct import unpack, unpack_from
from typing import BinaryIO

from k2alert.formats.caps import Reason, Stop, Unreadable, too_large

__all__ = ["ArchiveCaps", "Member", "list_members", "read_member"]

_MIB = 1024 * 1024
_CHUNK = 64 * 1024
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF_8 = 0x1, 0x800
_END, _END_64, _WHERE_64, _ENTRY, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
_NOT_HERE = 0xFFFFFFFF  # the number did not fit: it is in the extra field of zip64
_LONGEST_COMMENT = 65_535


@dataclass(frozen=True, slots=True)
class ArchiveCaps:
    """The most that is read of one archive."""

    members: int = 500_000  # listed, whatever they are
    wanted: int = 1000  # of which so many are read
    size: int = 256 * _MIB  # bytes of one, unpacked
    total: int = 512 * _MIB  # and of all that are read
    ratio: int = 200  # unpacked to packed; XML that repeats itself comes to 50
    small: int = 16 * _MIB  # up to here any ratio is fine


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its path there, how it is packed, its sizes in bytes, and where it begins."""

    name: str
    method: int
    encrypted: bool
    packed: int
    size: int
    checksum: int
    offset: int


def list_members(file: BinaryIO, caps: ArchiveCaps) -> Iterator[Member]:
    """All files in it, in its order. Raises `Stop` where it is no archive, or one with too many of them."""
    try:
        start, size = _find_directory(file)
        file.seek(start)
        count = 0
        while size > 0:
            member, length = _read_entry(file)
            size -= length
            count += 1
            if count > caps.members:
                raise too_large(f"it holds more than {caps.members} files")
            if not member.name.endswith("/"):
                yield member
    except (StructError, OSError, ValueError) as error:
        raise _broken() from error


def read_member(file: BinaryIO, member: Member, caps: ArchiveCaps) -> Iterator[bytes]:
    """A member's bytes, unpacked. Raises `Stop` where it is too large, or is not what the archive says of it."""
    _check(member, caps)
    size, checksum = 0, 0
    for chunk in _unpack(file, member):
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
        if size > member.size:
            raise _broken()
        yield chunk
    if (size, checksum) != (member.size, member.checksum):
        raise _broken()


# ------------------------------------------------------------------------------------------ the directory


def _find_directory(file: BinaryIO) -> tuple[int, int]:
    """Where the list of members begins, and how many bytes it has."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _LONGEST_COMMENT - 22))
    tail = file.read()
    at = tail.rfind(_END)
    while at >= 0 and not _ends(tail, at):
        at = tail.rfind(_END, 0, at)
    if at < 0:
        raise Stop(Unreadable(Reason.ARCHIVE, "it is no zip archive, or not a whole one"))
    size, start = unpack_from("<2I", tail, at + 12)
    where = at - 20
    if where >= 0 and tail[where : where + 4] == _WHERE_64:
        file.seek(unpack_from("<Q", tail, where + 8)[0])
        found = unpack("<4s36x2Q", file.read(56))
        if found[0] == _END_64:
            size, start = found[1:]
    if start + size > length:
        raise _broken()
    return start, size


def _ends(tail: bytes, at: int) -> bool:
    """Whether the mark here is that of the end, and not a part of the comment behind it."""
    return len(tail) >= at + 22 and at + 22 + unpack_from("<H", tail, at + 20)[0] == len(tail)


def _read_entry(file: BinaryIO) -> tuple[Member, int]:
    """The next member of the list, and how many bytes its entry has."""
    head = file.read(46)
    mark, flags, method, checksum = unpack_from("<4s4x2H4xI", head)
    packed, size, name_length, extra_length, comment_length = unpack_from("<2I3H", head, 20)
    (offset,) = unpack_from("<I", head, 42)
    if mark != _ENTRY:
        raise _broken()
    name, extra = file.read(name_length), file.read(extra_length)
    file.seek(comment_length, 1)
    size, packed, offset = _large(extra, size, packed, offset)
    member = Member(_name(name, flags), method, bool(flags & _ENCRYPTED), packed, size, checksum, offset)
    return member, 46 + name_length + extra_length + comment_length


def _large(extra: bytes, *numbers: int) -> tuple[int, ...]:
    """The numbers, those that did not fit from the extra field."""
    found = list(numbers)
    while len(extra) >= 4:
        kind, length = unpack_from("<2H", extra)
        if kind == 1:
            here = iter(unpack_from(f"<{length // 8}Q", extra, 4))
            found = [next(here, number) if number == _NOT_HERE else number for number in found]
        extra = extra[4 + length :]
    return tuple(found)


def _name(name: bytes, flags: int) -> str:
    """The path, with slashes, and without what leads to the root of the archive."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("utf-8" if flags & _UTF_8 else "cp437", "replace")
    return text.replace("\\", "/").removeprefix("./").lstrip("/")


# ------------------------------------------------------------------------------------------ a member


def _check(member: Member, caps: ArchiveCaps) -> None:
    if member.encrypted:
        raise Stop(Unreadable(Reason.ARCHIVE, "it is encrypted"))
    if member.method not in (_STORED, _DEFLATED):
        raise Stop(Unreadable(Reason.ARCHIVE, f"it is packed by method {member.method}, which is not read"))
    if member.size > caps.size:
        raise too_large(f"it is larger than {caps.size // _MIB} MiB")
    if member.size > caps.small and member.size > caps.ratio * member.packed:
        raise too_large(f"it unpacks to more than {caps.ratio} times its size")


def _unpack(file: BinaryIO, member: Member) -> Iterator[bytes]:
    if member.method == _STORED:
        yield from _packed(file, member)
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for data in _packed(file, member):
            while data and not inflate.eof:
                if chunk := inflate.decompress(data, _CHUNK):
                    yield chunk
                data = inflate.unconsumed_tail
        if chunk := inflate.flush():
            yield chunk
    except zlib.error as error:
        raise _broken() from error


def _packed(file: BinaryIO, member: Member) -> Iterator[bytes]:
    try:
        file.seek(member.offset)
        mark, name_length, extra_length = unpack("<4s22x2H", file.read(30))
        if mark != _LOCAL:
            raise _broken()
        file.seek(name_length + extra_length, 1)
        left = member.packed
        while left > 0:
            data = file.read(min(_CHUNK, left))
            if not data:
                raise _broken()
            left -= len(data)
            yield data
    except (StructError, OSError, ValueError) as error:
        raise _broken() from error


def _broken() -> Stop:
    return Stop(Unreadable(Reason.ARCHIVE, "the archive is damaged"))
