"""Recorded history on its way: out of a daemon or a file, and rehearsed as if the store itself were read."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from k2alert.archive import history_lines
from k2alert.cli import main
from k2alert.history import HistoryError, read_line
from k2alert.model import Kind
from k2alert.record import Store, look_into_store
from k2alert.rehearse.history_source import History, fetch_history, read_history
from tests.support.daemon import a_world, daemon, until_judged
from tests.support.looks import at
from tests.support.reported import every_kind
from tests.test_cli_backtest import DAY, MAIN, RED, fill, history, rules


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "k2alert.yml").write_text(MAIN.replace("{store}", str(tmp_path / "k.db")))
    (tmp_path / "rules.yml").write_text(rules(RED % 3))
    return tmp_path


async def lines_of(store: Store, **asked: object) -> list[bytes]:
    chunks = history_lines(store, await store.projects(), **{"since": None, "until": at(10 * DAY), **asked})  # type: ignore[arg-type]
    return [line for chunk in [chunk async for chunk in chunks] for line in chunk.splitlines(keepends=True)]


def taken(lines: list[bytes]) -> History:
    found = History()
    for line in lines:
        found.take(line)
    found.check()
    return found


async def rows(store: object) -> dict[str, object]:
    """All that a backtest asks of a store."""
    return {
        "streams": await store.streams(),  # type: ignore[attr-defined]
        **{kind.value: [row async for page in store.entries(kind) for row in page] for kind in (Kind.RUN, Kind.JOB)},  # type: ignore[attr-defined]
        **{
            kind.value: [row async for page in store.facts(kind) for row in page]  # type: ignore[attr-defined]
            for kind in (Kind.TEST, Kind.COVERAGE, Kind.DEPLOYMENT, Kind.SCHEDULE)
        },
        "tests": sorted([test async for page in store.tests() for test in page]),  # type: ignore[attr-defined]
    }


async def test_a_store_and_its_history_answer_the_same(folder: Path) -> None:
    await fill(folder / "k.db", history("fix/<!channel>\u202e"))
    store = look_into_store(f"sqlite:///{folder}/k.db")
    try:
        copy = taken(await lines_of(store))  # type: ignore[arg-type]
        assert await rows(copy) == await rows(store)
        refs = [row.ref for row in (await rows(copy))[Kind.RUN.value]]  # type: ignore[attr-defined]
        assert await copy.run_evidence(refs) == await store.run_evidence(refs)
        assert len(refs) == 239
    finally:
        await store.close()


async def test_reports_deployments_and_schedules_are_in_it_too(store: Store) -> None:
    await every_kind(store, at(600))
    copy, original = await rows(taken(await lines_of(store))), await rows(store)
    assert copy == original
    assert [name for name, found in original.items() if not found] == ["job"]


async def test_it_can_begin_later_and_be_of_one_project(folder: Path) -> None:
    await fill(folder / "k.db", history())
    store = look_into_store(f"sqlite:///{folder}/k.db")
    try:
        late = taken(await lines_of(store, since=at(9 * DAY)))  # type: ignore[arg-type]
        other = taken(await lines_of(store, project="k2/other"))  # type: ignore[arg-type]
    finally:
        await store.close()
    assert len((await rows(late))[Kind.RUN.value]) == 24  # type: ignore[arg-type]
    assert await other.projects() == await other.streams() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines[:-1], "cut off"),
        (lambda lines: lines[1:], "line 1: a history begins"),
        (lambda lines: [lines[0], *lines], "line 2: a history begins"),
        (lambda lines: [], "cut off"),
        (lambda lines: [*lines[:3], b"{", *lines[3:]], "line 4: not a line"),
        (lambda lines: [*lines[:3], b"[]", *lines[3:]], "line 4: not a line"),
        (lambda lines: [*lines[:3], b'{"type": "run", "result": "fine"}', *lines[3:]], "line 4: not a line"),
        (lambda lines: [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]], "version 2"),
        (lambda lines: [*lines[:5], *lines[6:]], "cut off"),
    ],
)
async def test_what_is_no_whole_history_is_refused_with_its_line(folder: Path, change: object, says: str) -> None:
    await fill(folder / "k.db", history()[:20])
    store = look_into_store(f"sqlite:///{folder}/k.db")
    lines = await lines_of(store)  # type: ignore[arg-type]
    await store.close()
    file = folder / "history.ndjson"
    file.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in change(lines)))  # type: ignore[operator]

    with pytest.raises(HistoryError, match=says):
        read_history(file)
    with pytest.raises(HistoryError):
        read_line(b"\xff")


def backtest(folder: Path, *options: str, token: str | None = None) -> tuple[int, str]:
    environ = {"K2ALERT_TOKEN": token}
    arguments = ["backtest", "--config", str(folder / "k2alert.yml"), "--since", "10d", "--output", "json", *options]
    ran = CliRunner(env=environ).invoke(main, arguments)
    return ran.exit_code, ran.output


async def test_a_backtest_of_a_file_is_that_of_the_store(folder: Path) -> None:
    await fill(folder / "k.db", history())
    store = look_into_store(f"sqlite:///{folder}/k.db")
    (folder / "history.ndjson").write_bytes(b"".join(await lines_of(store)))  # type: ignore[arg-type]
    await store.close()
    import asyncio

    of_store = await asyncio.to_thread(backtest, folder)
    of_file = await asyncio.to_thread(backtest, folder, "--history", str(folder / "history.ndjson"))
    gone = await asyncio.to_thread(backtest, folder, "--history", str(folder / "nothing"))

    assert of_file == of_store
    assert of_store[0] == 0
    assert len(json.loads(of_store[1])["rules"]) == 1
    assert gone[0] == 1
    assert "No such file" in gone[1]


async def test_a_daemon_serves_its_history_to_who_has_the_read_token(tmp_path: Path) -> None:
    async with a_world() as world:
        for hour in range(30):
            world.run("failed" if 10 < hour < 15 else "success", ago=timedelta(hours=30 - hour))
        (tmp_path / "k2alert.yml").write_text(
            f"""
sources: [{{type: gitlab, name: gitlab, url: "{world.url}", token: t, projects: [k2/app], backfill: 2d}}]
store: "sqlite:///{tmp_path}/k.db"
rule_files: [rules.yml]
web: {{read_token: r3ad-t0ken}}
notifications: {{slack: {{webhook_url: "http://127.0.0.1:9/x"}}}}
"""
        )
        (tmp_path / "rules.yml").write_text(rules(RED % 3))
        (tmp_path / "token").write_text("r3ad-t0ken\n")
        async with daemon(tmp_path / "k2alert.yml", world.clock) as running:
            await until_judged(running)
            url = f"http://127.0.0.1:{running.port}"
            copy = await fetch_history(url, token="r3ad-t0ken")
            with pytest.raises(HistoryError, match="answers 401"):
                await fetch_history(f"{url}/api/v1/history")
    assert len((await rows(copy))[Kind.RUN.value]) == 30  # type: ignore[arg-type]


async def test_no_token_leaves_for_another_host_and_none_is_shown(tmp_path: Path) -> None:
    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:9/elsewhere")

    app = web.Application()
    app.router.add_get("/api/v1/history", moved)
    server = TestServer(app)
    await server.start_server()
    try:
        with pytest.raises(HistoryError, match="302") as refused:
            await fetch_history(f"http://127.0.0.1:{server.port}", token="s3cret-token")
        with pytest.raises(HistoryError, match="302") as hidden:
            await fetch_history(f"http://user:hunter22@127.0.0.1:{server.port}")
    finally:
        await server.close()
    assert "s3cret" not in str(refused.value)
    assert "hunter22" not in str(hidden.value)
