"""k2alert beside VictoriaMetrics and vmalert, measured in the same run: one history, the seed's four rules.

VictoriaMetrics (Debian's package `victoria-metrics` has both) gets the samples that Prometheus gets in
`evaluate_peer.py`, moved so that the history ends now, for vmalert always asks for now. vmalert judges the four rules
every few seconds and tells somebody who just takes it. Counted is the CPU time of both processes over whole rounds
without what the store uses by itself meanwhile, and what vmalert says that a round took. As there: no scrapes, no
older samples.

    .venv/bin/python benchmarks/evaluate_victoria.py [10 100 1000]
"""

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from evaluate import measure as measure_k2alert
from evaluate_peer import END_MS, RULES, START_MS, History, make_history, make_series
from peer import Peer, free_port, running

PHASE_MS = 30_000
AT_ONCE = 500  # series in one request
HISTORY = (END_MS - START_MS) // 60_000  # samples, one a minute
HUNDRED_YEARS = "100y"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What both took for a round of the four rules: milliseconds, and MiB resident at the most."""

    wall: float  # of the longest chain that vmalert reports: its group's iteration
    cpu: float
    memory: float


class Ear(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Reads the body and answers 200."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def hearing() -> Iterator[str]:
    """The address of somebody who takes alerts, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fill(store: Peer, history: History, end_ms: int) -> int:
    """Imports every series, as if the history ended then; returns how many samples they are."""
    times = [end_ms - (END_MS - START_MS) + PHASE_MS + 60_000 * sample for sample in range(HISTORY)]
    samples, lines = 0, []
    for project, entries in history.items():
        for series, values in make_series(project, entries):
            name, _, labels = series.rstrip("}").partition("{")
            pairs = dict(label.split("=", 1) for label in labels.split(","))
            metric = {"__name__": name} | {label: text.strip('"') for label, text in pairs.items()}
            samples += len(values)
            lines.append(json.dumps({"metric": metric, "values": list(values), "timestamps": times[-len(values) :]}))
        if len(lines) >= AT_ONCE:
            send(store, lines)
    send(store, lines)
    store.request("GET", "/internal/force_flush")
    return samples


def send(store: Peer, lines: list[str]) -> None:
    """Imports these lines and forgets them."""
    if lines:
        status, body = store.request("POST", "/api/v1/import", "\n".join(lines).encode())
        if status != 204:
            raise SystemExit(f"VictoriaMetrics answered {status}: {body[:300]!r}")
        lines.clear()


def write_rules(folder: Path, every: int) -> Path:
    """The four rules as a file of vmalert's."""
    rules = [{"alert": f"rule{number}", "expr": expression} for number, expression in enumerate(RULES)]
    path = folder / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "seed", "interval": f"{every}s", "rules": rules}]}))
    return path


def measure_victoria(folder: Path, history: History, rounds: int, every: int) -> tuple[Cost, int, int]:
    """The cost of a round; samples imported, and alerts that were active."""
    port = free_port()
    here = ["victoria-metrics", f"-storageDataPath={folder / 'data'}", f"-retentionPeriod={HUNDRED_YEARS}"]
    with running([*here, *listening(port)], port, "/health") as store:
        samples = fill(store, history, int(time.time() * 1000))
        idle = idle_cpu(store, every)
        url = f"http://127.0.0.1:{port}"
        rules = write_rules(folder, every)
        with hearing() as ear, judging(rules, url, ear) as judge:
            wait_for_rounds(judge, 1)  # once cold, as k2alert's first round is not counted either
            before, began = store.cpu() + judge.cpu(), iterations(judge)
            wait_for_rounds(judge, began + rounds)
            cpu = (store.cpu() + judge.cpu() - before) / (iterations(judge) - began) - idle
            seconds = figure(judge, "vmalert_iteration_duration_seconds", 'quantile="0.5"')
            active = sum(
                float(line.rpartition(" ")[2]) for line in figures(judge) if line.startswith("vmalert_alerts_firing{")
            )
            return Cost(wall=seconds * 1000, cpu=cpu, memory=store.memory() + judge.memory()), samples, int(active)


def idle_cpu(store: Peer, seconds: int) -> float:
    """CPU milliseconds that it uses by itself in that time; a first one passes before, in which it merges parts."""
    time.sleep(seconds)
    before = store.cpu()
    time.sleep(seconds)
    return store.cpu() - before


@contextmanager
def judging(rules: Path, url: str, ear: str) -> Iterator[Peer]:
    """A vmalert that judges these rules over that store."""
    port = free_port()
    command = ["vmalert", f"-rule={rules}", f"-datasource.url={url}", f"-notifier.url={ear}"]
    with running([*command, *listening(port)], port, "/health") as judge:
        yield judge


def listening(port: int) -> list[str]:
    """What both are told of how to talk."""
    return [f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=ERROR"]


def figures(judge: Peer) -> list[str]:
    """The lines of vmalert's exposition."""
    return judge.request("GET", "/metrics")[1].decode().splitlines()


def figure(judge: Peer, name: str, label: str = "") -> float:
    """One value of vmalert's exposition; 0 where it is not there yet."""
    found = (line for line in figures(judge) if line.startswith(name + "{") and label in line)
    return next((float(line.rpartition(" ")[2]) for line in found), 0.0)


def iterations(judge: Peer) -> int:
    """How many rounds vmalert has judged."""
    return int(figure(judge, "vmalert_iteration_total"))


def wait_for_rounds(judge: Peer, rounds: int) -> None:
    """Returns when vmalert has judged so many."""
    while iterations(judge) < rounds:
        time.sleep(0.05)


def report(projects: int, rounds: int, every: int) -> None:
    """Measures one size and prints it."""
    with TemporaryDirectory(prefix="k2alert-bench-") as name:
        history = make_history(projects)
        cost, samples, active = measure_victoria(Path(name), history, rounds, every)
    own = measure_k2alert(projects, 20)
    (cpu, wall), compared = own.later, own.compared
    print(f"\n{projects:,} projects, {samples:,} samples, {active:,} alerts firing at vmalert")
    print(f"  k2alert                   {wall:>9,.1f} ms wall  {cpu:>9,.1f} ms CPU   {compared:,} values, all exact")
    print(f"  VictoriaMetrics + vmalert {cost.wall:>9,.1f} ms wall  {cost.cpu:>9,.1f} ms CPU   {cost.memory:,.0f} MiB")
    print(f"  ratio                     {cost.wall / wall:>9,.0f} ×        {cost.cpu / cpu:>9,.0f} ×", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projects", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=5, help="of vmalert; k2alert has 20")
    parser.add_argument("--every", type=int, default=5, help="seconds between vmalert's rounds")
    options = parser.parse_args()
    if not shutil.which("victoria-metrics") or not shutil.which("vmalert"):
        print("skipped: no victoria-metrics and vmalert here (Debian's package victoria-metrics has both)")
        return
    version = subprocess.run(["dpkg-query", "-W", "victoria-metrics"], check=False, capture_output=True, text=True)
    print("Debian's", version.stdout.strip().replace("\t", " ") or "victoria-metrics")
    for projects in options.projects:
        report(projects, options.rounds, options.every)


if __name__ == "__main__":
    main()
