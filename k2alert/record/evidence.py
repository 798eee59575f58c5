"""The runs and jobs behind a value, as messages name them.

In: numbers of recorded rows. Out: `RunEvidence`. All text in it is the forge's.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from k2alert.model import RESULTS, JobEvidence, RunEvidence
from k2alert.record.connection import Connection
from k2alert.record.rows import expand_link, unpack_id, unpack_sha
from k2alert.record.statements import QUERIES
from k2alert.times import from_ms

__all__ = ["read_job_evidence", "read_run_evidence"]

_RUN_COLUMNS = 12


def read_run_evidence(con: Connection, refs: Sequence[int]) -> dict[int, RunEvidence]:
    """Run outcomes with the failed jobs that counted when they finished."""
    wanted = (json.dumps(list(refs)),)
    jobs: dict[int, list[JobEvidence]] = defaultdict(list)
    for ref, forge_id, run_id, name, stage, result, reason, link in con.execute(QUERIES["failed_jobs"], wanted):
        jobs[ref].append(_job(unpack_id(run_id), unpack_id(forge_id), name, stage, RESULTS[result], reason, link))
    return {row[0]: _run(row, tuple(jobs[row[0]])) for row in con.execute(QUERIES["run_evidence"], wanted).fetchall()}


def read_job_evidence(con: Connection, refs: Sequence[int]) -> dict[int, RunEvidence]:
    """Job executions, each as its run with that job alone."""
    rows = con.execute(QUERIES["job_evidence"], (json.dumps(list(refs)),)).fetchall()
    return {row[0]: _run(row[:_RUN_COLUMNS], (_job_of_row(row),)) for row in rows}


def _run(row: Sequence[Any], jobs: tuple[JobEvidence, ...]) -> RunEvidence:
    _, project, forge_id, number, workflow, branch, sha, title, result, finished, duration, link = row
    return RunEvidence(
        project=project,
        id=unpack_id(forge_id),
        number=unpack_id(number),
        workflow=workflow,
        branch=branch,
        sha=unpack_sha(sha),
        title=title,
        result=RESULTS[result],
        finished_at=from_ms(finished),
        duration=None if duration is None else timedelta(milliseconds=duration),
        web_url=expand_link(link, unpack_id(forge_id)),
        jobs=jobs,
    )


def _job_of_row(row: Sequence[Any]) -> JobEvidence:
    forge_id, name, stage, reason, link = row[_RUN_COLUMNS:]
    return _job(unpack_id(row[2]), unpack_id(forge_id), name, stage, RESULTS[row[8]], reason, link)


def _job(run: str, forge_id: str, name: str, stage: str, result: Any, reason: str, link: str) -> JobEvidence:
    web_url = expand_link(link, run, forge_id)
    return JobEvidence(name=name, stage=stage, result=result, reason=reason, web_url=web_url)
