"""What every engine of the store promises of projects, alerts, their edges and the notification log."""

from dataclasses import fields, replace
from datetime import timedelta

import pytest

from k2alert.labels import Labels, parse_matcher
from k2alert.model import (
    Alert,
    AlertState,
    EndReason,
    LogEntry,
    Project,
    Severity,
    Silence,
    Telling,
    TellingOutcome,
    TellingQuery,
    ToldAlert,
    Transition,
)
from k2alert.record import Store, open_store
from tests.support.looks import at, finished_run, job, run
from tests.support.stores import entries_of, news, prune

PROJECT = Project(
    source="gitlab",
    key="42",
    path="k2/app",
    forge_id="42",
    default_branch="main",
    web_url="https://gitlab.example.com/k2/app",
    first_seen_at=at(0),
    cursor=at(1),
    covered_since=at(2),
    complete_at=at(3),
    success_at=at(4),
    swept_at=at(5),
    failure="401 Unauthorized",
    forbidden=True,
    failures=3,
)
ALERT = Alert(
    rule="main_is_red",
    identity=Labels({"source": "gitlab", "project": "k2/ünïcode"}),
    by=("project", "source"),
    labels=Labels({"alertname": "main_is_red", "severity": "critical"}),
    severity=Severity.CRITICAL,
    state=AlertState.ENDED,
    active_at=at(1),
    fired_at=at(2),
    ended_at=at(3),
    reason=EndReason.RECOVERED,
    value=0.1 + 0.2,
    threshold=3,
    samples=12,
    initial=True,
    quiet_since=at(4),
    no_data_since=at(5),
    unknown=True,
)
EDGE = Transition(at(1), "main_is_red", ALERT.identity, AlertState.PENDING, AlertState.FIRING, None, 0.5)
LOG_ENTRY = LogEntry(
    incident="i1",
    group="root|{}",
    group_labels=Labels({"project": "k2/app"}),
    receiver="team",
    integration="slack[0]",
    told={"abc": AlertState.FIRING},
    first_sent_at=at(1),
    last_sent_at=at(2),
    sent=2,
    handle={"ts": "1.2", "channel": "C1"},
    closed=True,
    failures=1,
    error="timeout",
    retry_at=at(3),
    gave_up=True,
)


SILENCE = Silence(
    id="8a3e",
    matchers=(parse_matcher('project=~"k2/.*"'), parse_matcher('team!="a\\"b"'), parse_matcher("job!~x")),
    starts_at=at(1),
    ends_at=at(2),
    updated_at=at(3),
    author="Ünal",
    comment="a\nb",
    until_resolved={"abc": at(1)},
)


@pytest.mark.parametrize("example", [PROJECT, ALERT, LOG_ENTRY, SILENCE], ids=lambda example: type(example).__name__)
def test_the_examples_here_leave_no_field_at_its_default(example: object) -> None:
    blank = [one.name for one in fields(example) if getattr(example, one.name) == one.default]  # type: ignore[arg-type]
    assert blank == []


async def test_projects_come_back_as_they_were_saved_last(store: Store) -> None:
    bare = Project(source="github", key="o/r", path="o/r", first_seen_at=at(9))
    await store.save_project(replace(PROJECT, cursor=None, failure=""))
    await store.save_project(bare)
    await store.save_project(PROJECT)
    assert await store.projects() == [bare, PROJECT]
    await store.forget_projects([("github", "o/r"), ("github", "never/seen")])
    assert await store.projects() == [PROJECT]


async def test_alerts_come_back_as_they_were_saved_last(store: Store) -> None:
    pending = replace(ALERT, state=AlertState.PENDING, reason=None, ended_at=None, value="main", threshold=None)
    other = replace(ALERT, rule="slow", value=None, samples=None)
    await store.save_alerts([pending, other], transitions=[EDGE])
    later = replace(EDGE, at=at(7), reason=EndReason.NO_DATA)
    await store.save_alerts([ALERT], transitions=[later, replace(later, rule="slow")])
    assert sorted(await store.alerts(), key=lambda alert: alert.rule) == [ALERT, other]
    await store.save_alerts([], dropped=[other.key, "unknown"])
    assert await store.alerts() == [ALERT]
    assert await store.transitions("main_is_red", 10) == [later, EDGE]
    assert await store.transitions("main_is_red", 1) == [later]
    assert await store.transitions("slow", 10) == [replace(later, rule="slow")]


async def test_alerts_and_edges_are_saved_all_or_not_at_all(store: Store) -> None:
    unsavable = replace(EDGE, rule=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)not.null"):
        await store.save_alerts([ALERT], transitions=[EDGE, unsavable])
    assert await store.alerts() == []
    assert await store.transitions("main_is_red", 10) == []


async def test_the_log_comes_back_and_dropped_entries_stay_as_history(store: Store) -> None:
    fresh = LogEntry(incident="i2", group="g", group_labels=Labels(), receiver="team", integration="email[0]")
    await store.save_log([replace(LOG_ENTRY, closed=False, sent=1)])
    await store.save_log([fresh])
    await store.save_log([LOG_ENTRY])
    assert await store.log() == [LOG_ENTRY, fresh]
    await store.drop_log([LOG_ENTRY.key])
    assert await store.log() == [fresh]
    assert await store.log_history() == [LOG_ENTRY, fresh]
    await prune(store, at(2))
    assert await store.log_history() == [LOG_ENTRY, fresh]
    await prune(store, at(3))
    assert await store.log_history() == [fresh]
    assert await store.log_history(limit=0) == []


async def test_old_edges_go_with_retention(store: Store) -> None:
    await store.save_alerts([], transitions=[EDGE, replace(EDGE, at=at(50))])
    await prune(store, at(50))
    assert [edge.at for edge in await store.transitions("main_is_red", 10)] == [at(50)]


async def test_everything_is_there_after_a_restart(store: Store, store_url: str) -> None:
    saved = await store.save([finished_run("1", 10), run("2", seen=3, jobs=(job(id="7"),))])
    await store.save_project(PROJECT)
    await store.save_alerts([ALERT], transitions=[EDGE])
    await store.save_log([LOG_ENTRY])
    await store.ping()
    await store.close()
    again = open_store(store_url)
    assert await entries_of(again) == news(saved)
    assert [entry for _, entry in await again.opens()] == [change.new for change in saved.opens]
    assert (await again.projects(), await again.alerts()) == ([PROJECT], [ALERT])
    assert (await again.transitions("main_is_red", 10), await again.log()) == ([EDGE], [LOG_ENTRY])
    assert (await again.save([run("3", seen=5)])).streams == ()
    await again.close()


async def test_silences_are_kept_changed_and_dropped_over_a_restart(store_url: str) -> None:
    store = open_store(store_url)
    other = replace(SILENCE, id="9b", starts_at=at(0), until_resolved={}, comment="half \ud800 a pair")
    await store.save_silences([SILENCE, other])
    await store.close()
    store = open_store(store_url)
    assert await store.silences() == [replace(other, comment="half ? a pair"), SILENCE]
    await store.save_silences([replace(SILENCE, ends_at=at(9))], dropped=["9b"])
    assert await store.silences() == [replace(SILENCE, ends_at=at(9))]
    await store.close()


TOLD = Telling(
    at=at(1),
    receiver="team",
    integration="slack[0]",
    kind="firing",
    incident="i1",
    alerts=(ToldAlert(key="k1", rule="main_is_red", identity=Labels({"project": 'k2/"app'})),),
    total=1,
    outcome=TellingOutcome.GIVEN_UP,
    reason="clientError",
    error="Slack answered 404 no_service",
    took=timedelta(milliseconds=120),
)


async def test_what_was_sent_to_whom_is_read_page_by_page_and_goes_with_retention(store: Store) -> None:
    later = [replace(TOLD, at=at(number), incident=f"i{number}", receiver="qa") for number in range(2, 6)]
    await store.save_log([LOG_ENTRY], tellings=[TOLD])
    await store.save_log([], tellings=later)
    newest = await store.tellings(TellingQuery(limit=2))
    assert [told.incident for told in newest] == ["i5", "i4"]
    assert [told.incident for told in await store.tellings(TellingQuery(before=newest[-1].id))] == ["i3", "i2", "i1"]
    (first,) = await store.tellings(TellingQuery(receiver="team"))
    assert replace(first, id=0) == TOLD
    assert [told.incident for told in await store.tellings(TellingQuery(incident="i3"))] == ["i3"]
    assert len(await store.tellings(TellingQuery(alert="k1"))) == 5
    assert await store.tellings(TellingQuery(alert="k")) == []
    await prune(store, at(4))
    assert [told.incident for told in await store.tellings(TellingQuery())] == ["i5", "i4"]
