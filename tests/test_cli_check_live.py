"""`k2alert check --live` against forges on loopback: what a token may read, and what not."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from k2alert.cli.check import command as check

TOKEN = "glpat-very-secret-0123456789"
PROJECT = "/api/v4/projects/k2%2Fapp"
Answers = dict[str, tuple[int, object]]

GITLAB: Answers = {
    "/api/v4/personal_access_tokens/self": (200, {"scopes": ["read_api"], "expires_at": "2027-01-01"}),
    PROJECT: (200, {"id": 1}),
    f"{PROJECT}/pipelines": (200, []),
    f"{PROJECT}/jobs": (200, []),
    f"{PROJECT}/deployments": (200, []),
    f"{PROJECT}/pipeline_schedules": (200, []),
    "/api/v4/groups/team/projects": (200, [{"id": 7, "path_with_namespace": "team/a"}]),
    "/api/v4/projects/7": (200, {"id": 7}),
    "/api/v4/projects/7/pipelines": (200, []),
    "/api/v4/projects/7/jobs": (200, []),
    "/api/v4/projects/7/deployments": (200, []),
    "/api/v4/projects/7/pipeline_schedules": (200, []),
}
GITHUB: Answers = {
    "/rate_limit": (200, {"rate": {"limit": 5000, "remaining": 4999}}),
    "/repos/o/r": (200, {"id": 1}),
    "/repos/o/r/actions/runs": (200, {"total_count": 0, "workflow_runs": []}),
    "/repos/o/r/deployments": (200, []),
    "/repos/o/r/contents/.github/workflows": (200, []),
}


@contextmanager
def forge(answers: Answers, asked: list[str] | None = None) -> Iterator[str]:
    """A server in a thread of its own, for the command runs a loop of its own; what it does not know is a 404."""
    loop = asyncio.new_event_loop()

    async def answer(request: web.Request) -> web.Response:
        if asked is not None:
            asked.append(request.raw_path)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "401 Unauthorized"}, status=401)
        status, data = answers.get(request.raw_path.partition("?")[0], (404, {"message": "404 Not Found"}))
        return web.json_response(data, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    loop.run_until_complete(server.start_server())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def call(sources: str, *arguments: str, rule: str = "success_rate < 0.9", token: str = TOKEN) -> Result:
        Path("k2alert.yml").write_text(
            f"""\
alert_rules:
- {{name: red, condition: {rule}, period: 24h, severity: warning, message: Red, min_samples: 5}}
notifications: {{slack: {{webhook_url: "https://hooks.example.com/x", channel: ci}}}}
sources:
{sources}
"""
        )
        return CliRunner().invoke(check, ["--live", *arguments], env={"K2ALERT_CONFIG": None, "TOKEN": token})

    return call


def test_all_that_a_token_may_read_is_said(run: Callable[..., Result]) -> None:
    with forge(GITLAB) as url:
        result = run(f"- {{type: gitlab, name: gl, url: '{url}', token: $TOKEN, projects: [k2/app], groups: [team]}}")

    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[:-1] == [
        "source gl:",
        "  token: scopes read_api; expires 2027-01-01",
        "  team: 1 projects",
        "  k2/app: may read project, pipelines, jobs, deployments, schedules",
        "  7: may read project, pipelines, jobs, deployments, schedules",
    ]


def test_what_may_not_be_read_is_a_warning_that_says_what_it_costs(run: Callable[..., Result]) -> None:
    denied = {**GITHUB, "/repos/o/r/deployments": (403, {"message": "Resource not accessible"})}
    with forge(denied) as url:
        result = run(f"- {{type: github, name: gh, url: '{url}', token: $TOKEN, repositories: [o/r]}}", "--strict")

    assert result.exit_code == 3, result.output
    assert "  token: 4999 of 5000 requests left" in result.output
    assert (
        "k2alert.yml:5:3: warning: gh: deployments of o/r cannot be read (probe: 403 Forbidden: Resource not "
        "accessible): no metrics of deployments" in result.output
    )


def test_a_project_that_cannot_be_read_is_an_error_and_nothing_more_is_asked_of_it(run: Callable[..., Result]) -> None:
    asked: list[str] = []
    with forge(GITLAB, asked) as url:
        result = run(f"- {{type: gitlab, name: gl, url: '{url}', token: $TOKEN, projects: [k2/gone, k2/app]}}")

    assert result.exit_code == 1
    assert "k2alert.yml:5:3: gl: project of k2/gone cannot be read (probe: 404 Not Found)" in result.output
    assert "k2/app: may read project" in result.output
    assert [path for path in asked if "gone" in path] == ["/api/v4/projects/k2%2Fgone"]


def test_a_wrong_token_and_a_host_where_nobody_answers_are_told_without_the_token(run: Callable[..., Result]) -> None:
    with forge(GITLAB) as url:
        result = run(
            f"- {{type: gitlab, name: gl, url: '{url}', token: $TOKEN, projects: [k2/app]}}\n"
            "- {type: github, name: gh, url: 'http://127.0.0.1:9', token: $TOKEN, repositories: [o/r, o/s]}",
            token="glpat-of-somebody-else",
        )

    assert result.exit_code == 1
    assert "k2alert.yml:5:3: gl: project of k2/app cannot be read (probe: 401 Unauthorized)" in result.output
    assert "k2alert.yml:6:3: gh: the token cannot be read" in result.output
    assert "o/r" not in result.output
    assert "somebody-else" not in result.output


def test_programs_get_the_same_as_json(run: Callable[..., Result]) -> None:
    with forge(GITHUB) as url:
        sources = f"- {{type: github, name: gh, url: '{url}', token: $TOKEN, repositories: [o/r]}}"
        said = json.loads(run(sources, "--output", "json").output)

    assert [(one["of"], one["what"], one["readable"]) for one in said["live"]] == [
        ("", "token", True),
        ("o/r", "project", True),
        ("o/r", "runs", True),
        ("o/r", "deployments", True),
        ("o/r", "contents", True),
    ]


def test_nobody_is_asked_while_something_is_wrong(run: Callable[..., Result]) -> None:
    asked: list[str] = []
    with forge(GITLAB, asked) as url:
        source = f"- {{type: gitlab, name: gl, url: '{url}', token: $TOKEN, projects: [k2/app]}}"
        wrong = run(source, rule="sucess_rate < 0.9")
        unset = run(source.replace("$TOKEN", "$NOT_SET"))

    assert not asked
    assert (wrong.exit_code, unset.exit_code) == (1, 0)
    assert "no source was asked" in wrong.output
    assert "no source was asked" in unset.output
