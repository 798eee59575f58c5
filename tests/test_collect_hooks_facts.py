"""What webhooks say: the same as looks do, whatever the order they come in."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.collect import github, gitlab
from k2alert.collect.flow import Ask
from k2alert.collect.hooks import Hooks, Known
from k2alert.model import Entry, Kind, OpenEntry, PipelineRun, Project, RefType, Result, RunState
from k2alert.record import open_store
from k2alert.rehearse.gitlab_standin import StandinGitLab
from k2alert.rehearse.gitlab_standin_json import StandinJob, StandinPipeline
from tests.support.fake_time import T0
from tests.support.github_json import job_json, run_json
from tests.support.hooks import github_deployment, gitlab_deployment, gitlab_payload, hook, job_hook, run_hook

MINUTE = timedelta(minutes=1)
GITLAB, GITHUB = gitlab.FORGE.hooks, github.FORGE.hooks
assert GITLAB is not None
assert GITHUB is not None


def project(forge: str, **changes: Any) -> Project:
    known = Project(source="s", key="k2/app", path="k2/app", forge_id="7", default_branch="main", first_seen_at=T0)
    return replace(known, **changes) if forge else known


def known(**changes: Any) -> Known:
    return Known(project=project("any", **changes), tags={"k2/app v1": True, "k2/app feature": False})


# ------------------------------------------------------------------------------------------------ GitLab


def a_job(number: int, name: str, start: float, end: float, **fields: Any) -> StandinJob:
    return StandinJob(
        id=number,
        name=name,
        created_at=T0,
        started_at=T0 + start * MINUTE,
        finished_at=T0 + end * MINUTE,
        tags=("docker", "big"),
        **fields,
    )


FAILED = a_job(2, "test", 2, 5, status="failed", stage="check")
BROKEN = StandinPipeline(
    id=50, created_at=T0, started_at=T0 + MINUTE, finished_at=T0 + 5 * MINUTE, status="failed", name="CI",
    title="Break it", jobs=(a_job(1, "build", 1, 2), FAILED),
)  # fmt: skip
MENDED = replace(
    BROKEN, finished_at=T0 + 12 * MINUTE, status="success",
    jobs=(*BROKEN.jobs, replace(a_job(9, "test", 8, 12, stage="check"), created_at=T0 + 7 * MINUTE)),
)  # fmt: skip
LIFE = [  # how it is, when; the retry goes on after the failure
    (BROKEN, 0.0), (BROKEN, 1.5), (BROKEN, 5.0), (replace(MENDED, started_at=T0 + MINUTE), 8.5), (MENDED, 12.0),
]  # fmt: skip


def gitlab_events(life: Sequence[tuple[StandinPipeline, float]]) -> list[dict[str, Any]]:
    standin = StandinGitLab(lambda: T0)
    return [
        gitlab_payload(standin.add_project("k2/app"), pipeline, T0 + minutes * MINUTE) for pipeline, minutes in life
    ]


def facts(
    hooks: Hooks, payloads: Sequence[Any], headers: dict[str, str] | None = None, **changes: Any
) -> Sequence[PipelineRun]:
    events = [hook(hooks.event(headers or {}, payload), number=number) for number, payload in enumerate(payloads, 1)]
    told = hooks.facts(events, known(**changes), T0 + timedelta(hours=1))
    assert not isinstance(told, Kind)
    return told


def test_a_pipelines_webhook_says_what_a_look_says_but_for_what_it_lacks() -> None:
    (told,) = facts(GITLAB, gitlab_events([(BROKEN, 6.0)])) or ()

    assert (told.id, told.workflow, told.branch, told.ref_type) == ("50", "CI", "main", RefType.DEFAULT)
    assert told.web_url == "https://gitlab.test/k2/app/-/pipelines/50"
    assert told.title == "Break it"
    (outcome,) = told.outcomes
    assert (outcome.result, outcome.duration, outcome.queued) == (Result.FAILURE, 4 * MINUTE, MINUTE)
    assert outcome.finished_at == T0 + 5 * MINUTE
    assert [(job.name, job.stage, job.result, job.attempt, job.runner) for job in told.jobs] == [
        ("build", "test", Result.SUCCESS, 0, ""),
        ("test", "check", Result.FAILURE, 0, ""),
    ]
    assert told.jobs[1].web_url == "https://gitlab.test/k2/app/-/jobs/2"


def test_what_may_be_secret_is_not_kept() -> None:
    (payload,) = gitlab_events([(BROKEN, 6.0)])
    kept = json.dumps(hook(GITLAB.event({}, payload)).body)
    assert "secret-of-a-pipeline" in json.dumps(payload)
    assert "secret-of-a-pipeline" not in kept
    assert "ada@example.com" not in kept


def test_a_merge_requests_pipeline_has_its_number_for_a_branch() -> None:
    (told,) = (
        facts(
            GITLAB,
            gitlab_events([(replace(BROKEN, ref="refs/merge-requests/12/head", source="merge_request_event"), 6.0)]),
        )
        or ()
    )
    assert (told.ref_type, told.branch) == (RefType.CHANGE_REQUEST, "!12")


def test_the_reasons_of_the_jobs_say_whose_fault_it_was() -> None:
    stuck = replace(BROKEN, jobs=(replace(FAILED, failure_reason="runner_system_failure"),))
    (told,) = facts(GITLAB, gitlab_events([(stuck, 6.0)])) or ()
    assert told.outcomes[0].result is Result.ERROR


@pytest.mark.parametrize(
    "payload",
    [
        {"object_kind": "build", "build_id": 1, "project_id": 7},
        {"object_kind": "push"},
        {"object_kind": "pipeline"},
        {"object_kind": "pipeline", "object_attributes": {"id": 1, "source": "parent_pipeline"}, "project": {"id": 7}},
        {"object_kind": "pipeline", "object_attributes": {"id": "x"}, "project": {"id": 7}},
        [], None, "pipeline", 7,
    ],
)  # fmt: skip
def test_other_events_of_gitlab_are_let_pass(payload: Any) -> None:
    assert GITLAB.event({}, payload) is None


def test_a_pipeline_that_is_not_what_it_should_be_says_nothing() -> None:
    odd = {
        "object_kind": "pipeline",
        "object_attributes": {"id": 1},
        "project": {"id": 7},
        "builds": [{"id": 3}, 4, None],
    }
    assert facts(GITLAB, [odd]) == []


async def contents(
    folder: Path, batches: Sequence[Sequence[PipelineRun]]
) -> tuple[list[Entry], list[Entry], list[OpenEntry], list[Any]]:
    """All that a store says after these batches, its own numbers left out."""
    store = open_store(f"sqlite:///{folder}/k2alert.db")
    try:
        for batch in batches:
            await store.save(batch)
        labels = {stream.id: sorted(stream.labels.items()) for stream in await store.streams()}
        entries: dict[Kind, list[Any]] = {}
        for kind in (Kind.RUN, Kind.JOB):
            rows = [row async for page in store.entries(kind) for row in page]
            entries[kind] = sorted((labels[row.stream], row[3:]) for row in rows)
        opens = sorted((labels[entry.stream], entry[2:]) for _, entry in await store.opens())
        runs = [row async for page in store.entries(Kind.RUN) for row in page]
        shown = await store.run_evidence([row.ref for row in runs])
        evidence = sorted(repr(shown[row.ref]) for row in runs)
        return entries[Kind.RUN], entries[Kind.JOB], opens, evidence
    finally:
        await store.close()


@pytest.mark.parametrize("order", list(permutations(range(len(LIFE))))[::7], ids=str)
async def test_gitlabs_events_lead_to_the_same_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    payloads = gitlab_events(LIFE)
    (tmp_path / "straight").mkdir()
    (tmp_path / "mixed").mkdir()
    straight = await contents(tmp_path / "straight", [facts(GITLAB, [payload]) or () for payload in payloads])
    mixed = await contents(tmp_path / "mixed", [facts(GITLAB, [payloads[place]]) or () for place in (*order, *order)])

    assert mixed == straight
    assert len(straight[0]) == 2  # the failure and the success


async def test_a_look_completes_what_events_told(tmp_path: Path) -> None:
    """Polling wins in the end: after it a store that heard events holds what one that only looked holds."""
    from aiohttp.test_utils import TestServer

    from tests.support.drive import drive

    standin = StandinGitLab(lambda: T0 + timedelta(hours=1))
    standin.add_project("k2/app")
    standin.put("k2/app", MENDED)
    server = TestServer(standin.app())
    await server.start_server()
    try:
        url = str(server.make_url("")).rstrip("/")
        asked = Ask(project("s", forge_id=""), T0 - timedelta(days=1), T0 + timedelta(hours=1), first=True)
        seen = (await drive(gitlab.look(asked), gitlab.FORGE, url)).runs.values()
        payloads = [
            gitlab_payload(standin.add_project("k2/app"), pipeline, T0 + minutes * MINUTE, url)
            for pipeline, minutes in LIFE
        ]
    finally:
        await server.close()
    (tmp_path / "both").mkdir()
    (tmp_path / "looked").mkdir()
    events = [facts(GITLAB, [payload]) or () for payload in payloads]
    both = await contents(tmp_path / "both", [*events, list(seen)])
    again = await contents(tmp_path / "both", [*events[::-1]])
    looked = await contents(tmp_path / "looked", [[*(events[2])], list(seen)])  # a look never sees the first failure

    assert both[1:] == looked[1:]
    assert again == both


# ------------------------------------------------------------------------------------------------ GitHub

RUN = {"X-GitHub-Event": "workflow_run"}
QUEUED = run_json(status="queued", conclusion=None)
DONE = run_json(status="completed", conclusion="failure")
LINT, TEST = job_json("lint", 1, 4, id=11), job_json("test", 1, 9, id=12, conclusion="failure")


def github_event(payload: dict[str, Any]) -> Any:
    kind = "workflow_run" if "workflow_run" in payload else "workflow_job"
    return GITHUB.event({"x-github-event": kind}, payload)


def github_facts(payloads: Sequence[dict[str, Any]], **changes: Any) -> Sequence[PipelineRun]:
    told = github_told(payloads, **changes)
    assert not isinstance(told, Kind)
    return told


def github_told(payloads: Sequence[dict[str, Any]], **changes: Any) -> Sequence[PipelineRun] | Kind:
    events = [hook(github_event(payload), number=number) for number, payload in enumerate(payloads, 1)]
    return GITHUB.facts(events, known(**changes), T0 + timedelta(days=1))


def whole_story() -> list[dict[str, Any]]:
    number = DONE["id"]
    waiting = {**TEST, "status": "queued", "conclusion": None, "completed_at": None}
    return [
        run_hook(QUEUED, "requested"),
        job_hook(waiting, number, "queued"),
        job_hook({**waiting, "status": "in_progress"}, number, "in_progress"),
        job_hook(LINT, number),
        job_hook(TEST, number),
        run_hook(DONE),
    ]


def test_the_events_of_a_run_and_its_jobs_say_together_what_a_look_says() -> None:
    (told,) = github_facts(whole_story()) or ()
    assert told.state is RunState.FINISHED
    assert [job.name for job in told.jobs] == ["lint", "test"]
    (outcome,) = told.outcomes
    assert outcome.finished_at == told.jobs[1].finished_at
    assert told.seen == github.read_run(DONE).updated_at  # type: ignore[union-attr]


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
@settings(max_examples=100)
def test_githubs_events_say_the_same_in_any_order_and_however_often(order: list[int], again: list[int]) -> None:
    story = whole_story()
    assert github_facts([story[place] for place in (*order, *again)]) == github_facts(story)


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_a_run_that_lacks_an_end_of_a_job_is_left_for_the_next_look(lost: int) -> None:
    story = whole_story()
    del story[lost]
    (told,) = github_facts(story) or ()
    lacks = lost == 4  # the end of `test`; what else is lost is in a later event, or was a job's only one
    assert (told.seen < github.read_run(DONE).updated_at) is lacks  # type: ignore[union-attr]
    (alone,) = github_facts([run_hook(DONE)]) or ()
    assert alone.seen < github.read_run(DONE).updated_at  # type: ignore[union-attr]
    assert alone.outcomes[0].result is Result.FAILURE


def test_jobs_alone_say_nothing_yet() -> None:
    assert github_facts([job_hook(TEST, DONE["id"])]) == ()


@pytest.mark.parametrize(
    ("branch", "wanted"), [("main", RefType.DEFAULT), ("v1", RefType.TAG), ("feature", RefType.BRANCH), ("new", None)]
)
def test_a_name_that_may_be_a_tags_is_left_for_a_look(branch: str, wanted: RefType | None) -> None:
    told = github_told([run_hook({**DONE, "head_branch": branch, "event": "push"})])
    assert (None if isinstance(told, Kind) else told[0].ref_type) is wanted
    assert (told is Kind.RUN) is (wanted is None)


@pytest.mark.parametrize(
    "payload", [{}, {"workflow_run": {"id": 1}}, {"workflow_run": 5, "repository": {"id": 7}}, [], None]
)
def test_other_events_of_github_are_let_pass(payload: Any) -> None:
    assert GITHUB.event({"x-github-event": "workflow_run"}, payload) is None
    assert GITHUB.event({"x-github-event": "ping"}, payload) is None


# ------------------------------------------------------------------------------------------- deployments


def test_a_webhook_of_a_deployment_has_a_look_find_what_it_does_not_say() -> None:
    for hooks, headers, payload in (
        (GITLAB, {}, gitlab_deployment()),
        (GITHUB, {"x-github-event": "deployment_status"}, github_deployment()),
    ):
        event = hooks.event(headers, payload)
        assert event is not None
        assert event[:2] == ("7", "deployment 15")
        assert "ada" not in json.dumps(event).lower()
        assert hooks.facts([hook(event)], known(), T0) is Kind.DEPLOYMENT


@pytest.mark.parametrize(
    "payload",
    [{"ref": "v1"}, {"ref_type": "tag"}, {"ref": "v1", "ref_type": "repository", "repository": {"id": 7}}, [], None],
)
def test_a_creation_that_names_nothing_is_let_pass(payload: Any) -> None:
    assert GITHUB.event({"x-github-event": "create"}, payload) is None


@pytest.mark.parametrize("number", [None, "15", {}, True])
def test_a_deployment_without_a_number_is_let_pass(number: Any) -> None:
    assert GITHUB.event({"x-github-event": "deployment_status"}, github_deployment(number)) is None
    if not isinstance(number, str):
        assert GITLAB.event({}, gitlab_deployment(number)) is None


# ---------------------------------------------------------------------------------------------- recorded


def test_every_recorded_webhook_is_read_or_let_pass(shared_data: Path) -> None:
    read = 0
    for forge, hooks in (("gitlab", GITLAB), ("github", GITHUB)):
        for file in sorted((shared_data / "fixtures" / forge).glob("webhook_*.json")):
            kind = file.name.removeprefix("webhook_").split("__")[0].removesuffix(".json")
            told = hooks.event({"x-github-event": kind}, json.loads(file.read_text()))
            kinds = ("pipeline", "workflow_run", "workflow_job", "deployment", "deployment_status")
            assert (told is not None) is (kind in kinds), file
            said = hooks.facts([hook(told)], known(default_branch=""), T0) if told is not None else ()
            assert isinstance(said, Kind) is kind.startswith("deployment")
            read += 0 if isinstance(said, Kind) else len(said)
    assert read == 4  # GitLab's pipeline and GitHub's three runs
