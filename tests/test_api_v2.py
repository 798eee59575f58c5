"""Alertmanager's API v2 through a real server: in Alertmanager's own shapes, and as amtool and our commands use it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import jsonschema
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner, Result

from k2alert.cli import main
from k2alert.config.model import Config, Web
from k2alert.expose.server import make_app, start
from k2alert.expose.view import Snapshot, View
from k2alert.intervals import Interval, Span
from k2alert.labels import parse_matcher
from k2alert.model import Alert, AlertState, Silence, SilenceState
from k2alert.notify.hush import Inhibition
from k2alert.notify.route import Receiver, Route
from k2alert.record import Store, StoreError, open_store
from k2alert.silences import KEEP_EXPIRED, Silences
from k2alert.times import iso
from tests.support.notified import HOUR, MINUTE, T0, alert, ended
from tests.support.openapi import OpenApi

ADMIN = "admin-token-1"
HOSTILE = "k2/\"<script>\\\u202e'{a=b}"


@dataclass
class Desk:
    """A server with silences in a real store, some alerts, and a clock."""

    folder: Path
    now: Any = None
    config: Config = field(default_factory=Config)
    alerts: dict[str, Alert] = field(default_factory=dict)
    admin: str | None = None
    read: str | None = None
    store: Store | None = None
    silences: Silences | None = None
    url: str = ""

    async def open(self) -> Silences:
        self.store = open_store(f"sqlite:///{self.folder}/k2alert.db")
        self.silences = Silences(
            self.store,
            alerts=lambda: self.alerts,
            config=lambda: self.config,
            now=lambda: self.now,
            new_id=lambda: str(uuid4()),
        )
        await self.silences.load()
        return self.silences

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self.now,
            interval=MINUTE,
            took=timedelta(0),
            alerts=tuple(self.alerts.values()),
            messages=dict.fromkeys(self.alerts, "Main is red"),
        )

    def app(self, silences: Silences) -> web.Application:
        async def nothing(*_: object) -> Any:
            return None

        asked: dict[str, Any] = dict.fromkeys(View.__dataclass_fields__, nothing)
        asked |= {
            "snapshot": self.snapshot,
            "quiet": silences.quiet(),
            "admin_token": lambda: self.admin,
            "read_token": lambda: self.read,
        }
        return make_app(View(**asked), loopback=True)

    def put(self, *alerts: Alert) -> None:
        self.alerts |= {one.key: one for one in alerts}


@asynccontextmanager
async def serving(folder: Path, **config: Any) -> AsyncIterator[tuple[Desk, aiohttp.ClientSession]]:
    desk = Desk(folder, T0)
    desk.config = Config(
        route=config.pop("route", Route(name="root", receiver="team")),
        receivers={name: Receiver(name) for name in ("team", "boss", "nobody")},
        web=Web(external_url="https://k2alert.example.com"),
        **config,
    )
    red, slow = alert(), alert("slow", project=HOSTILE)
    desk.put(red, slow, alert("waits", project="k2/web", state=AlertState.PENDING), ended(alert("old"), T0))
    runner, port = await start(desk.app(await desk.open()), "127.0.0.1:0")
    desk.url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(desk.url) as session:
            yield desk, session
    finally:
        await runner.cleanup()
        assert desk.store is not None
        await desk.store.close()


def wish(*matchers: str, length: timedelta = HOUR, **changes: Any) -> dict[str, Any]:
    made = [parse_matcher(text) for text in matchers]
    body = {
        "matchers": [
            {"name": m.name, "value": m.value, "isRegex": "~" in m.op, "isEqual": not m.op.startswith("!")}
            for m in made
        ],
        "startsAt": iso(T0),
        "endsAt": iso(T0 + length),
        "createdBy": "ana",
        "comment": "known",
    }
    return {**body, **changes}


async def post(session: aiohttp.ClientSession, body: Any, **headers: str) -> tuple[int, Any]:
    async with session.post("/api/v2/silences", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def get(session: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    async with session.get(f"/api/v2/{path}") as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


def names(alerts: list[dict[str, Any]]) -> set[str]:
    return {one["labels"]["alertname"] for one in alerts}


# ------------------------------------------------------------------------------------------ the shapes


@pytest.fixture(scope="module")
def swagger(shared_data: Path) -> dict[str, Any]:
    """Alertmanager's own document."""
    found: dict[str, Any] = yaml.safe_load((shared_data / "api/alertmanager-v2.yaml").read_text())
    return found


def check(swagger: Mapping[str, Any], name: str, value: Any) -> None:
    schema = {"$ref": f"#/definitions/{name}", "definitions": swagger["definitions"]}
    jsonschema.Draft4Validator(schema).validate(value)  # our own document's check holds times to their form


async def test_every_answer_is_one_of_alertmanagers_own_document_and_of_ours(
    swagger: dict[str, Any], tmp_path: Path
) -> None:
    async with serving(tmp_path) as (_, session):
        _, saved = await post(session, wish('project=~"k2/app"', "team!~x.*"))
        ours = OpenApi(await get(session, "openapi.json"), prefix="/api/v2")
        for path, name in {
            "status": "alertmanagerStatus",
            "alerts": "gettableAlerts",
            "alerts/groups": "alertGroups",
            "silences": "gettableSilences",
            f"silence/{saved['silenceID']}": "gettableSilence",
        }.items():
            async with session.get(f"/api/v2/{path}") as answer:
                body = await answer.read()
                check(swagger, name, json.loads(body))
                assert ours.check_response("GET", f"/api/v2/{path}", answer.status, answer.headers, body) == []
        assert await get(session, "receivers") == [{"name": name} for name in ("team", "boss", "nobody")]


@dataclass(frozen=True)
class Client:
    """A client made from Alertmanager's own document: what it may not ask, and what it can't read, fails the test."""

    document: Mapping[str, Any]
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, query: str = "", body: Any = None, **names: str) -> Any:
        """Calls the operation; `path` as in the document, with `names` to be put into it."""
        operation = self.document["paths"][path][method.lower()]
        parameters = [self._resolved(one) for one in operation.get("parameters", ())]
        asked = {pair.partition("=")[0] for pair in query.split("&") if pair}
        assert asked <= {one["name"] for one in parameters if one["in"] == "query"}, asked
        for one in parameters:
            if one["in"] == "body":
                self._check(one["schema"], body)
        url = f"/api/v2{path.format(**names)}" + (f"?{query}" if query else "")
        async with self.session.request(method, url, json=body) as answer:
            said = self._resolved(operation["responses"][str(answer.status)])
            if "schema" not in said:
                return answer.status
            assert answer.content_type == "application/json"
            found = await answer.json()
        self._check(said["schema"], found)
        return found

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        found: Any = self.document
        for word in part["$ref"].removeprefix("#/").split("/") if "$ref" in part else ():
            found = found[word]
        return found if "$ref" in part else part

    def _check(self, schema: Mapping[str, Any], value: Any) -> None:
        whole = {**schema, "definitions": self.document["definitions"]}
        jsonschema.Draft4Validator(whole).validate(value)


async def test_the_calls_of_a_dashboard_are_answered_as_alertmanagers_document_says(
    swagger: dict[str, Any], tmp_path: Path
) -> None:
    """What karma and the like do: read status, groups and silences, silence a group, see it, and end that."""
    shown = "active=true&silenced=true&inhibited=true"
    async with serving(tmp_path) as (_, session):
        client = Client(swagger, session)
        status = await client.ask("GET", "/status")
        assert status["cluster"]["status"] == "disabled"
        assert [one["name"] for one in await client.ask("GET", "/receivers")] == ["team", "boss", "nobody"]
        groups = await client.ask("GET", "/alerts/groups", shown)
        (red,) = (one for group in groups for one in group["alerts"] if one["labels"]["alertname"] == "main_is_red")
        assert red["status"]["state"] == "active"
        matchers = [
            {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in red["labels"].items()
        ]
        draft = wish("a=b", matchers=matchers)
        id = (await client.ask("POST", "/silences", body=draft))["silenceID"]
        found = await client.ask("GET", "/alerts", f'{shown}&unprocessed=true&filter=alertname="main_is_red"')
        assert [one["status"]["silencedBy"] for one in found] == [[id]]
        assert found[0]["fingerprint"] == red["fingerprint"]
        assert (await client.ask("GET", "/silence/{silenceID}", silenceID=id))["status"]["state"] == "active"
        changed = {**draft, "id": id, "comment": "for longer", "endsAt": iso(T0 + 2 * HOUR)}
        assert (await client.ask("POST", "/silences", body=changed))["silenceID"] == id
        assert await client.ask("DELETE", "/silence/{silenceID}", silenceID=id) == 200
        (over,) = await client.ask("GET", "/silences", "filter=alertname=main_is_red")
        assert (over["id"], over["comment"], over["status"]["state"]) == (id, "for longer", "expired")
        assert await client.ask("DELETE", "/silence/{silenceID}", silenceID="none") == 404
        assert "not a matcher" in await client.ask("GET", "/alerts/groups", "filter=nonsense")
        assert "its own alerts" in await client.ask("POST", "/alerts", body=[{"labels": {"alertname": "x"}}])


# ------------------------------------------------------------------------------------- alerts and groups


async def test_alerts_say_what_keeps_them_quiet_and_filters_choose_by_it(tmp_path: Path) -> None:
    inhibition = Inhibition((parse_matcher("alertname=main_is_red"),), (parse_matcher("alertname=slow"),))
    mute = Interval("always", (Span(),))
    async with serving(tmp_path, inhibitions=(inhibition,), route=Route(name="r", receiver="team", mute=(mute,))) as (
        desk,
        session,
    ):
        _, saved = await post(session, wish("alertname=main_is_red"))
        desk.put(alert("other"))
        by_name = {one["labels"]["alertname"]: one for one in await get(session, "alerts")}
        assert {name: one["status"] for name, one in by_name.items()} == {
            "main_is_red": {
                "state": "suppressed",
                "silencedBy": [saved["silenceID"]],
                "inhibitedBy": [],
                "mutedBy": ["always"],
            },
            "slow": {
                "state": "suppressed",
                "silencedBy": [],
                "inhibitedBy": [by_name["main_is_red"]["fingerprint"]],
                "mutedBy": ["always"],
            },
            "other": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": ["always"]},
        }
        assert by_name["slow"]["labels"]["project"] == HOSTILE
        assert by_name["slow"]["annotations"]["message"] == "Main is red"
        for query, found in {
            "silenced=false": {"slow", "other"},
            "inhibited=false": {"main_is_red", "other"},
            "active=false": {"main_is_red", "slow"},
            "silenced=false&inhibited=false&unprocessed=false": {"other"},
            'filter=alertname="slow"': {"slow"},
            'filter=alertname%3D~"s.*|o.*"&filter=severity!=critical': {"slow", "other"},
            "receiver=te.m": {"main_is_red", "slow", "other"},
            "receiver=te": set(),
        }.items():
            assert names(await get(session, f"alerts?{query}")) == found, query
        assert await get(session, "alerts/groups?muted=false") == []


async def test_alert_groups_are_those_of_the_routes(tmp_path: Path) -> None:
    boss = Route(
        name="pages", receiver="boss", matchers=(parse_matcher("alertname=slow"),), group_by=(), continues=True
    )
    team = Route(name="rest", receiver="team", group_by=("severity",))
    async with serving(tmp_path, route=Route(name="root", receiver="nobody", routes=(boss, team))) as (_, session):
        groups = await get(session, "alerts/groups")
        assert [(one["receiver"]["name"], one["labels"], names(one["alerts"])) for one in groups] == [
            ("boss", {}, {"slow"}),
            ("team", {"severity": "warning"}, {"slow", "main_is_red"}),
        ]
        only = await get(session, "alerts/groups?receiver=boss&filter=alertname=main_is_red")
        assert only == []
        both = {one["labels"]["alertname"]: one["receivers"] for one in await get(session, "alerts")}
        assert both["slow"] == [{"name": "boss"}, {"name": "team"}]


@pytest.mark.parametrize(
    "path",
    [
        "alerts?filter=nonsense",
        "alerts?receiver=(",
        "alerts?active=perhaps",
        "silences?filter=a=~(",
        "alerts/groups?filter={}",
    ],
)
async def test_a_question_that_cannot_be_meant_is_answered_with_a_sentence(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as (_, session):
        assert isinstance(await get(session, path, 400), str)


async def test_alerts_of_others_are_not_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session), session.post("/api/v2/alerts", json=[]) as answer:
        assert (answer.status, "its own alerts" in await answer.json()) == (400, True)


# --------------------------------------------------------------------------------------------- silences


async def test_a_silence_is_made_changed_ended_and_forgotten_and_outlives_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, session):
        assert desk.silences is not None
        status, saved = await post(session, wish("project=k2/app"))
        first = saved["silenceID"]
        assert (status, [one["id"] for one in await get(session, "silences")]) == (200, [first])
        longer = wish("project=k2/app", length=2 * HOUR, id=first, comment="longer")
        assert await post(session, longer) == (200, {"silenceID": first})
        other = (await post(session, {**longer, "matchers": wish("project=k2/web")["matchers"]}))[1]["silenceID"]
        assert other != first  # it is about something else: the first is over
        states = {one["id"]: one["status"]["state"] for one in await get(session, "silences")}
        assert states == {first: "expired", other: "active"}
        assert [one["id"] for one in await get(session, "silences?expired=false")] == [other]
        assert [one["id"] for one in await get(session, "silences?filter=project=k2/web")] == [other]
        async with session.delete(f"/api/v2/silence/{other}") as answer:
            assert answer.status == 200
        assert (await get(session, f"silence/{other}"))["status"]["state"] == "expired"
        assert desk.store is not None
        await desk.store.close()
        assert {one.id for one in (await desk.open()).all()} == {first, other}
        desk.now += KEEP_EXPIRED + MINUTE
        await desk.silences.tidy(now=desk.now)
        assert desk.silences.all() == ()
        assert await get(session, "silence/none", 404) == "silence none not found"


async def test_a_silence_until_resolved_ends_by_itself(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, session):
        assert desk.silences is not None
        _, saved = await post(session, wish("project=k2/app", length=999 * HOUR, untilResolved=True))
        (listed,) = await get(session, "silences")
        assert (listed["id"], listed["untilResolved"]) == (saved["silenceID"], True)
        await desk.silences.tidy(now=T0 + MINUTE)
        assert [one.state(T0 + MINUTE) for one in desk.silences.all()] == [SilenceState.ACTIVE]
        desk.put(ended(next(one for one in desk.alerts.values() if one.rule == "main_is_red"), T0 + MINUTE))
        await desk.silences.tidy(now=T0 + MINUTE)
        assert [one.state(T0 + MINUTE) for one in desk.silences.all()] == [SilenceState.EXPIRED]
        refused = await post(session, wish("project=k2/none", untilResolved=True))
        assert (refused[0], "nothing fires" in refused[1]) == (400, True)


async def test_a_pending_silence_that_is_ended_never_begins(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session):
        later = wish("project=k2/app", startsAt=iso(T0 + MINUTE))
        _, saved = await post(session, later)
        assert [one["status"]["state"] for one in await get(session, "silences")] == ["pending"]
        await post(session, {**later, "id": saved["silenceID"], "startsAt": iso(T0 + 2 * MINUTE)})
        (moved,) = await get(session, "silences")
        assert (moved["id"], moved["startsAt"]) == (saved["silenceID"], iso(T0 + 2 * MINUTE))
        async with session.delete(f"/api/v2/silence/{moved['id']}") as answer:
            assert answer.status == 200
        assert [one["status"]["state"] for one in await get(session, "silences")] == ["expired"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "must be a JSON object"),
        ({}, "matchers"),
        (wish(), "at least one matcher"),
        (wish('project=~".*"'), "everything"),
        (wish('project!="k2/app"'), "everything"),
        (wish('alertname=~".+"'), "everything"),
        (wish('severity!=""', 'team=""'), "everything"),
        (wish("project=k2/app", length=-HOUR), "past"),
        (wish("project=k2/app", startsAt=iso(T0 + 2 * HOUR)), "after start"),
        (wish("project=k2/app", startsAt="yesterday"), "startsAt"),
        (wish("project=k2/app", startsAt="0001-01-01T00:00:00+23:00"), "startsAt"),
        (wish("project=k2/app", comment="x" * 1001), "comment"),
        (wish("project=k2/app", comment=None), "comment"),
        (wish("project=k2/app", createdBy=7), "createdBy"),
        (wish("project=k2/app", matchers=[{"name": "a", "value": "(", "isRegex": True}]), "regular expression"),
        (wish("project=k2/app", matchers=[{"name": "a b", "value": "x", "isRegex": False}]), "label"),
        (wish("project=k2/app", matchers=[{"name": "a", "value": "x" * 9000, "isRegex": False}]), "not a matcher"),
        (wish("project=k2/app", matchers=["a=b"]), "object"),
        (wish("project=k2/app", matchers=[{"name": "a", "value": "x"}] * 101), "at most 100"),
        (wish("project=k2/app", untilResolved="yes"), "untilResolved"),
    ],
)
async def test_a_silence_that_cannot_be_meant_is_refused(tmp_path: Path, body: Any, said: str) -> None:
    async with serving(tmp_path) as (desk, session):
        status, text = await post(session, body)
        assert (status, said in text) == (400, True), text
        assert desk.silences is not None
        assert desk.silences.all() == ()
        assert (await post(session, wish("a=b", id="none")))[0] == 404


async def test_a_body_that_is_no_json_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session):
        for body in (b"", b"{", b"\xff", b"[" * 100_000):
            async with session.post("/api/v2/silences", data=body) as answer:
                assert (answer.status, await answer.json()) == (400, "the body must be JSON")


async def test_reading_needs_the_read_token_and_writing_the_admins(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, session):
        desk.admin, desk.read = ADMIN, "reader"
        statuses = {}
        for token in ("", "reader", ADMIN):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.get("/api/v2/silences", headers=headers) as answer:
                reading = answer.status
            statuses[token] = (reading, (await post(session, wish("a=b"), **headers))[0])
        assert statuses == {"": (401, 401), "reader": (200, 401), ADMIN: (200, 200)}


async def test_a_store_that_is_down_keeps_no_silence(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, _):
        broken = Silences(
            _Down(),  # type: ignore[arg-type]
            alerts=lambda: desk.alerts,
            config=lambda: desk.config,
            now=lambda: desk.now,
            new_id=lambda: "1",
        )
        runner, port = await start(desk.app(broken), "127.0.0.1:0")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as there:
            assert await post(there, wish("a=b")) == (503, "the store is down: disk full")
        await runner.cleanup()
        assert broken.all() == ()


class _Down:
    async def silences(self) -> list[Silence]:
        return []

    async def save_silences(self, *_: object, **__: object) -> None:
        raise StoreError("disk full")


# ---------------------------------------------------------------------------------- amtool and our commands


async def run(*words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"HOME": "/nonexistent"}
    )
    out, wrong = await process.communicate()
    return process.returncode or 0, out.decode() or (wrong.decode() if process.returncode else "")


async def test_amtool_lists_alerts_and_adds_queries_and_expires_silences(tmp_path: Path) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("there is no amtool here")
    secret = tmp_path / "http.yml"
    secret.write_text(f"authorization: {{type: Bearer, credentials: {ADMIN}}}\n")
    async with serving(tmp_path) as (desk, _):
        desk.now = T0.replace(year=2050)  # amtool's own clock says when a silence begins
        desk.admin = desk.read = ADMIN

        async def am(*words: str, http: bool = True) -> tuple[int, str]:
            file = [f"--http.config.file={secret}"] if http else []
            return await run(amtool, f"--alertmanager.url={desk.url}", *file, *words)

        assert (await am("alert", "query", http=False))[0] != 0
        status, out = await am("alert", "query", "-o", "json")
        assert (status, out[:1]) == (0, "["), out
        assert names(json.loads(out)) == {"main_is_red", "slow"}
        assert "disabled" in (await am("cluster", "show"))[1]
        assert "shows its configuration to nobody" in (await am("config", "show"))[1]
        status, out = await am("alert", "query", 'alertname=~"main.*"', "--receiver=team", "-o", "extended")
        assert (status, "main_is_red" in out, "slow" in out) == (0, True, False)
        long = ["--end", "2060-01-01T00:00:00Z", "--author", "ana", "--comment", "known"]
        status, out = await am("silence", "add", 'project="k2/app"', "alertname!=slow", *long)
        assert status == 0, out
        id = out.strip()
        status, out = await am("silence", "query", "-o", "json")
        (listed,) = json.loads(out)
        assert (listed["id"], listed["comment"], listed["createdBy"]) == (id, "known", "ana")
        assert {(one["name"], one["isEqual"]) for one in listed["matchers"]} == {
            ("project", True),
            ("alertname", False),
        }
        assert names(json.loads((await am("alert", "query", "-o", "json"))[1])) == {"slow"}
        assert names(json.loads((await am("alert", "query", "--silenced", "-o", "json"))[1])) == {"main_is_red"}
        status, out = await am("silence", "update", id, "--end", "2061-01-01T00:00:00Z", "--comment", "longer")
        assert status == 0, out
        assert await am("silence", "expire", id) == (0, "")
        over = json.loads((await am("silence", "query", "-o", "json"))[1])
        assert [(one["id"], one["status"]["state"]) for one in over] == [(id, "expired")]
        assert (await am("silence", "add", 'project=~".*"', *long))[0] == 1
        assert (await am("alert", "add", "a=b"))[0] == 1


def invoke(*words: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, list(words), env={"K2ALERT_URL": None, **(env or {})})


async def test_our_commands_list_alerts_and_add_list_and_expire_silences(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{ADMIN}\n")
    async with serving(tmp_path) as (desk, _):
        desk.admin = desk.read = ADMIN
        env = {"K2ALERT_URL": desk.url}

        async def ours(*words: str, status: int = 0) -> str:
            found = await asyncio.to_thread(invoke, *words, "--token-file", str(token), env=env)
            assert found.exit_code == status, found.output
            return found.output

        listed = await ours("alerts")
        assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
            ["firing", "main_is_red"],
            ["firing", "slow"],
            ["pending", "waits"],
        ]
        assert "\u202e" not in listed
        desk.now = T0.replace(year=2020)  # the commands' own clock says when a silence begins and ends
        id = (await ours("silence", "add", 'project="k2/app"', "--for", "52w", "--comment", "known")).strip()
        desk.now = T0.replace(year=2026, month=12)
        assert desk.silences is not None
        assert [one.id for one in desk.silences.all()] == [id]
        table = await ours("silence", "list")
        assert [id, 'project="k2/app"', "known"] == [
            word for word in table.split() if word in (id, 'project="k2/app"', "known")
        ]
        assert json.loads(await ours("silence", "list", "--output", "json"))[0]["id"] == id
        await ours("silence", "expire", id)
        assert await ours("silence", "list") == "There are no silences.\n"
        assert "expired" in await ours("silence", "list", "--expired")
        refused = await ours("silence", "add", 'project=~".*"', "--for", "2h", "--comment", "x", status=1)
        assert "everything" in refused
        assert "not found" in await ours("silence", "expire", "none/../x", status=1)
        bare = await asyncio.to_thread(invoke, "alerts", env=env)
        assert (bare.exit_code, bare.output) == (1, "k2alert: refused (401): a token is needed\n")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["silence", "add", "project", "--for", "2h", "--comment", "x"], 2, "not a matcher"),
        (["silence", "add", "a=b", "--comment", "x"], 2, "--until-resolved"),
        (["silence", "add", "a=b", "--for", "soon", "--comment", "x"], 2, "--for"),
        (["silence", "add", "a=b", "--for", "2h"], 2, "--comment"),
        (["silence", "add", "--for", "2h", "--comment", "x"], 2, "MATCHERS"),
        (["alerts", "--url", "localhost:9725"], 2, "--url"),
        (["alerts", "--url", "http://127.0.0.1:1"], 1, "no answer from"),
        (["alerts", "--token-file", "/nonexistent"], 1, "/nonexistent"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(words: list[str], status: int, said: str) -> None:
    found = invoke(*words)
    assert (found.exit_code, said in found.output, "Traceback" in found.output) == (status, True, False), found.output
