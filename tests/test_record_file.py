"""The store's file: who may open it, what a crash leaves, how its schema goes forward."""

import hashlib
import logging
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2alert.model import Kind
from k2alert.record import StoreError, open_store
from k2alert.record.sqlite_file import connect_writer, has_wal_bug, migrate
from k2alert.record.statements import MIGRATIONS, QUERIES, Migration, split_statements
from tests.support.looks import finished_run, outcome

PROJECT_ROOT = Path(__file__).parents[1]

RELEASED = {
    1: "8c7c8c17178ac8103df9f90b3e04931dd5b771b5ada57eacbfe3deed19081e34",
    2: "bf892b9331fc12f9f1e1ef6acc47ced234092d509f309fc8462eba817c93d2cf",
    3: "82fe3e501feaf49433acccb9f1b6698252b3cdb4485f6ca005444a2b0ea558d6",
    4: "3fafbe1abb6a674ffdfb6c19653775600832bc782807d992dc4f71e7007b0de5",
    5: "a1fbeddd57ae3b9d9c5ce0f54b318c8279219ab364da51129d323ec97a4ff32d",
    6: "5104ef1f301b45ae5a1d80c8865ac0c3a3e2d302fd2d3a5c5c98742e1e718fb9",
}
"""Checksums of released migrations. A line here never changes: databases of that version are out there."""


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def start_writer(path: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.support.store_writer", url_of(path), *more]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)


def said(writer: "subprocess.Popen[str]", lines: int) -> list[str]:
    assert writer.stdout is not None
    return [writer.stdout.readline().strip() for _ in range(lines)]


async def ids_in(path: Path) -> set[str]:
    store = open_store(url_of(path))
    refs = [entry.ref async for batch in store.entries(Kind.RUN) for entry in batch]
    evidence = await store.run_evidence(refs)
    await store.close()
    return {run.id for run in evidence.values()}


# ----------------------------------------------------------------------------------------- opening it


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://k2:hunter2@db/k2alert", "not a store: 'mysql://db/k2alert'"),
        ("sqlite://k2alert.db", "not a store: 'sqlite://k2alert.db'"),
        ("sqlite:///", "not a store"),
        ("k2alert.db", "not a store"),
    ],
)
def test_what_is_no_url_of_a_store_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_relative_url_is_relative_to_the_working_directory(tmp_path: Path) -> None:
    relative = os.path.relpath(tmp_path / "here.db")
    await open_store(f"sqlite:///{relative}").close()
    assert (tmp_path / "here.db").is_file()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone/k2alert.db: the folder .*/gone does not exist"):
        open_store(url_of(tmp_path / "gone" / "k2alert.db"))


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Is a directory"):
        open_store(url_of(tmp_path))


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("Dear diary, " * 400)
    with pytest.raises(StoreError, match=r"notes.db: file is not a database"):
        open_store(url_of(path))
    assert path.read_text().startswith("Dear diary")


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as con:
        con.execute("CREATE TABLE accounts (id INTEGER)")
    con.close()
    with pytest.raises(StoreError, match="not one of k2alert's"):
        open_store(url_of(path))


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    store = open_store(url_of(tmp_path / "k2alert.db"))
    await store.save([finished_run("1", 1)])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    await store.close()
    assert set(modes) == {"k2alert.db", "k2alert.db-wal", "k2alert.db-shm", "k2alert.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_a_second_store_on_the_same_file_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    first = open_store(url_of(path))
    with pytest.raises(StoreError, match=r"k2alert.db: another process has it open"):
        open_store(url_of(path))
    await first.save([finished_run("1", 1)])
    await first.close()
    assert await ids_in(path) == {"1"}


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with start_writer(tmp_path / "k2alert.db") as first:
        said(first, 1)
        with start_writer(tmp_path / "k2alert.db") as second:
            assert "another process has it open" in said(second, 1)[0]
        assert second.returncode == 1
        first.kill()


async def test_the_versions_of_sqlite_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "k2alert.record"):
        await open_store(url_of(tmp_path / "k2alert.db")).close()
    assert caplog.text.count(f"opened with SQLite {sqlite3.sqlite_version}") == 1
    assert caplog.text.count("WAL-reset bug") == has_wal_bug(sqlite3.sqlite_version_info[:3])


@pytest.mark.parametrize(
    ("version", "bug"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), True),
        ((3, 53, 0), False),
    ],
)
def test_which_versions_of_sqlite_have_the_bug(version: tuple[int, int, int], bug: bool) -> None:
    assert has_wal_bug(version) is bug


# ----------------------------------------------------------------------------------- crashes and full disks


@pytest.mark.parametrize("lines", [1, 40, 90])
async def test_what_was_saved_outlives_a_kill(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "k2alert.db"
    with start_writer(path) as writer:
        acknowledged = set(said(writer, lines))
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in writer.stdout or () if line.endswith("\n")}
    kept = await ids_in(path)
    assert acknowledged <= kept
    assert len(kept - acknowledged) <= 1


async def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    with start_writer(path, "400000") as writer:
        *numbers, last = [line.strip() for line in writer.stdout or ()]
    assert writer.returncode == 1
    assert last.startswith(f"store {path}: ")
    assert numbers
    assert await ids_in(path) == set(numbers)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


async def test_a_folder_that_may_not_be_written_to_is_one_clear_line(open_folder: Path) -> None:
    path = open_folder / "k2alert.db"
    await open_store(url_of(path)).close()
    for file in (path, Path(f"{path}.lock")):
        file.chmod(0o444)
    open_folder.chmod(0o555)
    root = os.geteuid() == 0
    found = subprocess.run(
        [sys.executable, "-c", f"import os, k2alert.record as r\nif {root}: os.setuid(65534)\n"
         f"try: r.open_store({url_of(path)!r})\nexcept r.StoreError as error: print(error)"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    open_folder.chmod(0o755)
    assert found.stdout.strip() == f"store {path}: Permission denied: {path}.lock"
    assert found.stderr == ""


async def test_a_write_that_fails_leaves_the_store_usable(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    store = open_store(url_of(path))
    other = sqlite3.connect(path)
    other.execute(
        "CREATE TRIGGER no BEFORE INSERT ON outcomes WHEN new.attempt = 7 BEGIN SELECT raise(FAIL, 'no'); END"
    )
    other.commit()
    other.close()
    with pytest.raises(sqlite3.IntegrityError):
        await store.save([finished_run("1", 1), finished_run("2", 2, outcomes=(outcome(2, attempt=7),))])
    assert await store.opens() == []
    assert [batch async for batch in store.entries(Kind.RUN)] == []
    saved = await store.save([finished_run("1", 1)])
    assert len(saved.streams) == 1
    await store.close()


# ------------------------------------------------------------------------------------------- the schema


def test_released_migrations_have_not_changed() -> None:
    assert {step.version: step.checksum for step in MIGRATIONS} == RELEASED


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_every_statement_is_described_and_reads() -> None:
    con = sqlite3.connect(":memory:")
    for step in MIGRATIONS:
        for statement in split_statements(step.sql):
            con.execute(statement)
    for name, query in QUERIES.items():
        assert con.execute(f"EXPLAIN {query}", [None] * query.count("?")), name
    con.close()


def test_no_statement_reads_all_facts() -> None:
    con = sqlite3.connect(":memory:")
    for step in MIGRATIONS:
        for statement in split_statements(step.sql):
            con.execute(statement)
    slow = set()
    for name, query in QUERIES.items():
        plan = [row[3] for row in con.execute(f"EXPLAIN QUERY PLAN {query}", [None] * query.count("?"))]
        scans = [step for step in plan if re.match(r"SCAN (r|runs|o|outcomes|j|jobs)\b(?! USING)", step)]
        if scans or (name.endswith("_entries") and any("TEMP B-TREE" in step for step in plan)):
            slow.add(name)
    con.close()
    assert slow == set()


async def test_a_file_of_the_first_version_goes_forward_with_its_facts(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    first = next(step for step in MIGRATIONS if step.version == 1)
    con = connect_writer(path)
    migrate(con, path, (first,))
    con.close()
    store = open_store(url_of(path))
    await store.save([finished_run("1", 1)])
    await store.close()
    second = Migration(len(MIGRATIONS) + 1, "runs_mood", "ALTER TABLE runs ADD COLUMN mood TEXT;\n-- done\n")
    con = connect_writer(path)
    migrate(con, path, (*MIGRATIONS, second))
    assert con.execute("SELECT count(*), max(mood) FROM runs").fetchone() == (1, None)
    assert con.execute("SELECT version, checksum FROM schema_version ORDER BY version").fetchall() == [
        *((step.version, step.checksum) for step in MIGRATIONS),
        (second.version, hashlib.sha256(second.sql.encode()).hexdigest()),
    ]
    con.close()


def test_a_step_that_fails_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    con = connect_writer(path)
    migrate(con, path)
    before = con.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    bad = Migration(len(MIGRATIONS) + 1, "bad", "CREATE TABLE half (id INTEGER); CREATE TABLE runs (id INTEGER);")
    with pytest.raises(StoreError, match="table runs already exists"):
        migrate(con, path, (*MIGRATIONS, bad))
    assert con.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
    con.close()


def change_versions(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as con:
        con.execute(statement)
    con.close()


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    await open_store(url_of(path)).close()
    change_versions(path, "INSERT INTO schema_version VALUES (999, 'later', 'x')")
    shutil.copy(path, tmp_path / "before.db")
    with pytest.raises(StoreError, match=r"its schema is version 999, this k2alert knows up to \d+; use a newer one"):
        open_store(url_of(path))
    assert path.read_bytes() == (tmp_path / "before.db").read_bytes()


async def test_a_schema_that_was_never_released_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k2alert.db"
    await open_store(url_of(path)).close()
    change_versions(path, "UPDATE schema_version SET checksum = 'edited' WHERE version = 1")
    with pytest.raises(StoreError, match="schema version 1 is not the released one"):
        open_store(url_of(path))
