"""Looks at a repository told as stories: the flow says what it asks, the test says what GitHub answers. No I/O."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Look, Request, Response
from k2alert.collect.github import FORGE, look
from k2alert.model import Kind, KnownRun, PipelineRun, Project, RefType, Result, RunState
from k2alert.times import parse_instant
from tests.support.github_json import T0, at, job_json, run_json

NOW = T0 + timedelta(hours=1)
PROJECT = Project(source="github", key="k2/app", path="k2/app", default_branch="main", first_seen_at=T0)
REPOSITORY = {"id": 100, "full_name": "k2/app", "default_branch": "main", "html_url": "https://github.com/k2/app"}
RUNS = "/repos/k2/app/actions/runs"
GONE = Failure("not_found", "404 Not Found", 404)
DOWN = Failure("server", "502 Bad Gateway", 502)


@dataclass
class GitHub:
    """What GitHub answers: lists by what they are narrowed to, the rest by path.

    Lists are `newest` (of all, not narrowed), `created`, `older` (the sweep), `in_progress` and `queued`, each given as
    its pages. Where any but the newest is given, there are more runs than that shows. Whatever a test does not name is
    empty, or gone.
    """

    lists: dict[str, list[Any]] = field(default_factory=dict)
    jobs: dict[int, list[Any]] = field(default_factory=dict)
    paths: dict[str, Any] = field(default_factory=lambda: {"/repos/k2/app": REPOSITORY})
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        params = dict(request.params)
        self.asked.append(" ".join([request.path, *(f"{name}={value}" for name, value in request.params)]))
        if request.path == RUNS:
            created = params.get("created", "")
            name = params.get("status") or ("older" if ".." in created else "created" if created else "newest")
            more = 1000 if name == "newest" and set(self.lists) - {"newest"} else 0
            return paged(self.lists.get(name, [[]]), "workflow_runs", int(params["page"]), more)
        if request.path.endswith("/jobs"):
            pages = self.jobs.get(int(request.path.split("/")[-2]), [[]])
            return paged(pages, "jobs", int(params["page"]))
        return answer_of(self.paths.get(request.path, GONE))

    def asked_for(self, text: str) -> list[str]:
        return [line for line in self.asked if text in line]


def answer_of(value: Any) -> Answer:
    return value if isinstance(value, Failure | Response) else Response(200, {}, value)


def paged(pages: list[Any], name: str, number: int, more: int = 0) -> Answer:
    page = pages[number - 1]
    if isinstance(page, Failure | Response):
        return page
    total = more + sum(len(each) for each in pages if isinstance(each, list))
    link = f'<https://elsewhere.example/?page={number + 1}>; rel="next"' if number < len(pages) else ""
    return Response(200, {"link": link}, {"total_count": total, name: page})


@dataclass
class Played:
    """What came of a look."""

    look: Look
    batches: list[Batch]

    @property
    def runs(self) -> dict[str, PipelineRun]:
        handed = [run for batch in self.batches for run in batch.runs]
        assert len({run.id for run in handed}) == len(handed)
        return {run.id: run for run in handed}


def play(answer: Callable[[Request], Answer], ask: Ask) -> Played:
    flow, batches = look(ask), []
    heard: Answer | None = None
    while True:
        try:
            said = flow.send(heard)
        except StopIteration as end:
            return Played(end.value, batches)
        heard = None if isinstance(said, Batch) else answer(said)
        if isinstance(said, Batch):
            batches.append(said)


def ask(known: Mapping[str, KnownRun] | None = None, **fields: Any) -> Ask:
    return Ask(project=PROJECT, since=T0, now=NOW, known=known or {}, **fields)


def known(minutes: float, attempt: int = 1, state: RunState = RunState.FINISHED) -> KnownRun:
    return KnownRun(parse_instant(at(minutes)), attempt, state)


# ------------------------------------------------------------------------------------------- the first words


def test_a_look_begins_with_who_the_project_is_and_its_newest_runs() -> None:
    flow = look(ask())
    assert next(flow) == Request("/repos/k2/app", kind="project")
    assert flow.send(Response(200, {}, REPOSITORY)) == Request(
        RUNS,
        (("exclude_pull_requests", "false"), ("per_page", "100"), ("page", "1")),
        kind="workflow_runs",
    )
    flow.close()


def test_a_first_look_at_a_quiet_repository_takes_two_requests() -> None:
    github = GitHub()
    played = play(github.answer, ask())
    assert (len(github.asked), played.batches, played.look.failure) == (2, [], None)
    assert played.look.project.forge_id == "100"


def test_the_forge_sends_the_headers_that_github_asks_for() -> None:
    assert FORGE.default_url == "https://api.github.com"
    assert FORGE.headers == {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


def test_a_renamed_repository_is_read_under_its_new_name() -> None:
    github = GitHub(paths={"/repos/k2/app": {**REPOSITORY, "full_name": "k2/shop"}})
    look_ended = play(github.answer, ask()).look
    assert look_ended.project.path == "k2/shop"
    assert github.asked_for("/repos/k2/shop/actions/runs ")


def test_a_repository_that_may_not_be_asked_for_is_read_all_the_same() -> None:
    github = GitHub(lists={"newest": [[run_json()]]}, paths={})
    played = play(github.answer, ask())
    assert played.look.failure is None
    assert played.runs["1"].ref_type is RefType.DEFAULT


def test_a_key_that_is_no_owner_and_name_fails_without_a_request() -> None:
    github = GitHub()
    played = play(github.answer, replace(ask(), project=replace(PROJECT, key="42", path="")))
    assert played.look.failure == Failure("client", "not a repository: '42' (write it as owner/name)")
    assert github.asked == []


# ------------------------------------------------------------------------------------------------ runs and attempts


def test_a_finished_run_comes_with_its_jobs() -> None:
    github = GitHub(lists={"newest": [[run_json()]]}, jobs={1: [[job_json("test", 1, 9)]]})
    run = play(github.answer, ask()).runs["1"]
    assert [(each.attempt, each.result) for each in run.outcomes] == [(1, Result.SUCCESS)]
    assert run.outcomes[0].finished_at == T0 + timedelta(minutes=9)
    assert [job.name for job in run.jobs] == ["test"]
    assert github.asked_for(f"{RUNS}/1/jobs") == [f"{RUNS}/1/jobs filter=all per_page=100 page=1"]


def test_a_red_attempt_and_its_green_rerun_are_two_outcomes() -> None:
    second = run_json(run_attempt=2, run_started_at=at(20), updated_at=at(31))
    github = GitHub(
        lists={"newest": [[second]]},
        jobs={1: [[job_json("test", 1, 9, id=11), job_json("test", 21, 30, id=21, run_attempt=2)]]},
    )
    github.paths[f"{RUNS}/1/attempts/1"] = run_json(conclusion="failure")
    run = play(github.answer, ask()).runs["1"]
    assert [(each.attempt, each.result) for each in run.outcomes] == [(1, Result.FAILURE), (2, Result.SUCCESS)]
    assert [each.finished_at - T0 for each in run.outcomes] == [timedelta(minutes=9), timedelta(minutes=30)]


def test_attempts_that_the_store_has_are_not_asked_for_again() -> None:
    github = GitHub(lists={"newest": [[run_json(run_attempt=4, run_started_at=at(20), updated_at=at(31))]]})
    github.paths[f"{RUNS}/1/attempts/3"] = run_json(run_attempt=3, conclusion="failure")
    run = play(github.answer, ask({"1": known(10, attempt=2)})).runs["1"]
    assert github.asked_for("/attempts/") == [f"{RUNS}/1/attempts/3"]
    assert [each.attempt for each in run.outcomes] == [3, 4]


def test_a_rerun_of_an_old_run_is_found_among_those_in_progress_and_followed_to_its_end() -> None:
    again = run_json(created_at=at(-9000), run_attempt=2, run_started_at=at(50), updated_at=at(51), conclusion=None)
    github = GitHub(lists={"in_progress": [[{**again, "status": "in_progress"}]]})
    github.paths[f"{RUNS}/1/attempts/1"] = run_json(
        created_at=at(-9000), run_started_at=at(-9000), updated_at=at(-8990)
    )
    run = play(github.answer, ask()).runs["1"]
    assert (run.state, [each.attempt for each in run.outcomes]) == (RunState.RUNNING, [1])

    later = GitHub(paths={**github.paths, f"{RUNS}/1": {**again, "conclusion": "failure", "updated_at": at(58)}})
    run = play(later.answer, ask({"1": known(51, attempt=1, state=RunState.RUNNING)})).runs["1"]
    assert (run.state, [(each.attempt, each.result) for each in run.outcomes]) == (
        RunState.FINISHED,
        [(2, Result.FAILURE)],
    )
    assert later.asked_for("/attempts/") == []


def test_a_known_open_run_that_a_list_shows_is_not_asked_for_by_id() -> None:
    github = GitHub(lists={"queued": [[run_json(status="queued", conclusion=None)]]})
    play(github.answer, ask({"1": known(10, attempt=0, state=RunState.PENDING)}))
    assert github.asked_for(f"{RUNS}/1") == github.asked_for(f"{RUNS}/1/jobs")


def test_a_known_open_run_that_was_deleted_does_no_harm() -> None:
    played = play(GitHub().answer, ask({"1": known(10, attempt=0, state=RunState.RUNNING)}))
    assert (played.look.failure, played.runs) == (None, {})


def test_an_open_run_is_read_at_every_look_where_a_rule_speaks_of_jobs_for_they_move_without_it() -> None:
    running = run_json(status="in_progress", conclusion=None)
    waiting = job_json("deploy", 0, 0, status="queued", conclusion=None, completed_at=None)
    github = GitHub(lists={"newest": [[running]]}, jobs={1: [[waiting]]})
    held = {"1": known(10, attempt=0, state=RunState.RUNNING)}
    assert play(github.answer, ask(held)).runs == {}
    assert github.asked_for("/jobs") == []
    run = play(github.answer, ask(held, wants=frozenset({Kind.JOB}))).runs["1"]
    assert [job.state for job in run.jobs] == [RunState.PENDING]


def test_a_run_that_goes_on_is_handed_over_without_its_jobs_until_it_has_finished() -> None:
    running = run_json(status="in_progress", conclusion=None)
    github = GitHub(lists={"newest": [[running]]}, jobs={1: [[job_json()]]})
    run = play(github.answer, ask()).runs["1"]
    assert (run.state, run.jobs, github.asked_for("/jobs")) == (RunState.RUNNING, (), [])


def test_a_finished_run_one_of_whose_jobs_still_goes_on_is_read_again_by_the_next_look() -> None:
    late = job_json("deploy", 1, 0, status="in_progress", conclusion=None, completed_at=None)
    github = GitHub(lists={"newest": [[run_json(updated_at=at(50))]]}, jobs={1: [[job_json(id=3), late]]})
    played = play(github.answer, ask())
    assert played.runs["1"].seen == parse_instant(at(50)) - timedelta(seconds=1)
    assert played.look.bookmarks == {}
    hours_later = replace(ask(), now=NOW + timedelta(hours=1))
    assert play(github.answer, hours_later).runs["1"].seen == parse_instant(at(50))


def test_what_the_store_has_is_not_read_again() -> None:
    github = GitHub(lists={"newest": [[run_json(id=1), run_json(id=2, updated_at=at(15)), run_json(id=3)]]})
    played = play(github.answer, ask({"1": known(10), "2": known(10), "3": known(20)}))
    assert list(played.runs) == ["2"]
    assert len(github.asked_for("/jobs")) == 1


def test_a_restart_with_an_overlap_repeats_the_same_facts() -> None:
    github = GitHub(lists={"newest": [[run_json()]]}, jobs={1: [[job_json()]]})
    assert play(github.answer, ask()).runs == play(github.answer, ask()).runs


def test_a_run_that_two_lists_show_is_read_once() -> None:
    running = run_json(status="in_progress", conclusion=None)
    github = GitHub(lists={"created": [[running], [running]], "in_progress": [[running]]})
    assert list(play(github.answer, ask()).runs) == ["1"]


# -------------------------------------------------------------------------------------------------------- the sweep


def test_the_sweep_finds_a_rerun_that_began_and_ended_between_two_looks() -> None:
    old = [
        run_json(id=1, created_at=at(-999), run_attempt=2, run_started_at=at(-30), updated_at=at(-20)),
        run_json(id=2, created_at=at(-999), updated_at=at(-990)),
    ]
    github = GitHub(lists={"older": [old]})
    played = play(github.answer, ask({"1": known(-990), "2": known(-990)}, sweep=True))
    assert list(played.runs) == ["1"]
    assert played.look.swept
    assert github.asked_for("created=2025-12-06T13:00:00Z..2026-01-05T11:59:59Z")


def test_a_look_without_a_sweep_says_so() -> None:
    assert not play(GitHub().answer, ask()).look.swept


def test_a_sweep_that_failed_is_none() -> None:
    github = GitHub(lists={"queued": [DOWN]})
    assert not play(github.answer, ask(sweep=True)).look.swept


def test_a_backfill_also_reads_what_was_created_before_it_and_ended_within_it() -> None:
    old = [
        run_json(id=1, created_at=at(-60), run_started_at=at(-60), updated_at=at(5)),
        run_json(id=2, created_at=at(-60), run_started_at=at(-60), updated_at=at(-5)),
    ]
    github = GitHub(lists={"older": [old]})
    assert list(play(github.answer, ask(first=True)).runs) == ["1"]


# ------------------------------------------------------------------------------------------------ pages and ranges


def test_every_page_is_read_and_handed_over_with_how_far_it_is() -> None:
    pages = [[run_json(id=100 * page + n) for n in range(1, 31)] for page in range(3)]
    played = play(GitHub(lists={"created": pages}).answer, ask())
    assert len(played.runs) == 90
    assert [(batch.done, batch.total) for batch in played.batches] == [
        (20, 90),
        (30, 90),
        (50, 90),
        (60, 90),
        (80, 90),
        (90, 90),
    ]


def test_the_jobs_of_a_run_are_read_to_the_last_page() -> None:
    pages = [[job_json(f"test {page} {n}", id=100 * page + n) for n in range(1, 101)] for page in range(3)]
    assert len(play(GitHub(lists={"newest": [[run_json()]]}, jobs={1: pages}).answer, ask()).runs["1"].jobs) == 300


def test_a_range_of_too_many_runs_is_halved_until_each_part_fits() -> None:
    begun = [T0 + timedelta(seconds=n) for n in range(0, 3600, 2)]
    searches: list[str] = []
    played = play(searching(begun, searches), ask())
    assert len(played.runs) == 1800
    assert played.look.failure is None
    assert searches == [
        ">=2026-01-05T12:00:00Z",
        ">=2026-01-05T12:30:01Z",
        "2026-01-05T12:00:00Z..2026-01-05T12:30:00Z",
    ]


def test_more_runs_in_one_second_than_github_lists_are_read_as_far_as_it_goes_and_told() -> None:
    played = play(searching([T0] * 1500, []), ask())
    assert len(played.runs) == 1000
    assert played.look.failure == Failure(
        "client", "GitHub lists 1000 of the 1500 runs created at 2026-01-05T12:00:00Z"
    )


def searching(begun: list[datetime], searches: list[str]) -> Callable[[Request], Answer]:
    """A GitHub that searches by creation, as it does: 1,000 runs a search, all of them counted."""
    runs = [
        run_json(id=n + 1, created_at=at(minutes), run_started_at=at(minutes), updated_at=at(minutes))
        for n, minutes in enumerate((each - T0) / timedelta(minutes=1) for each in begun)
    ]
    github = GitHub(lists={"created": []})  # more than the newest

    def answer(request: Request) -> Answer:
        params = dict(request.params)
        if "created" not in params:
            return github.answer(request)
        created, page = params["created"], int(params["page"])
        if page == 1:
            searches.append(created)
        low, _, high = created.removeprefix(">=").partition("..")
        found = [run for run in runs if low <= run["created_at"] <= (high or "9999")]
        listed = found[:1000][(page - 1) * 100 : page * 100]
        link = f'<https://api.github.com/?page={page + 1}>; rel="next"' if page * 100 < min(len(found), 1000) else ""
        return Response(200, {"link": link}, {"total_count": len(found), "workflow_runs": listed})

    return answer


def test_a_forge_whose_pages_never_end_does_not_keep_us() -> None:
    def answer(request: Request) -> Answer:
        page = int(dict(request.params).get("page", 0))
        if request.path == RUNS:
            return Response(200, {"link": f'<?page={page + 1}>; rel="next"'}, {"workflow_runs": [run_json(id=page)]})
        if request.path.endswith("/jobs"):
            return Response(200, {"link": f'<?page={page + 1}>; rel="next"'}, {"jobs": []})
        return Response(200, {}, REPOSITORY)

    assert len(play(answer, ask()).runs) == 10


# -------------------------------------------------------------------------------------------------- branches and tags


def test_a_name_is_a_tag_where_a_tag_and_no_branch_has_it_and_is_asked_for_once() -> None:
    names = {"v1.0": 1, "feature/x": 2, "both": 3}
    github = GitHub(lists={"newest": [[run_json(id=n, head_branch=name) for name, n in names.items()]]})
    github.paths |= {
        "/repos/k2/app/tags": [{"name": "v1.0"}, {"name": "both"}, {"name": "v0.9"}, {}],
        "/repos/k2/app/commits/heads%2Fboth": {},
        "/repos/k2/app/commits/heads%2Fv1.0": Failure("client", "422 No commit found", 422),
    }
    first = play(github.answer, ask())
    found = {run.branch: run.ref_type for run in first.runs.values()}
    assert found == {"v1.0": RefType.TAG, "feature/x": RefType.BRANCH, "both": RefType.BRANCH}
    assert (len(github.asked_for("/tags")), len(github.asked_for("/commits/"))) == (1, 2)

    again = play(github.answer, ask(memory=json.loads(json.dumps(first.look.memory))))
    assert {run.branch: run.ref_type for run in again.runs.values()} == found
    assert (len(github.asked_for("/tags")), len(github.asked_for("/commits/"))) == (1, 2)


def test_where_there_are_too_many_tags_to_list_each_name_is_asked_for() -> None:
    github = GitHub(lists={"newest": [[run_json(id=n, head_branch=name) for n, name in enumerate(("v1.0", "new"), 1)]]})
    github.paths["/repos/k2/app/commits/tags%2Fv1.0"] = {}

    def answer(request: Request) -> Answer:
        if not request.path.endswith("/tags"):
            return github.answer(request)
        page = int(dict(request.params)["page"])
        return Response(200, {"link": f'<?page={page + 1}>; rel="next"'}, [{"name": f"v0.{page}"}])

    found = {run.branch: run.ref_type for run in play(answer, ask()).runs.values()}
    assert found == {"v1.0": RefType.TAG, "new": RefType.BRANCH}


@pytest.mark.parametrize(
    ("event", "branch", "ref_type"),
    [
        ("push", "main", RefType.DEFAULT),
        ("schedule", "main", RefType.DEFAULT),
        ("release", "v1.0", RefType.TAG),
        ("merge_group", "gh-readonly-queue/main/pr-1-abc", RefType.BRANCH),
        ("push", None, RefType.BRANCH),
        ("pull_request", "main", RefType.CHANGE_REQUEST),
        ("pull_request_review", "fix", RefType.CHANGE_REQUEST),
    ],
)
def test_most_events_say_what_a_run_ran_for_without_asking(event: str, branch: str | None, ref_type: RefType) -> None:
    github = GitHub(lists={"newest": [[run_json(event=event, head_branch=branch)]]})
    assert play(github.answer, ask()).runs["1"].ref_type is ref_type
    assert github.asked_for("/commits/") == []


def test_without_permission_to_read_contents_every_name_is_a_branch() -> None:
    github = GitHub(lists={"newest": [[run_json(head_branch="v1.0")]]})
    github.paths["/repos/k2/app/tags"] = Failure("forbidden", "403 Forbidden", 403)
    played = play(github.answer, ask())
    assert (played.runs["1"].ref_type, played.look.failure) == (RefType.BRANCH, None)


# ------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("reason", ["auth", "rate_limited", "server", "timeout", "network"])
def test_a_failure_at_the_first_word_ends_the_look(reason: Any) -> None:
    failure = Failure(reason, "no")
    played = play(lambda _: failure, ask(memory={"kept": 1}))
    assert (played.look.failure, played.look.project, played.look.memory) == (failure, PROJECT, {"kept": 1})


def test_a_repository_that_is_nowhere_is_told_as_such() -> None:
    assert play(lambda _: GONE, ask()).look.failure == GONE


def test_what_was_read_before_a_broken_page_is_kept() -> None:
    broken = Failure("body", "200 with something broken instead of JSON", 200)
    played = play(GitHub(lists={"created": [[run_json()], broken]}).answer, ask())
    assert list(played.runs) == ["1"]
    assert played.look.failure == broken


def test_what_was_read_before_a_failing_job_list_is_kept() -> None:
    github = GitHub(lists={"newest": [[run_json(id=1), run_json(id=2)]]}, jobs={2: [DOWN]})
    played = play(github.answer, ask())
    assert (list(played.runs), played.look.failure) == (["1"], DOWN)


def test_a_broken_job_list_leaves_out_its_run_and_no_other() -> None:
    broken = Failure("body", "200 with HTML (a login page or a proxy?) instead of JSON", 200)
    github = GitHub(lists={"newest": [[run_json(id=1), run_json(id=2)]]}, jobs={1: [broken]})
    played = play(github.answer, ask())
    assert (list(played.runs), played.look.failure) == (["2"], broken)


def test_jobs_and_attempts_that_github_keeps_no_longer_are_done_without() -> None:
    github = GitHub(
        lists={"newest": [[run_json(run_attempt=2, run_started_at=at(20), updated_at=at(31))]]}, jobs={1: [GONE]}
    )
    played = play(github.answer, ask())
    (outcome,) = played.runs["1"].outcomes
    assert (outcome.attempt, outcome.finished_at) == (2, T0 + timedelta(minutes=31))
    assert played.look.failure is None


def test_an_item_that_is_not_what_it_should_be_is_told_after_the_good_ones() -> None:
    github = GitHub(
        lists={"newest": [["rubbish", run_json(id=1), {"id": "2"}]]},
        jobs={1: [[job_json(), {"id": None}]]},
    )
    played = play(github.answer, ask())
    assert len(played.runs["1"].jobs) == 1
    assert played.look.failure == Failure("body", "a run is not what it should be")


def test_an_attempt_of_another_run_is_not_taken_for_this_one() -> None:
    github = GitHub(lists={"newest": [[run_json(run_attempt=2)]]})
    github.paths[f"{RUNS}/1/attempts/1"] = run_json(id=77)
    played = play(github.answer, ask())
    assert (played.runs, played.look.failure) == ({}, Failure("body", "an attempt is not what it should be"))


@pytest.mark.parametrize("attempt", [10**6, 2**62])
def test_an_absurd_number_of_attempts_costs_no_more_than_a_hundred_requests(attempt: int) -> None:
    github = GitHub(lists={"newest": [[run_json(run_attempt=attempt)]]})
    play(github.answer, ask())
    assert len(github.asked_for("/attempts/")) == 99


RUBBISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(run_json()) | st.just(job_json()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["workflow_runs", "jobs", "total_count", "id", "created_at"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_github_answers_a_look_ends_and_nothing_raises(data: st.DataObject) -> None:
    reasons = st.sampled_from(["auth", "forbidden", "not_found", "rate_limited", "server", "body", "client"])
    responses = st.builds(Response, st.just(200), st.just({"link": '<?page=2>; rel="next"'}), RUBBISH)
    answers = responses | st.builds(Failure, reasons, st.just("no"))
    held = {"1": known(10, state=RunState.RUNNING), "5": known(10, attempt=0, state=RunState.PENDING)}
    play(lambda request: Response(200, {}, REPOSITORY) if request.kind == "project" else data.draw(answers), ask(held))
