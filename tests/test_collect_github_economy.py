"""What looks at GitHub cost, and that whatever is saved, what is recorded is the truth."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.collect.flow import Answer, Failure, Request
from k2alert.model import Kind, Project, RefType, Result, RunState
from tests.support.fake_time import T0
from tests.support.github_keeper import Keeper
from tests.support.github_standin import StandinAttempt, StandinGitHub, StandinJob, StandinRepository, StandinRun

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
PROJECT = Project(source="github", key="k2/app", path="", first_seen_at=T0)


@dataclass
class World:
    """A repository, its forge, and who looks at it."""

    runs: list[StandinRun] = field(default_factory=list)
    wants: frozenset[Kind] = frozenset()

    def __post_init__(self) -> None:
        self.now = T0
        self.repository = StandinRepository("k2/app", self.runs)
        self.github = StandinGitHub(lambda: self.now, [self.repository])
        self.keeper = Keeper(self.github, PROJECT, self.wants)

    def look(self, after: float = 0, *, restarted: bool = False) -> list[str]:
        """A look so many minutes later; what of it was billed, by its last words."""
        self.now += after * MINUTE
        before = len(self.github.billed)
        assert self.keeper.look(restarted=restarted).failure is None
        return [line.removeprefix("/repos/k2/app").replace(STABLE, "") for line in self.github.billed[before:]]


STABLE = "exclude_pull_requests=false&per_page=100&page=1"
NEWEST, IN_PROGRESS, QUEUED = (f"/actions/runs?{more}" for more in ("", "status=in_progress&", "status=queued&"))


def attempt(number: int, start: float, end: float, conclusion: str = "success", id: int = 1) -> StandinAttempt:
    """One job, from a minute after the start to the end."""
    begun = min(start + 1, end)
    job = StandinJob(
        id * 100 + number, "test", T0 + begun * MINUTE, T0 + end * MINUTE, conclusion, created_at=T0 + start * MINUTE
    )
    return StandinAttempt(number, T0 + start * MINUTE, T0 + end * MINUTE, conclusion, [job])


def run(id: int, *attempts: StandinAttempt) -> StandinRun:
    return StandinRun(id=id, number=id, created_at=attempts[0].started_at, attempts=list(attempts))


def past(runs: int, newest: float = -100) -> list[StandinRun]:
    """So many runs of the past, ten minutes apart."""
    begun = (newest - 10 * n for n in range(runs))
    return [run(5000 + n, attempt(1, start, start + 5, id=5000 + n)) for n, start in enumerate(begun)]


# ------------------------------------------------------------------------------------------------- what looks cost


@pytest.mark.parametrize("runs", [0, 3, 100, 250], ids="runs={}".format)
def test_a_repository_where_nothing_happens_costs_nothing(runs: int) -> None:
    world = World(past(runs))
    world.look()
    billed = [line for _ in range(60) for line in world.look(1)]
    assert billed == []


def test_a_small_repository_where_nothing_happens_is_asked_one_question_a_look() -> None:
    world = World(past(20))
    world.look()
    world.github.asked.clear()
    for _ in range(50):
        world.look(1)
    assert len(world.github.asked) == 50


def test_a_run_costs_one_request_when_it_has_finished_and_one_for_each_change_of_the_list() -> None:
    world = World([run(1, attempt(1, 3, 8)), *past(3)])
    world.look()
    assert [world.look(1) for _ in range(10)] == [
        [],
        [],
        [NEWEST],  # it is queued
        [NEWEST],  # it runs
        [],
        [],
        [],
        [NEWEST, "/actions/runs/1/jobs?filter=all&per_page=100&page=1"],
        [],
        [],
    ]
    assert world.keeper.outcomes["1", 1] is Result.SUCCESS


def test_an_open_run_that_no_list_shows_is_asked_for_by_id_and_costs_when_it_changes() -> None:
    old = run(1, attempt(1, -3000, -2990, "failure"), attempt(2, 0, 8))
    world = World([old, *past(200)])
    world.look()
    world.look(1)
    costs = [world.look(1) for _ in range(8)]
    assert [line for look in costs for line in look] == [
        "/actions/runs/1?",
        "/actions/runs/1/jobs?filter=all&per_page=100&page=1",
    ]
    assert world.keeper.outcomes["1", 2] is Result.SUCCESS


def test_jobs_of_open_runs_are_asked_for_where_a_rule_speaks_of_them_and_cost_when_they_move() -> None:
    world = World([run(1, attempt(1, 0, 20))], frozenset({Kind.JOB}))
    world.look(2)
    assert [world.look(1) for _ in range(10)] == [[] for _ in range(10)]
    assert [job.state for job in world.keeper.runs["1"].jobs] == [RunState.RUNNING]
    world.runs[0].attempts[0].jobs.append(
        StandinJob(7, "deploy", T0 + 14 * MINUTE, T0 + 20 * MINUTE, created_at=T0 + 13 * MINUTE)
    )
    assert world.look(1) == ["/actions/runs/1/jobs?filter=all&per_page=100&page=1"]
    assert [job.state for job in world.keeper.runs["1"].jobs] == [RunState.RUNNING, RunState.PENDING]


def test_the_daily_sweep_of_a_busy_repository_costs_only_days_in_which_something_was_run_again() -> None:
    runs = past(2500)
    world = World(runs)
    world.look()
    world.look(24 * 60)
    assert len(world.look(24 * 60)) <= 2
    runs[700].attempts.append(attempt(2, 2 * 24 * 60 + 100, 2 * 24 * 60 + 110, id=int(runs[700].id)))
    billed = world.look(24 * 60)
    assert len([line for line in billed if "created" in line]) <= 3
    assert (str(runs[700].id), 2) in world.keeper.outcomes


def test_new_branches_cost_nothing_and_a_new_tag_costs_one_request_for_the_tags_and_one_for_the_branches() -> None:
    ended = [run(n, attempt(1, n, n + 0.5, id=n)) for n in range(1, 6)]
    for n, each in enumerate(ended):
        each.head_branch = f"topic-{n}" if n < 4 else "v1.0"
    world = World([*ended, *past(3)])
    world.look()
    world.repository.tags.add("v0.9")
    assert [line.partition("?")[0] for line in world.look(1.6)][2:] == ["/tags"]
    assert [[line for line in world.look(1) if "jobs" not in line] for _ in range(3)] == [[NEWEST]] * 3
    world.repository.tags.add("v1.0")
    assert [line.partition("?")[0] for line in world.look(1)][2:] == ["/tags", "/commits/heads%2Fv1.0"]
    assert [fact.ref_type for fact in world.keeper.runs.values() if fact.branch == "v1.0"] == [RefType.TAG]


def test_a_restart_costs_each_list_once() -> None:
    world = World(past(150))
    world.look()
    assert world.look(1, restarted=True) == ["?", NEWEST, IN_PROGRESS, QUEUED]
    assert world.look(1) == []


def test_a_burst_of_more_than_a_hundred_runs_is_read_whole() -> None:
    world = World(past(3))
    world.look()
    world.runs += [run(n, attempt(1, 1 + n / 500, 3, id=n)) for n in range(1, 251)]
    world.look(10)
    assert len(world.keeper.outcomes) == 253
    assert world.look(1) == []


def test_a_run_that_was_deleted_is_asked_for_once() -> None:
    world = World([run(1, attempt(1, -1, 60)), *past(3)])
    world.look()
    del world.runs[0]
    assert world.look(1) == [NEWEST, "/actions/runs/1?"]
    assert [world.look(1) for _ in range(9)] == [[] for _ in range(9)]


def test_etags_from_before_a_look_that_failed_do_not_hide_what_it_missed() -> None:
    world = World([run(1, attempt(1, 1, 3)), *past(3)])
    world.look()
    world.now += 5 * MINUTE
    world.keeper.turn = lambda request: Failure("server", "502") if request.kind == "jobs" else None
    assert world.keeper.look().failure is not None
    world.keeper.turn = lambda request: None
    world.look(1)
    assert world.keeper.outcomes["1", 1] is Result.SUCCESS


def test_rules_that_look_further_back_have_all_lists_read_anew() -> None:
    world = World(past(3))
    world.look()
    world.keeper.project = PROJECT
    world.keeper.runs.clear()
    world.keeper.outcomes.clear()
    world.look(1)
    assert len(world.keeper.outcomes) == 3


# --------------------------------------------------------------------------------------- and all of it is the truth


@st.composite
def histories(draw: st.DrawFn) -> list[StandinRun]:
    """Runs from three days before the first look on, with re-runs, some of them much later and short."""
    numbers = count(1)
    runs = []
    for start in draw(st.lists(st.integers(-4000, 900), max_size=8)):
        id, attempts, at = next(numbers), [], float(start)
        for number in range(1, draw(st.integers(1, 3)) + 1):
            end = at + draw(st.sampled_from([0.5, 2, 7, 45, 400]))
            attempts.append(attempt(number, at, end, draw(st.sampled_from(["success", "failure", "cancelled"])), id))
            at = end + draw(st.sampled_from([0.5, 3, 60, 2000]))
        runs.append(run(id, *attempts))
    return [*runs, *past(draw(st.sampled_from([0, 5, 120])))]


@dataclass(frozen=True)
class Step:
    """A look: so many minutes after the last, perhaps of a new process, perhaps failing at its so-manieth request."""

    after: float
    restarted: bool
    fails_at: int | None


STEPS = st.builds(
    Step,
    st.sampled_from([0.2, 1, 4, 30, 300, 1500]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([None, None, 1, 2, 3, 5, 9]),
)


def failing(at: int | None) -> Iterator[Answer | None]:
    for number in count(1):
        yield Failure("server", "502 Bad Gateway", 502) if number == at else None


@settings(max_examples=60, deadline=None)
@given(histories(), st.lists(STEPS, max_size=15), st.booleans())
def test_after_any_looks_what_is_recorded_is_what_github_holds(
    history: list[StandinRun], steps: list[Step], jobs: bool
) -> None:
    world = World(history, frozenset({Kind.JOB}) if jobs else frozenset())
    world.look()
    for step in steps:
        world.now += step.after * MINUTE
        failures = failing(step.fails_at)

        def turn(request: Request, failures: Iterator[Answer | None] = failures) -> Answer | None:
            return next(failures)

        world.keeper.turn = turn
        world.keeper.look(restarted=step.restarted)
    world.keeper.turn = lambda request: None
    world.look(7000)  # all has ended, and the sweep is due
    held = {
        (str(each.id), one.number): Result("cancellation" if one.conclusion == "cancelled" else one.conclusion)
        for each in history
        for one in each.attempts
    }
    assert world.keeper.outcomes == held
    assert {fact.state for fact in world.keeper.runs.values()} <= {RunState.FINISHED}
    ends = {(fact.id, one.attempt): one.finished_at for fact in world.keeper.runs.values() for one in fact.outcomes}
    assert all(
        ends.get((str(each.id), one.number), one.completed_at) == one.completed_at
        for each in history
        for one in each.attempts
    )
    assert [world.look(1), world.look(7)] == [[], []]
    asked_for_jobs = len([line for line in world.github.asked if "/jobs" in line])
    assert jobs or any(step.fails_at for step in steps) or asked_for_jobs <= len(held)
