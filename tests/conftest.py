"""What every test may use, and what a whole run of them must not do: skip, where nothing may be skipped."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from k2alert.record import Store, open_store
from tests.support.postgres import PostgresServer, binaries
from tests.support.stores import ENGINES

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CI data beside the project; tests that need it skip where it is absent."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip("the shared data is not here")
    return data


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of this process."""
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL server here")
    server = PostgresServer(programs)
    yield server
    server.close()


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store of each engine in turn may be."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/k2alert.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.make_database()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A new store, opened."""
    opened = open_store(store_url)
    yield opened
    await opened.close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With K2ALERT_NO_SKIP=1 a skip fails the run (`-ra` lists them), save for shared data that is not here."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("K2ALERT_NO_SKIP") != "1" or reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = [report for report in reporter.stats.get("skipped", []) if not _is_excused(report)]
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"\nERROR: {len(skipped)} skipped, where nothing may be; see the list below", red=True)


def _is_excused(report: pytest.TestReport) -> bool:
    return not SHARED.is_dir() and "is not here" in str(report.longrepr)
