"""Reads what GitHub says beside runs: deployments and the schedules of workflows, as far as rules need them."""

from collections.abc import Callable

from k2alert.collect.flow import Failure
from k2alert.collect.github_deployments import read_deployments
from k2alert.collect.github_reading import Reading, Steps
from k2alert.collect.github_schedules import read_schedules
from k2alert.model import Kind

__all__ = ["read_facts"]


def read_facts(reading: Reading) -> Steps[Failure | None]:
    """What the rules need of this repository, once its runs are recorded; what a token may not read is left out."""
    steps: list[tuple[Kind, Callable[[Reading], Steps[Failure | None]]]] = [
        (Kind.DEPLOYMENT, read_deployments),
        (Kind.SCHEDULE, read_schedules),
    ]
    for kind, read in steps:
        failure = (yield from read(reading)) if kind in reading.ask.wants else None
        if failure is not None:
            return failure
    return None
