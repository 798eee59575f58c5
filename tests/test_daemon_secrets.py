"""No secret leaves the process but to whom it is for: not in logs, on HTTP, in the database, in anything printed."""

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from k2alert.app import Options
from k2alert.cli import main
from k2alert.config.load import load
from k2alert.logs import LogFormat, Secrets, set_up_logging
from k2alert.measure.catalogue import METRICS
from tests.support.daemon import Clock, daemon, until
from tests.support.hostile_forge import Oddity, hostile_forge
from tests.support.smtp import mail_server

SECRET = "SeCrEt"
ENVIRON = {
    "FORGE_TOKEN": f"glpat-{SECRET}-1",
    "SHUT_TOKEN": f'glpat-{SECRET}-"2"',
    "BOT_TOKEN": f"xoxb-{SECRET}-3",
    "MAIL_PASSWORD": f'{SECRET} "m\\ail" päss',
    "ADMIN_TOKEN": f"{SECRET}-admin",
}
PATHS = ("/", "/metrics", "/api/v1/rules", "/api/v1/alerts", "/api/v1/explain?rule=red", "/-/ready", "/api/v1/nope")
CONFIG = """
sources:
  - {type: gitlab, name: gitlab, url: "FORGE/gl", token: $FORGE_TOKEN, projects: [k2/app], poll_interval: 100ms, backfill: 2d}
  - {type: gitlab, name: shut, url: "PARROT", token: $SHUT_TOKEN, projects: [k2/app], poll_interval: 100ms, backfill: 2d}
store: sqlite:///FOLDER/k2alert.db
evaluation_interval: 100ms
web: {admin_token: $ADMIN_TOKEN}
alert_rules:
  - {name: red, condition: consecutive_failures >= 3, period: 24h, severity: warning, message: "x"}
receivers:
  - name: team
    slack: [{webhook_url: $HOOK_URL}, {bot_token: $BOT_TOKEN, api_url: "PARROT/api/", channel: "#ci"}]
    email: {smtp_server: "localhost:PORT", smtp_user: k2alert, smtp_password: $MAIL_PASSWORD, ca_file: CA_FILE,
            from_address: ci@k2.test, to_addresses: [team@k2.test]}
route: {receiver: team, group_wait: 0s, group_interval: 1s}
"""  # noqa: E501 - a source on each line


async def repeat(request: web.Request) -> web.Response:
    """Refuses, and repeats all that it was sent, as a careless proxy does."""
    said = f"{request.method} {request.url} {dict(request.headers)} {await request.text()}"
    return web.Response(status=401 if "/api/v4" in request.path else 404, text=said)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where the log goes; the root logger is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_run_in_which_everything_is_refused_shows_no_secret(
    tmp_path: Path, log: io.StringIO, style: LogFormat
) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", repeat)
    parrot = TestServer(app, host="127.0.0.1")
    await parrot.start_server()
    where = str(parrot.make_url("")).rstrip("/")
    environ = {**ENVIRON, "HOOK_URL": f"{where}/services/T1/B1/{SECRET}"}
    async with hostile_forge({"k2/app": Oddity()}) as forge, mail_server(tmp_path) as mail:
        text = CONFIG.replace("FORGE/", f"{forge.url}/").replace("PARROT", where).replace("FOLDER", str(tmp_path))
        config = tmp_path / "k2alert.yml"
        config.write_text(text.replace("PORT", str(mail.port)).replace("CA_FILE", mail.ca_file))
        secrets = Secrets()
        set_up_logging(style, "debug", secrets, log)
        async with daemon(config, Clock(), environ, secrets) as running:
            await until(lambda: log.getvalue().count("a notification failed") >= 3, "three that are refused")
            await until(lambda: "shut cannot be read" in log.getvalue(), "the source that is shut")
            shown = [await running.text(path) for path in PATHS]
    await parrot.close()

    loaded = load(config, environ=environ, metrics=METRICS)
    printed = [repr(loaded), repr(loaded.config), repr(Options(config=config, environ=environ, secrets=secrets))]
    for arguments in (
        ["check", str(config)],
        ["explain", "red", "--message", str(tmp_path / "seen"), "--config", str(config)],
    ):
        told = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environ, catch_exceptions=False)
        printed.append(told.output)
    printed += [file.read_text("utf-8", "replace") for file in (tmp_path / "seen").rglob("*.*")]
    stored = [file.read_bytes().decode("utf-8", "replace") for file in tmp_path.glob("k2alert.db*")]
    assert "login refused" in log.getvalue()
    assert any("the condition holds" in text for text in printed)
    for where_to in (log.getvalue(), *shown, *printed, *stored):
        assert SECRET not in where_to
