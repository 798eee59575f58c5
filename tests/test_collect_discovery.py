"""Which projects a source reads: listings as flows, what is chosen of them, and groups through the whole daemon."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k2alert.collect.discovery import MOST_PAGES, Found, Listing, chosen
from k2alert.collect.flow import Answer, Failure, Request, Response
from k2alert.collect.github_owners import list_owner
from k2alert.collect.gitlab_groups import list_group
from k2alert.collect.settings import SourceSettings
from tests.support.daemon import PROJECT, World, a_world, daemon, until, until_seen
from tests.support.slack import TOKEN, Slack, stand_in_slack

# ---------------------------------------------------------------------------------------------- listings


def listed(flow: Listing, answers: Callable[[Request], Answer]) -> tuple[tuple[Found, ...] | Failure, list[Request]]:
    """What a listing returns, and what it asked."""
    asked: list[Request] = []
    try:
        request = next(flow)
        while True:
            asked.append(request)
            request = flow.send(answers(request))
    except StopIteration as end:
        return end.value, asked


def gitlab_project(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "path_with_namespace": f"k2/p{number}", "archived": False, **fields}


def github_repository(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "full_name": f"k2/r{number}", "archived": False, "disabled": False, **fields}


def test_a_group_is_read_to_its_last_page_by_numbers() -> None:
    def answers(request: Request) -> Answer:
        page = int(dict(request.params)["page"])
        items = [gitlab_project(page * 100 + n) for n in range(100 if page < 3 else 7)]
        return Response(200, {"x-next-page": str(page + 1) if page < 3 else ""}, items)

    found, asked = listed(list_group("k2/deep group"), answers)

    assert not isinstance(found, Failure)
    assert len(found) == 207
    assert found[0] == Found("100", "k2/p100", "100")
    assert {request.path for request in asked} == {"/v4/groups/k2%2Fdeep%20group/projects"}
    assert {"include_subgroups": "true", "archived": "false", "with_shared": "false"}.items() <= dict(
        asked[0].params
    ).items()


def test_an_organization_is_read_to_its_last_page() -> None:
    def answers(request: Request) -> Answer:
        page = int(dict(request.params)["page"])
        link = f'<https://elsewhere.test/x?page={page + 1}>; rel="next"' if page < 3 else ""
        return Response(200, {"link": link}, [github_repository(page * 10 + n) for n in range(10)])

    found, asked = listed(list_owner("k2"), answers)

    assert not isinstance(found, Failure)
    assert [one.key for one in found] == [f"k2/r{number}" for number in range(10, 40)]
    assert [request.path for request in asked] == ["/orgs/k2/repos"] * 3


def test_an_owner_that_is_no_organization_is_a_person() -> None:
    def answers(request: Request) -> Answer:
        gone = Failure("not_found", "404", 404)
        return gone if request.path.startswith("/orgs/") else Response(200, {}, [github_repository(1)])

    found, asked = listed(list_owner("ada"), answers)

    assert found == (Found("k2/r1", "k2/r1", "1"),)
    assert [request.path for request in asked] == ["/orgs/ada/repos", "/users/ada/repos"]


ODD = [
    None,
    5,
    {},
    {"id": True, "full_name": "k2/x", "path_with_namespace": "k2/x"},
    {"id": 1},
    {"full_name": "../x", "id": 2},
]


@pytest.mark.parametrize(
    ("flow", "good", "key"), [(list_group, gitlab_project, "8"), (list_owner, github_repository, "k2/r8")]
)
def test_what_is_archived_or_no_project_is_left_out(flow: Any, good: Any, key: str) -> None:
    found, _ = listed(flow("k2"), lambda _: Response(200, {}, [*ODD, good(7, archived=True), good(8)]))
    assert not isinstance(found, Failure)
    assert [one.key for one in found] == [key]


@pytest.mark.parametrize("flow", [list_group, list_owner])
def test_a_listing_that_fails_says_why_and_one_that_does_not_end_is_left(flow: Any) -> None:
    refused = Failure("forbidden", "403", 403)
    assert listed(flow("k2"), lambda _: refused)[0] is refused
    body, _ = listed(flow("k2"), lambda _: Response(200, {}, {"message": "no"}))
    assert isinstance(body, Failure)

    def endless(request: Request) -> Answer:
        page = int(dict(request.params)["page"])
        return Response(200, {"x-next-page": str(page + 1), "link": f'<https://x?page={page + 1}>; rel="next"'}, [])

    assert len(listed(flow("k2"), endless)[1]) == MOST_PAGES


@pytest.mark.parametrize(
    ("projects", "exclude", "wanted"),
    [
        ([], [], ["1", "2", "3"]),
        ([], ["k2/archive-*"], ["1", "3"]),
        ([], ["K2/*"], []),
        ([], ["*/deep"], ["1", "2"]),
        ([], ["k2/a?p"], ["2", "3"]),
        (["k2/app"], [], ["2", "3"]),
        ([2], [], ["1", "3"]),
        (["K2/APP"], [], ["2", "3"]),
    ],
)
def test_what_is_excluded_or_named_is_not_chosen(projects: list[Any], exclude: list[str], wanted: list[str]) -> None:
    settings = SourceSettings(type="gitlab", name="s", projects=tuple(projects), exclude=tuple(exclude))
    found = [Found("1", "k2/app", "1"), Found("2", "k2/archive-x", "2"), Found("3", "k2/sub/deep", "3")]
    assert list(chosen(settings, found)) == wanted


# ------------------------------------------------------------------------------------------- the daemon


def write_config(folder: Path, world: World, slack: Slack, more: str = "") -> Path:
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: t, groups: [k2], exclude: ["k2/archive-*"],
     poll_interval: 100ms, backfill: 2d, max_staleness: 30d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
receivers:
  - name: team
    slack: {{bot_token: {TOKEN}, api_url: "{slack.api_url}", channel: "#ci"}}
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
alert_rules:
  - {{name: main_is_red, condition: consecutive_failures >= 2, period: 24h, severity: critical, message: red}}
{more}"""
    )
    return config


async def until_read(running: Any, projects: int) -> None:
    await until_seen(running, f'k2alert_projects{{source="gitlab",state="ok"}} {projects}.0')


async def test_projects_of_a_group_come_and_go_without_a_restart(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        for path in ("k2/sub/deep", "k2/archive-x", "other/app"):
            world.forge.add_project(path)
        world.forge.add_project("k2/old", archived=True)
        config = write_config(tmp_path, world, slack)
        async with daemon(config, world.clock) as running:
            await until_read(running, 2)
            for _ in range(2):
                world.run("failed")
            await until(lambda: slack.top(), "the alert of a project that was found")
            world.forge.add_project("k2/new")
            world.clock.move(hours=1.1)
            await until_read(running, 3)
        world.forge.add_project("k2/newer")
        async with daemon(config, world.clock) as running:  # a restart forgets none before the group is read again
            await until_read(running, 4)  # the newest shows that it has been read: time must not move while it is
            world.forge.rename_project(PROJECT, "")
            world.clock.move(hours=1.1)
            await until_read(running, 3)
            await until(lambda: "CLOSED" in str([post.body for post in slack.top()]), "the end of its alert")


async def test_a_group_that_cannot_be_read_is_told_as_stale(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        config = write_config(tmp_path, world, slack)
        config.write_text(config.read_text().replace("groups: [k2]", "groups: [gone]").replace("30d", "15m"))
        async with daemon(config, world.clock) as running:
            await until(lambda: world.forge.requests["group"], "the listing")
            world.clock.move(minutes=20)
            await until_seen(
                running, 'k2alert_alerts{rule="K2AlertSourceStale",severity="warning",state="pending"} 1.0'
            )
            world.clock.move(minutes=2)
            await until(lambda: slack.top(), "the alert of the source")
        assert "gone/" in str(slack.top()[0].body)


async def test_a_listing_that_fails_takes_no_project_away(tmp_path: Path) -> None:
    async with (
        a_world() as world,
        stand_in_slack() as slack,
        daemon(write_config(tmp_path, world, slack), world.clock) as running,
    ):
        await until_read(running, 1)
        world.forge.rename_project(PROJECT, "elsewhere/app")  # now the group is not there at all: 404
        before = world.forge.requests["group"]
        world.clock.move(hours=1.1)
        await until(lambda: world.forge.requests["group"] > before, "another listing")
        await until_read(running, 1)
        world.clock.move(minutes=6)
        await until(lambda: world.forge.requests["group"] > before + 1, "the next try")
