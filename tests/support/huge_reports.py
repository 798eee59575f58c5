"""Report files that are too large, too deep or too clever, made piece by piece; and what reading one costs.

`python -m tests.support.huge_reports NAME` reads one in a process of its own and prints what came of it as JSON.
"""

import json
import resource
import sys
from collections.abc import Callable, Iterator, Mapping

from k2alert.formats import Unreadable, read_benchmarks, read_tests

MIB = 1024 * 1024
_CHUNK = 64 * 1024
_HEAD, _TAIL = b'<testsuites><testsuite name="s">', b"</testsuite></testsuites>"


def _around(before: bytes, fill: bytes, mebibytes: int, after: bytes) -> Iterator[bytes]:
    yield before
    piece = fill * (MIB // len(fill))
    for _ in range(mebibytes):
        yield piece
    yield after


def _case(before: bytes, mebibytes: int, after: bytes) -> Iterator[bytes]:
    return _around(
        _HEAD + b'<testcase name="t">' + before, b"a line of text\n", mebibytes, after + b"</testcase>" + _TAIL
    )


def _cases(count: int, *, inside: bytes = b"") -> Iterator[bytes]:
    yield _HEAD
    for number in range(count):
        name = b'<testcase classname="com.example.some.pkg.SomeClassTest%d" name="testNumber%d">' % (
            number // 20,
            number,
        )
        yield name + inside + b"</testcase>"
    yield _TAIL


def _deep() -> Iterator[bytes]:
    while True:
        yield b"<testsuite>" * 1000


def _laughs() -> Iterator[bytes]:
    yield b'<!DOCTYPE l [<!ENTITY l0 "lol">'
    for number in range(1, 10):
        yield b'<!ENTITY l%d "%s">' % (number, b"&l%d;" % (number - 1) * 10)
    yield b"]><testsuites>&l9;</testsuites>"


def _timings(mebibytes: int) -> Iterator[bytes]:
    head = b'{"machine_info":{},"benchmarks":[{"fullname":"b","stats":{"median":1,"data":['
    return _around(head, b"1.2345678901234567e-06, ", mebibytes, b'1],"rounds":5}}]}')


REPORTS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "a gigabyte of output": lambda: _case(b"<system-out>", 1024, b"</system-out>"),
    "200 MiB of output": lambda: _case(b"<system-out>", 200, b"</system-out>"),
    "200 MiB in one failure": lambda: _case(b"<failure>", 200, b"</failure>"),
    "200 MiB of CDATA": lambda: _case(b"<system-out><![CDATA[", 200, b"]]></system-out>"),
    "200 MiB in one attribute": lambda: _case(b'<failure message="', 200, b'"/>'),
    "200 MiB in one comment": lambda: _case(b"<!--", 200, b"-->"),
    "200,000 tests": lambda: _cases(200_000),
    "100,000 failures": lambda: _cases(100_000, inside=b'<failure message="%s"/>' % (b"m" * 2000)),
    "a million tests": lambda: _cases(1_000_000),
    "no end of depth": _deep,
    "a billion laughs": _laughs,
    "200 MiB of timings": lambda: _timings(200),
}


def _in_chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """As a file is read: pieces of one size."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= _CHUNK:
            yield bytes(held[:_CHUNK])
            del held[:_CHUNK]
    yield bytes(held)


def _peak() -> float:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(name: str) -> None:
    """Reads one report; says why it was refused (""), how many tests or points it has, and MiB of memory."""
    read = read_benchmarks if "timings" in name else read_tests
    before = _peak()
    found = read(_in_chunks(REPORTS[name]()))
    refused = isinstance(found, Unreadable)
    count = 0 if refused else getattr(found, "total", 1)
    print(json.dumps({"refused": found.reason.value if refused else "", "count": count, "MiB": _peak() - before}))


if __name__ == "__main__":
    main(sys.argv[1])
