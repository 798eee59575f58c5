"""The PostgreSQL store as a database: who may open it, what its schema is, what happens when the server goes away."""

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import trustme

from k2alert.model import Kind
from k2alert.record import Store, StoreBusy, StoreError, look_into_store, open_store
from k2alert.record.calls import EngineStore
from k2alert.record.connection import Connection
from k2alert.record.postgres import PostgresEngine
from k2alert.record.postgres_line import Server
from k2alert.record.statements import MIGRATIONS, QUERIES
from tests.support.cutting import CuttingProxy
from tests.support.looks import finished_run, run
from tests.support.postgres import PASSWORD, PostgresServer, binaries
from tests.support.stores import entries_of, news


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.make_database()


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
async def engine(url: str) -> AsyncIterator[PostgresEngine]:
    opened = PostgresEngine(url)
    yield opened
    await opened.close()


# ---------------------------------------------------------------------------------------------- opening


async def test_its_version_is_told_and_its_password_is_not(
    postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await open_store(url).close()
    (version,) = postgres.say("SHOW server_version")
    assert f"/{name_of(url)} opened with PostgreSQL {version.split()[0]}\n" in caplog.text
    assert PASSWORD not in caplog.text
    assert "correct" not in caplog.text


def test_a_wrong_password_is_one_clear_line_that_does_not_hold_it(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match='password authentication failed for user "k2"') as caught:
        open_store(postgres.url("postgres", password="hunter22"))
    assert not isinstance(caught.value, StoreBusy)
    assert "hunter22" not in repr(caught.getrepr(showlocals=False).reprcrash)
    assert "\n" not in str(caught.value)


def test_a_missing_database_is_named(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match='database "nowhere" does not exist') as caught:
        open_store(postgres.url("nowhere"))
    assert not isinstance(caught.value, StoreBusy)


@pytest.mark.parametrize(
    "login",
    ["k2:hun/ter22", "k2:hun:ter22", "k2:hun#ter22", "k2:hun?ter22", "k2:hun@ter22", "k2:[hunter22", "k2:hun%ter22"],
)
def test_a_url_that_cannot_be_read_tells_no_part_of_the_password(login: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(f"postgresql://{login}@127.0.0.1:1/k2")
    assert "ter22" not in str(caught.value)


def test_a_password_is_hidden_however_it_is_written() -> None:
    server = Server("postgresql://k2:p%40ss w/rd@db:5432/k2?sslmode=require")

    assert server.name == "store postgresql://db:5432/k2"
    hidden = Server("postgresql://db/k2?user=k2&password=a%20b&sslpassword=s3cret")
    assert hidden.line("a%20b, a b, s3cret") == "store postgresql://db/k2: ***, ***, ***"
    assert server.line("no p%40ss w/rd and\nno p@ss w/rd") == "store postgresql://db:5432/k2: no *** and no ***"


def test_a_server_that_is_down_is_worth_waiting_for(postgres: PostgresServer) -> None:
    with pytest.raises(StoreBusy, match=r"^store postgresql://127.0.0.1:1/k2: "):
        open_store("postgresql://k2:secret@127.0.0.1:1/k2")


def test_a_server_that_must_be_encrypted_and_is_not_is_refused(postgres: PostgresServer, url: str) -> None:
    with pytest.raises(StoreError, match="SSL"):
        open_store(f"{url}?sslmode=require")


async def test_the_servers_certificate_is_checked_where_that_is_asked_for(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL server here")
    server = PostgresServer(
        programs,
        {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"},
        files={
            "server.pem": b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
            "server.key": certificate.private_key_pem.bytes(),
        },
    )
    try:
        url = server.make_database().replace("127.0.0.1", "localhost")
        engine = await asyncio.to_thread(PostgresEngine, f"{url}?sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}")
        asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert await engine.read(lambda con: con.execute(asked).fetchone()[0]) is True
        await engine.close()
        with pytest.raises(StoreError, match="certificate") as caught:
            await asyncio.to_thread(open_store, f"{url}?sslmode=verify-full&sslrootcert={tmp_path / 'other.pem'}")
        assert not isinstance(caught.value, StoreBusy)
    finally:
        server.close()


async def test_settings_of_the_url_are_passed_on(url: str) -> None:
    engine = PostgresEngine(f"{url}?application_name=mine&sslmode=disable")
    assert await engine.read(lambda con: con.execute("SHOW application_name").fetchone()[0]) == "mine"
    await engine.close()


def test_an_encoding_that_cannot_hold_every_text_is_refused(postgres: PostgresServer) -> None:
    postgres.say("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StoreError, match="its encoding is not UTF8"):
        open_store(postgres.url("latin"))


def test_the_database_of_another_program_is_refused(postgres: PostgresServer, url: str) -> None:
    postgres.say("CREATE TABLE accounts (id INTEGER)", name_of(url))
    with pytest.raises(StoreError, match="not one of k2alert's"):
        open_store(url)
    assert postgres.say("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name_of(url)) == ["1"]


def test_a_role_that_may_not_create_tables_is_told_so(postgres: PostgresServer, url: str) -> None:
    postgres.say("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    with pytest.raises(StoreError, match="permission denied for schema public"):
        open_store(url.replace("k2:correct%20horse", "guest:guest"))
    postgres.say("DROP ROLE guest")


def test_the_library_is_asked_for_only_where_it_is_needed_and_named_where_it_is_missing() -> None:
    code = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "import k2alert.record as record\n"
        "try: record.open_store('postgresql://k2:hunter22@db/k2')\n"
        "except record.StoreError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "a PostgreSQL store needs asyncpg, which comes with k2alert[postgres]\n"


# ------------------------------------------------------------------------------------------- the schema


def test_two_that_open_at_once_make_one_schema(url: str) -> None:
    async def both() -> None:
        stores = await asyncio.gather(*(asyncio.to_thread(open_store, url) for _ in range(3)))
        await stores[0].save([finished_run("1", 1)])
        assert len(await entries_of(stores[1])) == 1
        for store in stores:
            await store.close()

    asyncio.run(both())


async def test_a_newer_schema_is_refused_while_an_older_process_goes_on(postgres: PostgresServer, url: str) -> None:
    store = open_store(url)
    postgres.say("INSERT INTO schema_version VALUES (999, 'later', '')", name_of(url))
    with pytest.raises(StoreError, match="its schema is version 999, this k2alert knows up to"):
        open_store(url)
    with pytest.raises(StoreError, match="its schema is version 999, this k2alert reads version"):
        look_into_store(url)
    await store.save([finished_run("1", 1)])
    assert len(await entries_of(store)) == 1
    await store.close()


async def test_a_migration_that_was_altered_is_refused(postgres: PostgresServer, url: str) -> None:
    await open_store(url).close()
    postgres.say("UPDATE schema_version SET checksum = 'x' WHERE version = 1", name_of(url))
    with pytest.raises(StoreError, match="its schema version 1 is not the released one"):
        open_store(url)


async def test_every_step_is_taken_once(postgres: PostgresServer, url: str) -> None:
    await open_store(url).close()
    await open_store(url).close()
    versions = postgres.say("SELECT version FROM schema_version ORDER BY version", name_of(url))
    assert versions == [str(step.version) for step in MIGRATIONS]


async def test_every_statement_is_one_that_postgresql_takes(engine: PostgresEngine) -> None:
    def prepare(con: Connection) -> list[str]:
        for number, sql in enumerate(QUERIES.values()):
            con.execute(f"PREPARE q{number} AS {sql}")
        return [row[0] for row in con.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'q%'")]

    assert len(await engine.read(prepare)) == len(QUERIES)


# ------------------------------------------------------------------------------------------ looking on


async def test_a_looker_on_sees_what_another_writes_and_changes_nothing(url: str) -> None:
    store = open_store(url)
    onlooker = look_into_store(url)
    saved = await store.save([finished_run("1", 10)])
    assert [entry async for batch in onlooker.entries(Kind.RUN) for entry in batch] == news(saved)
    await store.close()
    assert await onlooker.streams() == list(saved.streams)
    await onlooker.close()
    await onlooker.close()


async def test_a_role_that_may_only_select_may_look_on(postgres: PostgresServer, url: str) -> None:
    store = open_store(url)
    saved = await store.save([finished_run("1", 10)])
    await store.close()
    postgres.say("CREATE ROLE looker LOGIN PASSWORD 'looker'")
    postgres.say("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker", name_of(url))
    onlooker = look_into_store(url.replace("k2:correct%20horse", "looker:looker"))
    assert [entry async for batch in onlooker.entries(Kind.RUN) for entry in batch] == news(saved)
    await onlooker.close()
    postgres.say("DROP OWNED BY looker", name_of(url))
    postgres.say("DROP ROLE looker")


def test_a_database_without_a_store_cannot_be_looked_into(url: str) -> None:
    with pytest.raises(StoreError, match="not a store of k2alert's"):
        look_into_store(url)


# ------------------------------------------------------------------------------- texts that are hard to store


async def test_texts_that_postgresql_refuses_are_made_storable(engine: PostgresEngine) -> None:
    store = EngineStore(engine)
    hostile = "a\0b\ud800c\U0001f600"
    saved = await store.save([run(hostile, title=hostile, sha=hostile)])
    assert len(saved.opens) == 1
    assert len(await store.opens()) == 1


# ------------------------------------------------------------------------------------------ it goes away


@pytest.fixture
def mortal(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server, which a test may stop; it runs again afterwards."""
    yield postgres
    postgres.start()


async def test_a_server_that_is_restarted_costs_only_the_calls_meanwhile(mortal: PostgresServer, url: str) -> None:
    store = open_store(url)
    await store.save([finished_run("1", 1)])
    mortal.stop(signal.SIGQUIT)
    for call in (store.save([finished_run("2", 2)]), store.streams(), store.ping(), entries_of(store)):
        with pytest.raises(StoreBusy, match=r"^store postgresql://"):
            await call
    mortal.start()
    assert len(await entries_of(store)) == 1
    await store.save([finished_run("2", 2)])
    assert len(await entries_of(store)) == 2
    await store.close()


async def test_connections_that_were_cut_while_idle_cost_nothing(postgres: PostgresServer, url: str) -> None:
    store = open_store(url)
    await store.save([finished_run("1", 1)])
    cut_all(postgres, url)
    await store.save([finished_run("2", 2)])
    cut_all(postgres, url)
    assert len(await entries_of(store)) == 2
    assert len(await store.streams()) == 1
    await store.close()


async def test_a_database_that_is_made_read_only_is_read_and_is_down_for_whoever_writes(
    postgres: PostgresServer, url: str
) -> None:
    store = open_store(url)
    lease = store.campaign("one", lambda: 0.0)
    async with asyncio.timeout(30):
        await lease.changed()
    await asyncio.to_thread(postgres.say, f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    cut_all(postgres, url)
    for call in (store.ping(), store.save_silences([])):
        with pytest.raises(StoreBusy, match="read-only transaction"):
            await call
    assert await store.streams() == []
    async with asyncio.timeout(30):
        await lease.changed()  # and nobody else can take it
    await asyncio.to_thread(postgres.say, f"ALTER DATABASE {name_of(url)} RESET default_transaction_read_only")
    async with asyncio.timeout(30):
        await lease.changed()
    await store.save([finished_run("1", 1)])
    await store.close()


def cut_all(postgres: PostgresServer, url: str) -> None:
    postgres.say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(url)}'")


async def test_a_write_that_is_cut_in_the_middle_is_not_done(
    postgres: PostgresServer, url: str, engine: PostgresEngine
) -> None:
    def write(con: Connection) -> None:
        con.execute(QUERIES["put_note"], ("half", 1))
        cut_all(postgres, url)
        con.execute(QUERIES["put_note"], ("whole", 1))

    with pytest.raises(StoreBusy):
        await engine.write(write)
    found = await engine.read(lambda con: con.execute("SELECT name FROM notes").fetchall())
    assert found == []


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_write_whose_end_is_not_heard_of_is_asked_about(
    postgres: PostgresServer, url: str, arrives: bool
) -> None:
    async with CuttingProxy(postgres.port, b"COMMIT\0", arrives=arrives) as proxy:
        store = await asyncio.to_thread(open_store, url.replace(str(postgres.port), str(proxy.port)))
        await store.save([finished_run("1", 1)])
        proxy.cut_next()
        if arrives:
            assert len(news(await store.save([finished_run("2", 2)]))) == 1
        else:
            with pytest.raises(StoreBusy):
                await store.save([finished_run("2", 2)])
        assert proxy.cuts == 1
        assert len(await entries_of(store)) == 1 + arrives
        await store.close()


async def test_who_breaks_off_a_long_read_waits_for_no_server_and_leaves_no_connection(
    postgres: PostgresServer, url: str
) -> None:
    store = open_store(url)
    other = await asyncpg.connect(url)

    async def read() -> None:
        async with store.frozen() as moment:
            await moment.streams()

    before = await connections(postgres, url)
    lock = other.transaction()
    await lock.start()
    await other.execute("LOCK TABLE streams IN ACCESS EXCLUSIVE MODE")
    reading = asyncio.create_task(read())
    while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.02)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1
    await lock.rollback()
    while await connections(postgres, url) != before:
        await asyncio.sleep(0.02)
    await other.close()
    await store.close()


async def connections(postgres: PostgresServer, url: str) -> int:
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name_of(url)}'"
    return int((await asyncio.to_thread(postgres.say, sql))[0])


async def test_closing_while_somebody_still_reads_is_quiet(store: Store) -> None:
    await store.save([finished_run(str(n), n) for n in range(1, 30)])
    load = store.entries(Kind.RUN)
    async for _ in load:
        break
    await store.close()
    await load.aclose()  # type: ignore[attr-defined]
