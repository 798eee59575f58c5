"""Benchmark files: what was measured, in which unit, and which way is better.

JSON of pytest-benchmark, Google Benchmark, JMH, hyperfine, BenchmarkDotNet and github-action-benchmark (its custom
lists and its `data.js`), and text of Go's and Rust's tools. A measurement that is there several times becomes their
median, with their spread: it is what noise changes least.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median, stdev
from typing import Any

from k2alert.formats.bench_text import read_bench_text
from k2alert.formats.caps import ABSURD, Caps, Chunks, Stop, Unreadable, malformed, peek, shorten, too_large
from k2alert.formats.slim import slim
from k2alert.model import BenchmarkPoint, BenchmarkReport, Execution

__all__ = ["Benchmarks", "all_benchmarks", "read_benchmarks"]

_SCRIPT = re.compile(rb"\s*(?:var\s+|let\s+|const\s+)?[\w.]{1,100}\s*=")
_PLUS_MINUS = re.compile(r"^\s*(?:±|\+/-)\s*([0-9][0-9,.eE+-]*)\s*$")
_MORE_IS_BETTER = re.compile(r"(/s|/sec|/second|per second|persec|fps)$|^(ops|iter|req|requests|calls)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """The measurements of a file; `cpu` is the processor's name, "" where the file has none."""

    points: tuple[BenchmarkPoint, ...]
    cpu: str = ""

    def report(self, by: Execution) -> BenchmarkReport:
        """The report of an execution that wrote this."""
        return BenchmarkReport(by=by, points=self.points, cpu=self.cpu)


def read_benchmarks(chunks: Chunks, caps: Caps | None = None) -> Benchmarks | Unreadable:
    """What a benchmark file says, whichever it is."""
    caps = caps or Caps()
    begun, whole = peek(chunks)
    try:
        if begun.startswith((b"{", b"[", b"\xef\xbb\xbf")) or _SCRIPT.match(begun):
            found = _read_json(slim(whole, caps))
        else:
            found = Benchmarks(*read_bench_text(whole, caps)) if begun else malformed("it is empty")
    except Stop as stop:
        return stop.why
    return found if isinstance(found, Unreadable) else _checked(found, caps)


def all_benchmarks(files: Sequence[Benchmarks]) -> Benchmarks | None:
    """All files of one execution together; None without any. Of a name that is in several the first one counts."""
    if len(files) < 2:
        return files[0] if files else None
    points: dict[str, BenchmarkPoint] = {}
    for each in files:
        for point in each.points:
            points.setdefault(point.name, point)
    return Benchmarks(tuple(points.values()), next((each.cpu for each in files if each.cpu), ""))


def _checked(found: Benchmarks, caps: Caps) -> Benchmarks | Unreadable:
    """Each name once, and only what is a measurement."""
    points: dict[str, BenchmarkPoint] = {}
    for point in found.points:
        if point.name and isfinite(point.value):
            points.setdefault(point.name, point)
    if not points:
        return malformed("it holds no benchmark that can be read")
    if len(points) > caps.points:
        return too_large(f"it holds more than {caps.points} measurements").why
    return Benchmarks(tuple(points.values()), found.cpu[:200])


def _read_json(text: bytes) -> Benchmarks | Unreadable:
    script = _SCRIPT.match(text)
    if script:
        text = text[script.end() :].rstrip(b"; \t\r\n")
    try:
        data = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return malformed(f"it is no JSON: {str(error)[:100]}")
    for reads, read in _DIALECTS:
        if reads(data):
            return read(data)
    return malformed("it is of no benchmark tool that is known")


# ------------------------------------------------------------------------------------------ the dialects


def _pytest(data: Any) -> Benchmarks:
    points = []
    told = data.get("benchmarks")
    if isinstance(told, dict):  # by name, as some scripts store it
        told = [{"fullname": name, **item} for name, item in told.items() if isinstance(item, dict)]
    for item in _maps(told):
        stats = _map(item, "stats")
        value = _number(stats.get("median"))
        value = _number(stats.get("mean")) if value is None else value
        name = _text(item, "fullname") or _text(item, "name")
        spread, rounds = _number(stats.get("stddev")), _number(stats.get("rounds"))
        points.append(_point(name, value, "s", spread=spread, rounds=rounds))
    cpu = _map(_map(data, "machine_info"), "cpu")
    return Benchmarks(tuple(_known(points)), _text(cpu, "brand_raw") or _text(cpu, "brand"))


def _google(data: Any) -> Benchmarks:
    """Repetitions together; of aggregates only those are taken that stand without their repetitions."""
    single: dict[tuple[str, str], list[float]] = {}
    aggregates: dict[tuple[str, str], dict[str, float]] = {}
    for item in _items(data, "benchmarks"):
        value = _number(item.get("real_time"))
        if value is None or item.get("error_occurred") is True:
            continue
        key = (_text(item, "run_name") or _text(item, "name"), _text(item, "time_unit") or "ns")
        if item.get("run_type") == "aggregate":
            aggregates.setdefault(key, {})[_text(item, "aggregate_name")] = value
        else:
            single.setdefault(key, []).append(value)
    points = [_several(name, values, unit) for (name, unit), values in single.items()]
    for (name, unit), found in aggregates.items():
        value = found.get("median", found.get("mean"))
        if (name, unit) not in single:
            points.append(_point(name, value, unit, spread=found.get("stddev")))
    return Benchmarks(tuple(_known(points)))


def _jmh(data: Any) -> Benchmarks:
    items = [item for item in data if isinstance(item, Mapping)]
    modes: dict[str, set[str]] = {}
    for item in items:
        modes.setdefault(_jmh_name(item), set()).add(_text(item, "mode"))
    points = []
    for item in items:
        name, metric, mode = _jmh_name(item), _map(item, "primaryMetric"), _text(item, "mode")
        rounds = [number for row in _rows(metric.get("rawData")) for number in map(_number, row) if number is not None]
        points.append(
            _point(
                f"{name} [{mode}]" if len(modes[name]) > 1 else name,
                _number(metric.get("score")),
                _text(metric, "scoreUnit"),
                lower=mode != "thrpt",
                spread=stdev(rounds) if len(rounds) > 1 else None,
                rounds=len(rounds) or None,
            )
        )
    return Benchmarks(tuple(_known(points)))


def _jmh_name(item: Mapping[str, Any]) -> str:
    params = ", ".join(f"{key}={value}" for key, value in sorted(_map(item, "params").items()))
    return _text(item, "benchmark") + (f" ({params})" if params else "")


def _hyperfine(data: Any) -> Benchmarks:
    points = []
    for item in _items(data, "results"):
        value = _number(item.get("median"))
        value = _number(item.get("mean")) if value is None else value
        times = item.get("times")
        rounds = len(times) if isinstance(times, list) and times else None
        points.append(_point(_text(item, "command"), value, "s", spread=_number(item.get("stddev")), rounds=rounds))
    return Benchmarks(tuple(_known(points)))


def _dotnet(data: Any) -> Benchmarks:
    points = []
    for item in _items(data, "Benchmarks"):
        stats, name = _map(item, "Statistics"), _text(item, "FullName") or _text(item, "DisplayInfo")
        spread, rounds = _number(stats.get("StandardDeviation")), _number(stats.get("N"))
        points.append(_point(name, _number(stats.get("Median")), "ns", spread=spread, rounds=rounds))
    return Benchmarks(tuple(_known(points)), _text(_map(data, "HostEnvironmentInfo"), "ProcessorName"))


def _custom(data: Any) -> Benchmarks:
    return Benchmarks(tuple(_known(_bench(item, "", "") for item in data if isinstance(item, Mapping))))


def _history(data: Any) -> Benchmarks:
    """github-action-benchmark's own record: of each suite the newest entry."""
    points = []
    suites = _map(data, "entries")
    for suite, entries in suites.items():
        newest = [entry for entry in entries if isinstance(entry, Mapping)][-1:] if isinstance(entries, list) else []
        for entry in newest:
            prefix = f"{suite}: " if len(suites) > 1 else ""
            points += [_bench(item, prefix, _text(entry, "tool")) for item in _items(entry, "benches")]
    return Benchmarks(tuple(_known(points)))


def _bench(item: Mapping[str, Any], prefix: str, tool: str) -> BenchmarkPoint | None:
    unit, name, spread = _text(item, "unit"), _text(item, "name"), _PLUS_MINUS.match(_text(item, "range"))
    more = tool == "customBiggerIsBetter" or (tool != "customSmallerIsBetter" and bool(_MORE_IS_BETTER.search(unit)))
    off = _number(spread[1].replace(",", "")) if spread else None
    return _point(prefix + name if name else "", _number(item.get("value")), unit, lower=not more, spread=off)


_Reads = Callable[[Any], bool]
_DIALECTS: Sequence[tuple[_Reads, Callable[[Any], Benchmarks]]] = (
    (lambda data: isinstance(data, dict) and "machine_info" in data and "benchmarks" in data, _pytest),
    (lambda data: isinstance(data, dict) and isinstance(data.get("benchmarks"), dict), _pytest),
    (lambda data: isinstance(data, dict) and isinstance(data.get("benchmarks"), list), _google),
    (lambda data: isinstance(data, dict) and isinstance(data.get("results"), list), _hyperfine),
    (lambda data: isinstance(data, dict) and isinstance(data.get("Benchmarks"), list), _dotnet),
    (lambda data: isinstance(data, dict) and isinstance(data.get("entries"), dict), _history),
    (lambda data: isinstance(data, list) and any("primaryMetric" in item for item in _maps(data)), _jmh),
    (lambda data: isinstance(data, list) and any("value" in item for item in _maps(data)), _custom),
)
"""How each dialect is known, in the order in which they are asked."""


# ------------------------------------------------------------------------------------------ pieces


def _point(
    name: str,
    value: float | None,
    unit: str,
    *,
    lower: bool = True,
    spread: float | None = None,
    rounds: float | None = None,
) -> BenchmarkPoint | None:
    """A measurement; None where there is no number."""
    if value is None:
        return None
    count = int(rounds) if rounds is not None and 0 < rounds < 10**12 else None
    spread = spread if spread is not None and spread >= 0 else None
    return BenchmarkPoint(
        name=shorten(name, 500), value=value, unit=unit[:50], lower_is_better=lower, spread=spread, rounds=count
    )


def _several(name: str, values: Sequence[float], unit: str) -> BenchmarkPoint | None:
    spread = stdev(values) if len(values) > 1 else None
    return _point(name, median(values), unit, spread=spread, rounds=len(values))


def _known(points: Iterable[BenchmarkPoint | None]) -> Iterator[BenchmarkPoint]:
    return (point for point in points if point is not None)


def _number(value: Any) -> float | None:
    """A finite number, also where it is written as text; JMH writes "NaN"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < ABSURD else None


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _map(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = item.get(key)
    return value if isinstance(value, Mapping) else {}


def _items(item: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    return _maps(item.get(key))


def _maps(value: Any) -> Sequence[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _rows(value: Any) -> Sequence[Sequence[Any]]:
    return [row for row in value if isinstance(row, list)] if isinstance(value, list) else []
