"""The made-up week: the same for the same seed and moment, and such as a real company's."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from k2alert.rehearse.gitlab_standin import StandinPipeline
from k2alert.rehearse.history import Fate, Start, make_history, stretch
from k2alert.rehearse.shapes import PROJECTS
from k2alert.rehearse.story import STORY, end_at, starts_of

WEDNESDAY = datetime(2026, 1, 14, 15, 20, tzinfo=UTC)
SUNDAY_NIGHT = datetime(2026, 1, 18, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

History = dict[Start, StandinPipeline]


@pytest.fixture(scope="module")
def week() -> History:
    return make_history(1, now=WEDNESDAY)


def minutes(pipeline: StandinPipeline) -> float:
    assert pipeline.started_at is not None
    assert pipeline.finished_at is not None
    return (pipeline.finished_at - pipeline.started_at) / MINUTE


def on_default(week: History) -> list[StandinPipeline]:
    return [pipeline for start, pipeline in week.items() if start.ref == "main"]


def test_the_same_seed_and_moment_make_the_same_week(week: History) -> None:
    assert make_history(1, now=WEDNESDAY) == week
    assert make_history(2, now=WEDNESDAY) != week


def test_the_calendar_of_the_people_can_be_another_than_ours(week: History) -> None:
    elsewhere = make_history(1, now=SUNDAY_NIGHT, local_now=WEDNESDAY)
    assert [start.at - SUNDAY_NIGHT for start in elsewhere] == [start.at - WEDNESDAY for start in week]


def test_it_covers_more_than_a_week_and_goes_on_for_two_hours(week: History) -> None:
    created = [pipeline.created_at for pipeline in week.values()]
    assert created == sorted(created)
    assert created[0] < WEDNESDAY - 7 * DAY
    assert WEDNESDAY < created[-1] < WEDNESDAY + timedelta(hours=2)


def test_every_project_is_alive_and_the_whole_has_a_believable_size(week: History) -> None:
    projects = Counter(start.path for start in week)
    assert projects.keys() == {shape.path for shape in PROJECTS}
    assert min(projects.values()) > 50
    assert 600 < len(week) < 1200


def test_ids_rise_with_creation_and_are_given_once(week: History) -> None:
    ids = [pipeline.id for pipeline in week.values()]
    jobs = [job.id for pipeline in week.values() for job in pipeline.jobs]
    assert ids == sorted(set(ids))
    assert len(jobs) == len(set(jobs))
    for shape in PROJECTS:
        iids = [pipeline.iid for start, pipeline in week.items() if start.path == shape.path]
        assert iids == list(range(iids[0] or 0, (iids[0] or 0) + len(iids)))


def test_people_work_by_day_and_rest_at_weekends(week: History) -> None:
    pushed = [start.at for start in week if start.source != "schedule"]
    by_day = sum(8 <= at.hour < 18 for at in pushed)
    weekend = sum(at.weekday() >= 5 for at in pushed)
    assert by_day > 0.75 * len(pushed)
    assert 0 < weekend < 0.1 * len(pushed)


def test_it_has_everything_that_a_forge_shows(week: History) -> None:
    assert {start.source for start in week} == {"push", "merge_request_event", "schedule"}
    assert any(start.tag for start in week)
    statuses = {pipeline.status for pipeline in week.values()}
    assert statuses == {"success", "failed", "canceled"}
    jobs = [job for pipeline in week.values() for job in pipeline.jobs]
    assert {job.status for job in jobs} == {"success", "failed", "canceled", "skipped"}
    assert {job.failure_reason for job in jobs if job.status == "failed"} >= {
        "script_failure",
        "runner_system_failure",
    }


def test_jobs_keep_to_the_longest_times_of_their_stages(week: History) -> None:
    most = {step.name: step.most for shape in PROJECTS for step in shape.steps}
    for pipeline in week.values():
        for job in pipeline.jobs:
            if job.started_at is not None and job.finished_at is not None:
                assert job.finished_at > job.started_at >= job.created_at >= pipeline.created_at
                assert (job.finished_at - job.started_at) / MINUTE <= most[job.name.split(" ")[0]]


def test_a_pipeline_ends_as_its_jobs_say(week: History) -> None:
    for pipeline in week.values():
        latest = {job.name: job for job in pipeline.jobs}
        failed = [job for job in latest.values() if job.status == "failed" and not job.allow_failure]
        assert (pipeline.status == "failed") == bool(failed), pipeline
        assert (pipeline.status == "canceled") == any(job.status == "canceled" for job in latest.values())
        assert pipeline.finished_at == max(job.finished_at for job in pipeline.jobs if job.finished_at)


def test_a_retried_job_fails_once_and_then_succeeds(week: History) -> None:
    twice = 0
    for pipeline in week.values():
        executions = defaultdict(list)
        for job in pipeline.jobs:
            executions[job.name].append(job)
        for jobs in executions.values():
            if len(jobs) > 1:
                twice += 1
                assert [job.status for job in jobs] == ["failed", "success"]
                assert jobs[0].id < jobs[1].id
                assert jobs[0].finished_at is not None
                assert jobs[0].finished_at < jobs[1].created_at
    assert twice > 5


@pytest.mark.parametrize("now", [WEDNESDAY, SUNDAY_NIGHT], ids=["a wednesday", "a sunday night"])
@pytest.mark.parametrize("seed", [1, 20260105, 99])
def test_ordinary_rules_are_calm_before_a_story_begins(seed: int, now: datetime) -> None:
    main = on_default(make_history(seed, now=now))
    of_a_day = [pipeline for pipeline in main if pipeline.finished_at and now - DAY < pipeline.finished_at <= now]
    assert all(pipeline.status == "success" for pipeline in of_a_day)
    assert all(minutes(pipeline) < 45 for pipeline in main)
    assert sum(map(minutes, main)) / len(main) < 25


def test_the_default_branch_fails_seldom_and_merge_requests_often(week: History) -> None:
    def failing(pipelines: list[StandinPipeline]) -> float:
        return sum(pipeline.status == "failed" for pipeline in pipelines) / len(pipelines)

    requests = [pipeline for pipeline in week.values() if pipeline.source == "merge_request_event"]
    assert 0 < failing(on_default(week)) < 0.05 < failing(requests) < 0.25


def test_stretching_keeps_the_creation_and_moves_all_else_in_proportion(week: History) -> None:
    pipeline = next(iter(week.values()))
    assert pipeline.finished_at is not None
    length = pipeline.finished_at - pipeline.created_at
    longer = stretch(pipeline, finished_at=pipeline.created_at + 3 * length)
    assert longer.created_at == pipeline.created_at
    assert longer.finished_at == pipeline.created_at + 3 * length
    for before, after in zip(pipeline.jobs, longer.jobs, strict=True):
        assert abs((after.created_at - pipeline.created_at) - 3 * (before.created_at - pipeline.created_at)) < MINUTE


def test_the_story_has_its_branches_for_itself_and_ends_when_it_says() -> None:
    starts = starts_of(STORY, now=WEDNESDAY)
    made = make_history(1, now=WEDNESDAY, given=tuple(starts.values()))
    story = end_at(STORY, {beat: made[start] for beat, start in starts.items()}, begin=WEDNESDAY, speed=2)
    for beat, start in starts.items():
        assert story[beat].finished_at == WEDNESDAY + timedelta(seconds=beat.ends / 2)
        others = [other for other in made if (other.path, other.ref) == (start.path, start.ref)]
        assert not [other for other in others if other.at > start.at and other not in starts.values()]
    assert [beat.ends for beat in STORY] == sorted(beat.ends for beat in STORY)


def test_the_fix_is_newer_than_what_it_fixes() -> None:
    checkout = [beat for beat in STORY if beat.path == "shop/checkout"]
    assert [beat.fate == Fate() for beat in checkout] == [False] * 4 + [True]
    assert [beat.began for beat in checkout] == sorted((beat.began for beat in checkout), reverse=True)


def test_running_times_of_the_story_are_those_it_tells_of() -> None:
    starts = starts_of(STORY, now=WEDNESDAY)
    made = make_history(1, now=WEDNESDAY, given=tuple(starts.values()))
    for beat, start in starts.items():
        stretched = made[start].finished_at
        assert stretched is not None
        natural = (stretched - start.at) / MINUTE
        assert 0.7 < (beat.began + beat.ends / 60) / natural < 1.4, beat
