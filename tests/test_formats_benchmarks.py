"""Benchmark files of every tool: values with unit, direction and spread."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.formats import Benchmarks, Caps, Reason, Unreadable, all_benchmarks, read_benchmarks
from k2alert.model import BenchmarkPoint


def point(
    name: str, value: float, unit: str, lower: bool, spread: float | None = None, rounds: int | None = None
) -> BenchmarkPoint:
    return BenchmarkPoint(name=name, value=value, unit=unit, lower_is_better=lower, spread=spread, rounds=rounds)


def read(data: Any) -> Benchmarks:
    text = data if isinstance(data, str) else json.dumps(data)
    found = read_benchmarks([text.encode()])
    assert isinstance(found, Benchmarks), found
    return found


def test_pytest_benchmark_gives_medians_in_seconds() -> None:
    stats = {"median": 2.0, "mean": 9.0, "stddev": 0.5, "rounds": 7, "data": [1.0, 3.0]}
    found = read(
        {
            "machine_info": {"cpu": {"brand_raw": "A CPU"}},
            "benchmarks": [{"name": "t", "fullname": "b.py::t", "stats": stats}],
        }
    )
    assert found == Benchmarks((point("b.py::t", 2.0, "s", True, 0.5, 7),), "A CPU")


def test_repetitions_of_google_benchmark_are_one_median() -> None:
    def item(value: float, **more: Any) -> dict[str, Any]:
        return {"name": "f/8", "run_name": "f/8", "run_type": "iteration", "real_time": value, "time_unit": "us"} | more

    repeated = [item(1), item(2), item(9), item(5, run_type="aggregate", aggregate_name="median")]
    broken = [item(1, run_name="g", error_occurred=True)]
    alone = [
        item(5, run_name="h", run_type="aggregate", aggregate_name="median"),
        item(1, run_name="h", run_type="aggregate", aggregate_name="stddev"),
    ]
    found = read({"context": {}, "benchmarks": repeated + broken + alone}).points
    assert found[0] == point("f/8", 2, "us", True, pytest.approx(4.358898), 3)
    assert found[1:] == (point("h", 5, "us", True, 1.0, None),)


def test_more_operations_a_second_are_better_in_jmh() -> None:
    def item(mode: str, **more: Any) -> dict[str, Any]:
        metric = {"score": 10.0, "scoreError": "NaN", "scoreUnit": "ops/s", "rawData": [[9.0, 11.0], [10.0]]}
        return {"benchmark": "a.B.c", "mode": mode, "primaryMetric": metric} | more

    found = read([item("thrpt"), item("avgt"), item("thrpt", params={"size": "10"})]).points
    assert [(one.name, one.lower_is_better) for one in found] == [
        ("a.B.c [thrpt]", False),
        ("a.B.c [avgt]", True),
        ("a.B.c (size=10)", False),
    ]
    assert (found[0].spread, found[0].rounds) == (1.0, 3)


def test_hyperfine_goes_by_command() -> None:
    result = {"command": "make all", "mean": 2.0, "stddev": 0.1, "median": 1.9, "times": [1.9, 2.1]}
    assert read({"results": [result]}).points == (point("make all", 1.9, "s", True, 0.1, 2),)


def test_go_prints_one_line_for_each_repetition() -> None:
    found = read(
        "goos: linux\npkg: example.com/x\ncpu: Some CPU\n"
        "BenchmarkA-8   \t 100\t 10 ns/op\t 3 B/op\t 1 allocs/op\n"
        "BenchmarkA-8   \t 100\t 14 ns/op\t 3 B/op\t 1 allocs/op\n"
        "BenchmarkB/n-2-8 \t 5\t 7.5 ns/op\t 9 MB/s\nPASS\nok\n"
    )
    values = {one.name: (one.value, one.lower_is_better, one.rounds) for one in found.points}
    assert values == {
        "example.com/x.BenchmarkA": (12, True, 2),
        "example.com/x.BenchmarkA B/op": (3, True, 2),
        "example.com/x.BenchmarkA allocs/op": (1, True, 2),
        "example.com/x.BenchmarkB/n-2": (7.5, True, 1),
        "example.com/x.BenchmarkB/n-2 MB/s": (9, False, 1),
    }
    assert found.cpu == "Some CPU"


def test_what_is_no_number_is_no_measurement() -> None:
    found = read("BenchmarkA 1 NaN ns/op\nBenchmarkA 1 inf ns/op\nBenchmarkA 1 1e308 ns/op\nBenchmarkB 1 5 ns/op\n")
    assert [one.name for one in found.points] == ["BenchmarkB"]


def test_processors_tell_benchmarks_apart_where_they_differ() -> None:
    found = read("BenchmarkA-2 1 5 ns/op\nBenchmarkA-4 1 3 ns/op\n")
    assert [one.name for one in found.points] == ["BenchmarkA-2", "BenchmarkA-4"]


def test_rust_prints_a_range() -> None:
    found = read("running 1 test\ntest tests::add ... bench:       1,234 ns/iter (+/- 56)\n")
    assert found.points == (point("tests::add", 1234, "ns/iter", True, 56),)


def test_the_newest_entry_of_a_data_js_is_what_was_measured() -> None:
    def entry(value: float, tool: str, unit: str) -> dict[str, Any]:
        return {"commit": {}, "tool": tool, "benches": [{"name": "b", "value": value, "unit": unit, "range": "± 2"}]}

    def script(entries: dict[str, Any]) -> str:
        return f"window.BENCHMARK_DATA = {json.dumps({'entries': entries})};\n"

    one = read(script({"suite": [entry(1, "cargo", "ns/iter"), entry(3, "cargo", "ns/iter")]}))
    assert one.points == (point("b", 3, "ns/iter", True, 2),)
    two = read(script({"x": [entry(1, "pytest", "iter/sec")], "y": [entry(1, "customBiggerIsBetter", "points")]}))
    assert [(one.name, one.lower_is_better) for one in two.points] == [("x: b", False), ("y: b", False)]


def test_files_of_one_execution_are_one_report() -> None:
    first, second = read("BenchmarkA 1 5 ns/op\ncpu: C"), read("BenchmarkA 1 9 ns/op\nBenchmarkB 1 3 ns/op")
    both = all_benchmarks([first, second])
    assert both is not None
    assert {one.name: one.value for one in both.points} == {"BenchmarkA": 5, "BenchmarkB": 3}
    assert both.cpu == "C"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("hello", "no benchmark"),
        ("{", "no JSON"),
        ('{"a": 1}', "no benchmark tool"),
        ("[" * 100_000, "no JSON"),
        ("[1, 2]", "no benchmark tool"),
        ('{"benchmarks": []}', "no benchmark that can be read"),
        ('[{"name": "a", "value": "NaN"}]', "no benchmark that can be read"),
    ],
)
def test_what_is_no_benchmark_file_is_refused_with_one_line(text: str, says: str) -> None:
    found = read_benchmarks([text.encode()])
    assert isinstance(found, Unreadable)
    assert found.reason is Reason.MALFORMED
    assert says in found.line
    assert "\n" not in found.line


def test_long_lists_of_numbers_are_never_held() -> None:
    stats = {"median": 2.0, "data": [1.25] * 100_000, "rounds": 3}
    item = {"fullname": 'a "[1,2]\\', "stats": stats}
    text = json.dumps({"machine_info": {}, "benchmarks": [item, item | {"fullname": "b"}]}).encode()
    small = Caps(json=10_000)
    for size in (1000, 65536, len(text)):
        found = read_benchmarks((text[at : at + size] for at in range(0, len(text), size)), small)
        assert isinstance(found, Benchmarks)
        assert [one.name for one in found.points] == ['a "[1,2]\\', "b"]


@pytest.mark.parametrize("caps", [Caps(size=50), Caps(json=50), Caps(points=1)])
def test_what_is_too_large_is_refused(caps: Caps) -> None:
    text = json.dumps([{"name": f"b{n}", "value": 1.0} for n in range(5)])
    found = read_benchmarks([text.encode()], caps)
    assert isinstance(found, Unreadable)
    assert found.reason is Reason.TOO_LARGE


KEYS = ["benchmarks", "machine_info", "stats", "median", "results", "entries", "primaryMetric", "value", "name"]
JSONS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSONS)
def test_no_json_is_an_error(data: Any) -> None:
    assert isinstance(read_benchmarks([json.dumps(data).encode()]), Benchmarks | Unreadable)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("benchmarkdotnet.json", ("Sample.Benchmarks.Fib10", "ns", True)),
        ("customSmallerIsBetter_output.json", ("My Custom Smaller Is Better Benchmark - CPU Load", "Percent", True)),
        ("github_action_benchmark_data.js", ("bench_fib_10", "ns/iter", True)),
        ("go_output.txt", ("BenchmarkFib10-8", "ns/op", True)),
        ("googlecpp_output.json", ("fib_10", "ns", True)),
        ("jmh_output.json", ("org.openjdk.jmh.samples.JMHSample_01_HelloWorld.wellHelloThere", "ops/s", False)),
        ("pytest_output.json", ("bench.py::test_fib_10", "s", True)),
        ("pytest_benchmark_5.3.json", ("test_bench.py::test_sum[10]", "s", True)),
    ],
)
def test_the_files_that_were_recorded_are_read(name: str, first: tuple[str, str, bool], shared_data: Path) -> None:
    (path,) = (shared_data / "fixtures/formats").rglob(name)
    found = read_benchmarks([path.read_bytes()])
    assert isinstance(found, Benchmarks)
    began = found.points[0]
    assert (began.name, began.unit, began.lower_is_better) == first
