"""Retention of reports and deployments: what may be forgotten, and what conditions still need.

In: a transaction and a time. Out: what was dropped. Test and benchmark reports go when they ended before the time.
Coverage counts however old it is, so of each stream of a default branch the newest few stay; of each environment the
newest deployment and the newest that worked stay. Schedules are what they are now and do not age.
"""

from collections.abc import Iterable, Sequence

from k2alert.model import FactChange, Kind
from k2alert.record.connection import Connection
from k2alert.record.deployments import DeploymentRow, ScheduleRow, deployment_entry, schedule_entry
from k2alert.record.naming import unpack
from k2alert.record.reports import CoverageRow, ReportRow, benchmark_entries, coverage_entry, report_entry
from k2alert.record.statements import QUERIES

__all__ = ["drop_facts", "drop_schedules", "find_named", "sweep_names", "sweep_sets"]

CHUNK = 500


def drop_facts(con: Connection, before: int) -> list[FactChange]:
    """Drops a chunk of what is old; nothing when there is none left. The bits of what goes are not needed."""
    drops = (_drop_tests, _drop_coverage, _drop_benchmarks, _drop_deployments)
    return [change for drop in drops for change in drop(con, before)]


def _drop_tests(con: Connection, before: int) -> list[FactChange]:
    rows = con.execute(QUERIES["old_test_reports"], (before, CHUNK)).fetchall()
    gone = [(row[0],) for row in rows]
    con.executemany(QUERIES["drop_test_cases"], gone)
    con.executemany(QUERIES["drop_test_report"], gone)
    return [FactChange(Kind.TEST, report_entry(row[0], ReportRow(*row[1:]), 0, 0, 0), None) for row in rows]


def _drop_coverage(con: Connection, before: int) -> list[FactChange]:
    rows = con.execute(QUERIES["old_coverage_reports"], (before, CHUNK)).fetchall()
    con.executemany(QUERIES["drop_coverage_report"], [(row[0],) for row in rows])
    return [FactChange(Kind.COVERAGE, coverage_entry(row[0], CoverageRow(*row[1:]), 0), None) for row in rows]


def _drop_deployments(con: Connection, before: int) -> list[FactChange]:
    rows = con.execute(QUERIES["old_deployments"], (before, before, CHUNK)).fetchall()
    con.executemany(QUERIES["drop_deployment"], [(row[0],) for row in rows])
    return [FactChange(Kind.DEPLOYMENT, deployment_entry(row[0], DeploymentRow(*row[1:])), None) for row in rows]


def _drop_benchmarks(con: Connection, before: int) -> list[FactChange]:
    gone = con.execute(QUERIES["old_benchmark_reports"], (before, CHUNK)).fetchall()
    entries = [entry for (number,) in gone for entry in benchmark_entries(con, number)]
    con.executemany(QUERIES["drop_benchmark_points"], gone)
    con.executemany(QUERIES["drop_benchmark_report"], gone)
    return [FactChange(Kind.BENCHMARK, entry, None) for entry in entries]


def sweep_sets(con: Connection) -> None:
    """Forgets the sets that no report has any more."""
    con.execute(QUERIES["sweep_sets"])


def find_named(con: Connection) -> list[tuple[int, int]]:
    """The projects and kinds that have names."""
    return list(con.execute(QUERIES["named_groups"]))


def sweep_names(con: Connection, origin: int, kind: int) -> None:
    """Forgets the names of one project and kind that no set holds, so that their numbers can be given again."""
    held = 0
    for (members,) in con.execute(QUERIES["sets_of_group"], (origin, kind)):
        held |= unpack(members)
    room = held.to_bytes((held.bit_length() + 7) // 8, "little")
    numbers = [row[0] for row in con.execute(QUERIES["taken_names"], (origin, kind))]
    gone = [number for number in numbers if not _holds(room, number)]
    con.executemany(QUERIES["drop_name"], [(origin, kind, number) for number in gone])


def _holds(room: bytes, number: int) -> bool:
    return number >> 3 < len(room) and bool(room[number >> 3] & 1 << (number & 7))


def drop_schedules(con: Connection, projects: Iterable[Sequence[str]]) -> list[FactChange]:
    """Drops the schedules of projects, by source and path: nothing is due where nobody looks any more."""
    changes: list[FactChange] = []
    for source, path in projects:
        found = con.execute(QUERIES["find_origin"], (source, path)).fetchone()
        rows = [] if found is None else con.execute(QUERIES["schedules_of"], (found[0],)).fetchall()
        con.executemany(QUERIES["drop_schedule"], [(row[0],) for row in rows])
        changes += [FactChange(Kind.SCHEDULE, schedule_entry(row[0], ScheduleRow(*row[1:])), None) for row in rows]
    return changes
