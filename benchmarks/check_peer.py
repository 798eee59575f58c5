"""How long `k2alert check` takes over 1,000 rules, beside promtool over as many, each as a whole process.

Rules are made here: ratios, streaks and quantiles, once with one message for all of them and once with a message for
each. Debian's promtool is the peer, where it is installed. Each runs five times; the fastest and the median are
printed, and the least CPU time. Run as `python benchmarks/check_peer.py`.
"""

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RULES = 1000
TIMES = 5


def main() -> None:
    """Prints a line for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name, own in (("shared", False), ("own", True)):
            rules = "".join(_ours(number, own=own) for number in range(RULES))
            (folder / f"{name}.yml").write_text(f"alert_rules:\n{rules}")
        theirs = "groups:\n  - name: ci\n    rules:\n" + "".join(map(_theirs, range(RULES)))
        (folder / "theirs.yml").write_text(theirs)
        check = [sys.executable, "-m", "k2alert", "check", "--strict"]
        _time("k2alert check, one message", [*check, str(folder / "shared.yml")])
        _time("k2alert check, a message for each", [*check, str(folder / "own.yml")])
        promtool = shutil.which("promtool")
        if promtool is None:
            print("promtool is not here")
        else:
            _time("promtool check rules", [promtool, "check", "rules", str(folder / "theirs.yml")])


def _time(what: str, command: list[str]) -> None:
    seconds, cpu = [], []
    for _ in range(TIMES):
        began, before = time.perf_counter(), _used()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        seconds.append(time.perf_counter() - began)
        cpu.append(_used() - before)
    best, median = min(seconds), statistics.median(seconds)
    print(f"{what}: {RULES} rules in {best:.2f} s at best, {median:.2f} s in the median (CPU {min(cpu):.2f} s)")


def _used() -> float:
    """The CPU seconds of all processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ours(number: int, *, own: bool) -> str:
    conditions = (
        "success_rate < 0.9",
        "consecutive_failures >= 3",
        "p95_duration_minutes > 30 and failed_pipelines > 2",
    )
    which = f"Rule {number}: " if own else ""
    return (
        f"  - name: rule_{number}\n    condition: {conditions[number % 3]}\n    period: 24h\n    severity: warning\n"
        "    min_samples: 10\n"
        f"    message: '{which}{{{{ value | round(2) }}}} in {{{{ period }}}} on {{{{ labels.project }}}}'\n"
    )


def _theirs(number: int) -> str:
    return (
        f"      - alert: rule_{number}\n"
        "        expr: sum by (project) (increase(ok_total[24h])) / sum by (project) (increase(all_total[24h])) < 0.9\n"
        "        labels: {severity: warning}\n        annotations: {message: '{{ $value }} on {{ $labels.project }}'}\n"
    )


if __name__ == "__main__":
    main()
