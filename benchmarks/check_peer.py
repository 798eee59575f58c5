"""How long `k2alert check` takes over 1,000 rules, beside promtool over as many, each as a whole process.

Rules are made here: ratios, streaks and ages with messages. Debian's promtool is the peer, where it is installed. Each
runs five times; the fastest and the median are printed. Run as `python benchmarks/check_peer.py`.
"""

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
        (folder / "ours.yml").write_text("alert_rules:\n" + "".join(map(_ours, range(RULES))))
        theirs = "groups:\n  - name: ci\n    rules:\n" + "".join(map(_theirs, range(RULES)))
        (folder / "theirs.yml").write_text(theirs)
        _time("k2alert check", [sys.executable, "-m", "k2alert", "check", "--strict", str(folder / "ours.yml")])
        promtool = shutil.which("promtool")
        if promtool is None:
            print("promtool is not here")
        else:
            _time("promtool check rules", [promtool, "check", "rules", str(folder / "theirs.yml")])


def _time(what: str, command: list[str]) -> None:
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        seconds.append(time.perf_counter() - began)
    print(f"{what}: {RULES} rules in {min(seconds):.2f} s at best, {statistics.median(seconds):.2f} s in the median")


def _ours(number: int) -> str:
    conditions = (
        "success_rate < 0.9",
        "consecutive_failures >= 3",
        "p95_duration_minutes > 30 and failed_pipelines > 2",
    )
    return (
        f"  - name: rule_{number}\n    condition: {conditions[number % 3]}\n    period: 24h\n    severity: warning\n"
        "    min_samples: 10\n    message: '{{ value | round(2) }} in {{ period }} on {{ labels.project }}'\n"
    )


def _theirs(number: int) -> str:
    return (
        f"      - alert: rule_{number}\n"
        "        expr: sum by (project) (increase(ok_total[24h])) / sum by (project) (increase(all_total[24h])) < 0.9\n"
        "        labels: {severity: warning}\n        annotations: {message: '{{ $value }} on {{ $labels.project }}'}\n"
    )


if __name__ == "__main__":
    main()
