"""GitHub's deployments and the schedules of its workflows: what is made of them, what they cost, and any rubbish."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.collect.flow import Answer, Failure, Request, Response
from k2alert.collect.github_deployments_parse import make_deployment, read_deployment, read_status
from k2alert.collect.github_schedules import read_crons
from k2alert.measure.schedules import next_due
from k2alert.model import Deployment, Kind, Project, RefType, Result, RunState, Schedules
from k2alert.times import iso, to_ms
from tests.support.fake_time import T0
from tests.support.github_keeper import Keeper
from tests.support.github_standin import StandinDeployment, StandinGitHub, StandinRepository, StandinWorkflow

MINUTE = timedelta(minutes=1)
PROJECT = Project(source="github", key="k2/app", path="", default_branch="main", first_seen_at=T0)
SHA = "c0ffee" * 6 + "c0ff"


def at(minutes: float) -> datetime:
    return T0 + minutes * MINUTE


class World:
    """A repository, its forge, and who looks at it for deployments and schedules."""

    def __init__(self, *deployments: StandinDeployment, workflows: list[StandinWorkflow] | None = None) -> None:
        self.now = T0
        self.repository = StandinRepository("k2/app", deployments=list(deployments), workflows=workflows or [])
        self.github = StandinGitHub(lambda: self.now, [self.repository])
        wants = frozenset({Kind.DEPLOYMENT} if deployments else {Kind.SCHEDULE})
        self.keeper = Keeper(self.github, PROJECT, wants)

    def look(self, after: float = 0) -> list[str]:
        """A look so many minutes later; what of it was billed."""
        self.now += after * MINUTE
        before = len(self.github.billed)
        assert self.keeper.look().failure is None
        return [line.removeprefix("/repos/k2/app").partition("?")[0] for line in self.github.billed[before:]]

    @property
    def deployments(self) -> dict[str, Deployment]:
        """As last told, by id; an older look changes nothing."""
        told: dict[str, Deployment] = {}
        for fact in self.keeper.facts:
            if isinstance(fact, Deployment) and (fact.id not in told or fact.seen >= told[fact.id].seen):
                told[fact.id] = fact
        return told

    @property
    def schedules(self) -> Schedules:
        told = [fact for fact in self.keeper.facts if isinstance(fact, Schedules)]
        return told[-1]


# ----------------------------------------------------------------------------------------------------- deployments


def test_a_deployment_is_followed_to_its_end() -> None:
    one = StandinDeployment(7, "production", at(1), [("in_progress", at(2)), ("success", at(5))], run=42)
    world = World(one)
    world.repository.commits[SHA] = at(-90)
    world.look()
    costs = [world.look(1) for _ in range(7)]
    assert costs == [
        ["/deployments", "/deployments/7/statuses"],
        ["/deployments", "/deployments/7/statuses"],
        [],
        [],
        ["/deployments", "/deployments/7/statuses", f"/commits/{SHA}"],
        [],
        [],
    ]
    assert [fact.state for fact in world.keeper.facts if isinstance(fact, Deployment)] == [
        RunState.PENDING,
        RunState.RUNNING,
        RunState.FINISHED,
    ]
    told = world.deployments["7"]
    assert (told.environment, told.tier, told.run, told.sha) == ("production", "production", "42", SHA)
    assert (told.result, told.finished_at, told.committed_at) == (Result.SUCCESS, at(5), at(-90))
    assert (told.branch, told.ref_type, told.created_at) == ("main", RefType.DEFAULT, at(1))
    assert told.web_url == "https://github.com/k2/app/actions/runs/42/job/7"


def test_that_another_took_its_place_costs_no_request_and_changes_no_success() -> None:
    first = StandinDeployment(7, "production", at(1), [("success", at(2)), ("inactive", at(10))])
    second = StandinDeployment(8, "production", at(9), [("success", at(10))])
    world = World(first, second)
    world.repository.commits[SHA] = at(-90)
    billed = [line for _ in range(12) for line in world.look(1)]
    assert billed.count("/deployments/7/statuses") == 2
    assert world.deployments["7"].result is Result.SUCCESS


def test_a_success_that_turns_out_to_be_none_is_read_again_while_no_other_took_its_place() -> None:
    world = World(StandinDeployment(7, "production", at(1), [("success", at(2)), ("failure", at(10))]))
    world.repository.commits[SHA] = at(-90)
    for _ in range(12):
        world.look(1)
    assert world.deployments["7"].result is Result.FAILURE


def test_the_commit_of_several_deployments_is_asked_for_once() -> None:
    world = World(*(StandinDeployment(n, f"stage {n}", at(-9), [("success", at(-8))]) for n in range(1, 6)))
    world.repository.commits[SHA] = at(-90)
    assert world.look().count(f"/commits/{SHA}") == 1
    assert {told.committed_at for told in world.deployments.values()} == {at(-90)}


def test_a_deployment_whose_time_stands_still_is_followed_all_the_same() -> None:
    one = StandinDeployment(7, "production", at(1), [("failure", at(30))], still=True)
    world = World(one)
    for _ in range(40):
        world.look(1)
    assert world.deployments["7"].result is Result.FAILURE


def test_deployments_where_nothing_happens_cost_nothing() -> None:
    ended = (StandinDeployment(n, "production", at(-10 * n), [("failure", at(-10 * n + 5))]) for n in range(1, 120))
    open_for_ever = StandinDeployment(500, "review/x", at(-10))
    world = World(*ended, open_for_ever)
    world.look()
    assert [world.look(1) for _ in range(20)] == [[] for _ in range(20)]


def test_a_backfill_reads_all_pages_that_reach_back_and_no_more() -> None:
    ones = [StandinDeployment(1000 - n, "production", at(-30 * n), [("error", at(-30 * n))]) for n in range(1, 700)]
    world = World(*ones)
    world.look()
    assert len(world.deployments) == 7 * 24 * 2
    assert len([line for line in world.github.asked if "/deployments?" in line]) == 4


def test_deployments_that_may_not_be_read_are_left_out_and_the_rest_goes_on() -> None:
    world = World(StandinDeployment(7, "production", at(-1)))
    world.keeper.turn = lambda request: (
        Failure("forbidden", "403 Forbidden", 403) if request.kind == "deployments" else None
    )
    world.look()
    assert world.keeper.facts == []


def test_a_deployment_that_could_not_be_read_is_read_by_the_next_look() -> None:
    world = World(StandinDeployment(7, "production", at(1), [("failure", at(2))]))
    world.look()
    world.now = at(3)
    world.keeper.turn = lambda request: Failure("server", "502", 502) if request.kind == "statuses" else None
    assert world.keeper.look().failure is not None
    world.keeper.turn = lambda request: None
    world.look(1)
    assert world.deployments["7"].result is Result.FAILURE


def told(*statuses: tuple[str, float], **fields: Any) -> Deployment:
    item = {"id": 1, "environment": "production", "created_at": iso(T0), "sha": SHA, "ref": "main", **fields}
    seen = read_deployment(item)
    assert seen is not None
    read = [read_status({"state": state, "created_at": iso(at(minutes))}) for state, minutes in statuses]
    return make_deployment(seen, [status for status in read if status is not None], PROJECT)


@pytest.mark.parametrize(
    ("statuses", "state", "result", "finished"),
    [
        ([], RunState.PENDING, None, None),
        ([("queued", 1)], RunState.PENDING, None, None),
        ([("pending", 1)], RunState.PENDING, None, None),
        ([("waiting", 1)], RunState.BLOCKED, None, None),
        ([("in_progress", 2), ("queued", 1)], RunState.RUNNING, None, None),
        ([("success", 3), ("in_progress", 2)], RunState.FINISHED, Result.SUCCESS, 3),
        ([("failure", 3), ("in_progress", 2)], RunState.FINISHED, Result.FAILURE, 3),
        ([("error", 3)], RunState.FINISHED, Result.ERROR, 3),
        ([("inactive", 9), ("success", 3)], RunState.FINISHED, Result.SUCCESS, 3),
        ([("inactive", 9), ("failure", 3)], RunState.FINISHED, Result.FAILURE, 3),
        ([("success", 5), ("success", 3), ("failure", 2)], RunState.FINISHED, Result.SUCCESS, 3),
        ([("success", 3), ("failure", 5)], RunState.FINISHED, Result.FAILURE, 5),
        ([("in_progress", 4), ("failure", 3)], RunState.RUNNING, None, None),
        ([("inactive", 9)], RunState.FINISHED, Result.SKIP, 9),
        ([("inactive", 9), ("queued", 1)], RunState.FINISHED, Result.SKIP, 9),
        ([("tomorrow's word", 1)], RunState.PENDING, None, None),
    ],
)
def test_the_newest_status_that_says_how_it_went_counts_from_when_it_first_came(
    statuses: list[tuple[str, float]], state: RunState, result: Result | None, finished: float | None
) -> None:
    deployment = told(*statuses)
    assert (deployment.state, deployment.result) == (state, result)
    assert deployment.finished_at == (None if finished is None else at(finished))


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({"environment": "eu", "production_environment": True}, "production"),
        ({"environment": "pr-17", "transient_environment": True}, "development"),
        ({"environment": "Prod EU"}, "production"),
        ({"environment": "staging"}, "staging"),
        ({"environment": "preprod"}, "staging"),
        ({"environment": "qa"}, "testing"),
        ({"environment": "qa", "production_environment": False, "transient_environment": False}, "testing"),
        ({"environment": "review/login"}, "development"),
        ({"environment": "github-pages"}, "other"),
    ],
)
def test_the_tier_is_what_github_says_or_what_the_name_does(fields: dict[str, Any], tier: str) -> None:
    assert told(**fields).tier == tier


@pytest.mark.parametrize(
    ("ref", "branch", "ref_type"),
    [("main", "main", RefType.DEFAULT), ("v1.0", "v1.0", None), (SHA, "", None), (None, "", None)],
)
def test_what_was_deployed_is_the_default_branch_or_not_known(
    ref: str | None, branch: str, ref_type: RefType | None
) -> None:
    deployment = told(ref=ref)
    assert (deployment.branch, deployment.ref_type) == (branch, ref_type)


# ------------------------------------------------------------------------------------------------------- schedules


def workflow(number: int, text: str, **fields: Any) -> StandinWorkflow:
    values: dict[str, Any] = {"name": f"W{number}", "path": f".github/workflows/w{number}.yml", **fields}
    return StandinWorkflow(number, text=text, **values)


NIGHTLY = "name: Nightly\non:\n  push:\n  schedule:\n    - cron: '17 3 * * 1-5'\njobs: {}\n"


def test_the_schedules_of_workflows_that_are_switched_on_are_told() -> None:
    twice = "on: {schedule: [{cron: 0 6 * * *, timezone: Europe/Berlin}, {cron: '0  18 * * *'}]}"
    world = World(
        workflows=[
            workflow(1, NIGHTLY, name="Nightly", updated_at=at(-600)),
            workflow(2, twice),
            workflow(3, NIGHTLY, state="disabled_inactivity"),
            workflow(4, "on: [push]"),
            workflow(5, "on: {schedule: [{cron: *}"),
            workflow(6, NIGHTLY, path="dynamic/pages/build"),
        ]
    )
    world.look()
    assert [(one.name, one.cron, one.timezone, one.workflow) for one in world.schedules.schedules] == [
        ("Nightly", "17 3 * * 1-5", "UTC", "Nightly"),
        ("W2 (0 6 * * *)", "0 6 * * *", "Europe/Berlin", "W2"),
        ("W2 (0 18 * * *)", "0 18 * * *", "UTC", "W2"),
    ]
    nightly = world.schedules.schedules[0]
    assert (nightly.branch, nightly.ref_type, nightly.since, nightly.active) == (
        "main",
        RefType.DEFAULT,
        at(-600),
        True,
    )
    assert len({one.id for one in world.schedules.schedules}) == 3
    assert next_due(nightly.cron, nightly.timezone, to_ms(T0)) is not None


def test_schedules_are_asked_for_once_an_hour_and_cost_when_they_change() -> None:
    world = World(workflows=[workflow(1, NIGHTLY), workflow(2, "on: push")])
    listing, folder, file = "/actions/workflows", "/contents/.github/workflows", "/contents/.github/workflows/w{}.yml"
    assert world.look()[-4:] == [listing, folder, file.format(1), file.format(2)]
    assert [world.look(10) for _ in range(12)] == [[] for _ in range(12)]
    assert len([line for line in world.github.asked if listing in line]) == 3
    world.repository.workflows[1].text = NIGHTLY.replace("17 3", "30 4")
    assert [line for _ in range(6) for line in world.look(10)] == [folder, file.format(2)]
    assert [one.cron for one in world.schedules.schedules] == ["17 3 * * 1-5", "30 4 * * 1-5"]


def test_a_workflow_that_is_switched_off_has_no_schedule_from_the_next_hour_on() -> None:
    world = World(workflows=[workflow(1, NIGHTLY)])
    world.look()
    world.repository.workflows[0].state = "disabled_manually"
    world.look(61)
    assert world.schedules.schedules == ()


def test_a_schedule_is_read_anew_five_minutes_after_it_should_have_run() -> None:
    world = World(workflows=[workflow(1, NIGHTLY.replace("17 3 * * 1-5", "40 12 * * *"))])  # T0 is noon
    world.look()
    world.look(39)
    world.repository.workflows[0].state = "disabled_manually"
    world.look(5)
    assert len(world.schedules.schedules) == 1
    world.look(1)
    assert world.schedules.schedules == ()


@pytest.mark.parametrize(
    ("cron", "timezone"),
    [
        ("61 * * * *", "UTC"),
        ("0 0 31 2 *", "UTC"),
        ("@daily", "UTC"),
        ("0 3 * * *", "Atlantis"),
        ("* * * * *", "../etc"),
    ],
)
def test_a_line_that_no_clock_ever_meets_does_no_harm(cron: str, timezone: str) -> None:
    world = World(workflows=[workflow(1, f"on: {{schedule: [{{cron: '{cron}', timezone: {timezone}}}]}}")])
    world.look()
    assert [one.cron for one in world.schedules.schedules] == [cron]


def test_a_repository_without_workflows_has_no_schedules() -> None:
    world = World(workflows=[])
    world.look()
    assert world.schedules.schedules == ()
    assert not [line for line in world.github.asked if "/contents" in line]


def test_where_contents_may_not_be_read_nothing_is_told_of_schedules() -> None:
    world = World(workflows=[workflow(1, NIGHTLY)])
    world.keeper.turn = lambda request: (
        Failure("forbidden", "403 Forbidden", 403) if request.kind == "contents" else None
    )
    world.look()
    assert world.keeper.facts == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "schedule",
        "on: schedule",
        "on: {schedule: daily}",
        "on: {schedule: {cron: 0 3 * * *}}",
        "on: {schedule: [0 3 * * *]}",
        "on: {schedule: [{cron: 3}]}",
        "on: {schedule: [{cron: '  '}]}",
        "on: {schedule: [{cron: '" + "*" * 200 + "'}]}",
        "on: {schedule: [{cron: 0 3 * * *}]}\n" + "# " + "x" * 300_000,
        "on: {schedule: [{cron: !!python/object/apply:os.system [ls]}]}",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "on: {schedule: [{cron: 0 3 * * *}]}",
        "on: {schedule: " + "[" * 5000 + "]" * 5000 + "}",
        "on: {schedule: [{cron: \x00}]}",
    ],
)
def test_a_file_that_holds_no_schedule_that_can_be_read_has_none(text: str) -> None:
    assert read_crons(text.encode(), "w.yml") == ()


def test_a_file_with_more_schedules_than_anybody_needs_is_cut() -> None:
    text = "on:\n  schedule:\n" + "".join(f"    - cron: {n} * * * *\n" for n in range(60))
    assert len(read_crons(text.encode(), "w.yml")) == 50


# --------------------------------------------------------------------------------------------------------- all of it

RUBBISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(iso(T0)) | st.just("success"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "environment",
                    "created_at",
                    "state",
                    "workflows",
                    "path",
                    "sha",
                    "content",
                    "encoding",
                    "commit",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_github_answers_of_them_a_look_ends_and_nothing_raises(data: st.DataObject) -> None:
    kinds = {"deployments", "statuses", "commit", "workflows", "contents"}
    world = World(StandinDeployment(7, "production", at(-1)), workflows=[workflow(1, NIGHTLY)])
    world.keeper.wants = frozenset({Kind.DEPLOYMENT, Kind.SCHEDULE})

    def turn(request: Request) -> Answer | None:
        if request.kind not in kinds or data.draw(st.booleans()):
            return None
        reasons = st.sampled_from(["forbidden", "not_found", "server", "body", "client"])
        answers = st.builds(Response, st.just(200), st.just({"link": '<?page=2>; rel="next"'}), RUBBISH)
        return data.draw(answers | st.builds(Failure, reasons, st.just("no")))

    world.keeper.turn = turn
    world.keeper.look()


HISTORY = st.lists(
    st.tuples(
        st.integers(-5000, 500),
        st.lists(
            st.tuples(
                st.sampled_from(["queued", "in_progress", "success", "failure", "inactive"]), st.integers(0, 400)
            ),
            max_size=5,
        ),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(
    HISTORY, st.lists(st.tuples(st.sampled_from([0.5, 4, 60, 900]), st.sampled_from([None, 1, 2, 3, 4])), max_size=8)
)
def test_after_any_looks_each_deployment_is_as_github_has_it(
    history: list[tuple[int, list[tuple[str, int]]]], steps: list[tuple[float, int | None]]
) -> None:
    ones = [
        StandinDeployment(
            n,
            f"stage {n % 2}",
            at(start),
            sorted(((state, at(start + more)) for state, more in statuses), key=lambda one: one[1]),
        )
        for n, (start, statuses) in enumerate(history, 1)
    ]
    world = World(StandinDeployment(99, "x", at(-1), [("error", at(0))]), *ones)
    world.look()
    for after, fails_at in steps:
        world.now += timedelta(minutes=after)
        asked = [0]

        def turn(request: Request, asked: list[int] = asked, fails_at: int | None = fails_at) -> Answer | None:
            asked[0] += 1
            return Failure("server", "502", 502) if asked[0] == fails_at else None

        world.keeper.turn = turn
        world.keeper.look()
    world.keeper.turn = lambda request: None
    world.look(1500)
    for one in ones:
        replaced = any(other.id > one.id and other.environment == one.environment for other in ones)
        if not (replaced and "success" in [state for state, _ in one.statuses]):
            kept = world.deployments[str(one.id)]
            assert (kept.state, kept.result) == (truth_of(one).state, truth_of(one).result)
    assert [world.look(1), world.look(1)] == [[], []]


def truth_of(one: StandinDeployment) -> Deployment:
    """What its statuses come to in the end."""
    return told(*((state, (when - T0) / MINUTE) for state, when in reversed(one.statuses)))
