"""What Go's `testing` and Rust's `cargo bench` print of benchmarks: text, among anything else that was printed."""

import re
from math import isfinite, nan
from statistics import median, stdev

from k2alert.formats.caps import ABSURD, Caps, Chunks, shorten, too_large
from k2alert.formats.lcov import text_lines
from k2alert.model import BenchmarkPoint

__all__ = ["read_bench_text"]

_GO = re.compile(r"^(Benchmark\S*)\s+(\d+)\s+(\S.*)$")
_PROCESSORS = re.compile(r"-(\d+)$")
_RUST = re.compile(r"^test (\S.*?)\s+\.\.\. bench:\s+([\d,.]+) (\S+) \(\+/- ([\d,.]+)\)")

_Key = tuple[str, str]


def read_bench_text(chunks: Chunks, caps: Caps) -> tuple[tuple[BenchmarkPoint, ...], str]:
    """The measurements, and the processor's name as Go prints it. Raises `Stop` where it is too much."""
    found: dict[_Key, list[float]] = {}
    points: list[BenchmarkPoint] = []
    package = cpu = ""
    count = 0
    for line in text_lines(chunks, caps):
        line = line.strip()
        if line.startswith("pkg:"):
            package = line[4:].strip()
        elif line.startswith("cpu:"):
            cpu = line[4:].strip()
        elif go := _GO.match(line):
            for unit, value in _pairs(go[3].split()):
                found.setdefault((f"{package}.{go[1]}" if package else go[1], unit), []).append(value)
                count += 1
        elif rust := _RUST.match(line):
            points.append(_rust(rust))
        if count + len(points) > 10 * caps.points:
            raise too_large(f"it holds more than {10 * caps.points} measurements")
    return (*_go_points(found), *points), cpu


def _pairs(words: list[str]) -> list[tuple[str, float]]:
    """Values with their units, which take turns."""
    pairs = []
    for value, unit in zip(words[::2], words[1::2], strict=False):
        number = _plain(value)
        if not isfinite(number):
            break
        pairs.append((unit, number))
    return pairs


def _go_points(found: dict[_Key, list[float]]) -> list[BenchmarkPoint]:
    """One point for each benchmark and unit: time goes by the benchmark's name, other units are said with it.

    `-8` behind each name is the number of processors. It is no part of the name where all have the same; where they
    differ it tells benchmarks apart.
    """
    ends = {_end(name) for name, _ in found}
    end = ends.pop() if len(ends) == 1 else ""
    points = []
    for (name, unit), values in found.items():
        name = name.removesuffix(end)
        points.append(
            BenchmarkPoint(
                name=shorten(name if unit == "ns/op" else f"{name} {unit}", 500),
                value=median(values),
                unit=unit[:50],
                lower_is_better=not unit.endswith("/s"),
                spread=stdev(values) if len(values) > 1 else None,
                rounds=len(values),
            )
        )
    return points


def _end(name: str) -> str:
    found = _PROCESSORS.search(name)
    return found[0] if found else ""


def _rust(found: re.Match[str]) -> BenchmarkPoint:
    name, value, unit, off = found.groups()
    return BenchmarkPoint(name=shorten(name, 500), value=_plain(value), unit=unit[:50], spread=_plain(off), rounds=None)


def _plain(number: str) -> float:
    """The number, or one that is none where it is not written as a number, or is absurd."""
    try:
        found = float(number.replace(",", ""))
    except ValueError:
        return nan
    return found if abs(found) < ABSURD else nan
