"""How fast webhooks are answered, and whether any that was accepted is lost: 1,000 a second for 10 s, twice.

Pipelines of five jobs each are posted to `k2alert run`, a process of its own with SQLite on disk, by the clock. The
second time the process is killed halfway (SIGKILL) and started again. Run as `python benchmarks/webhooks.py`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.hook_load import send_at_a_rate

RATE, SECONDS = 1000, 10.0


async def main() -> None:
    """Prints a line for each of the two."""
    for kill in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            report = await send_at_a_rate(Path(folder), rate=RATE, seconds=SECONDS, kill=kill)
        how = "killed halfway" if kill else "undisturbed"
        print(
            f"{how}: sent {report.sent}, accepted {len(report.accepted)}, refused {report.refused or 'none'}, "
            f"lost {len(report.lost)}; answered in p50 {report.quantile(0.5):.1f} ms, "
            f"p99 {report.quantile(0.99):.1f} ms, max {report.quantile(1):.1f} ms"
        )


if __name__ == "__main__":
    asyncio.run(main())
