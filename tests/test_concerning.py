"""To leave out the alerts that nobody may have to hear of changes nothing of what is said, or settled in silence."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from k2alert.config.model import Config
from k2alert.cycle import concerning
from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, EndReason, LogEntry, Severity
from k2alert.notify.digest import awaited_by_digests, digests_due, open_digests
from k2alert.notify.outcome import finished, settled
from k2alert.notify.plan import due
from k2alert.times import iso
from tests.support.loading import load_text
from tests.support.looks import T0, at

MAIN = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app]}]
receivers:
  - {name: team, webhook: {url: http://hooks.example.com}}
  - {name: chat, slack: {bot_token: abcdefgh, channel: "#a"}}
route:
  receiver: team
  group_by: [alertname]
  group_wait: 0s
  routes: [{receiver: chat, group_by: [project], continue: true}, {receiver: chat, digest: "daily 02:00 UTC"}]
"""
NAMES = [(f"r{rule}", f"k2/p{project}") for rule in range(2) for project in range(3)]
WHO = [("team", "webhook[0]"), ("chat", "slack[0]")]
MINUTES = st.integers(-300, -1)


@st.composite
def an_alert(draw: st.DrawFn, name: tuple[str, str]) -> Alert:
    rule, project = name
    labels = Labels({"source": "gitlab", "project": project})
    state = draw(st.sampled_from([*AlertState, AlertState.INACTIVE]))
    fires = state in (AlertState.FIRING, AlertState.ENDED)
    ended = state is AlertState.ENDED
    return Alert(
        rule=rule,
        identity=labels,
        labels=labels.merged({"alertname": rule}),
        severity=Severity.WARNING,
        state=state,
        fired_at=at(draw(MINUTES)) if fires else None,
        ended_at=at(draw(MINUTES)) if ended else None,
        reason=draw(st.sampled_from([EndReason.RECOVERED, EndReason.NO_DATA])) if ended else None,
        unknown=draw(st.integers(0, 4)) == 0 and state is not AlertState.INACTIVE,
    )


@st.composite
def an_entry(draw: st.DrawFn, keys: list[str]) -> LogEntry:
    receiver, integration = draw(st.sampled_from(WHO))
    told = draw(st.dictionaries(st.sampled_from(keys), st.sampled_from([AlertState.FIRING, AlertState.ENDED])))
    group = draw(st.sampled_from(['root:{alertname="r0"}', 'root/0:{project="k2/p1"}', "root/1:digest"]))
    sent = draw(st.none() | MINUTES)
    handle = {"*since": iso(at(draw(MINUTES)))} if group.endswith("digest") else {}
    return LogEntry(
        incident=f"{receiver}-{draw(st.integers(0, 9))}",
        group=group,
        group_labels=Labels(),
        receiver=receiver,
        integration=integration,
        told=told,
        sent=0 if sent is None else 1,
        first_sent_at=None if sent is None else at(sent),
        last_sent_at=None if sent is None else at(sent),
        retry_at=draw(st.none() | st.just(T0)),
        gave_up=draw(st.integers(0, 5)) == 0,
        closed=draw(st.integers(0, 3)) == 0,
        handle=handle,
    )


def said(config: Config, alerts: dict[str, Alert], log: list[LogEntry]) -> Iterable[object]:
    """All that a round makes of alerts beside what they become."""
    route, receivers = config.route, config.receivers
    of: dict[str, Any] = {"alerts": alerts, "log": log, "receivers": receivers}
    yield due(**of, route=route, now=T0)
    yield digests_due(**of, route=route, now=T0)
    yield open_digests(**of, route=route, now=T0)
    yield settled(**of, route=route)
    yield finished(**of)
    yield awaited_by_digests(**of, route=route)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_concerns_nobody_can_be_left_out(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        config = load_text(Path(folder), MAIN).config
    assert config is not None
    alerts = {alert.key: alert for name in NAMES for alert in [data.draw(an_alert(name))]}
    log = data.draw(st.lists(an_entry(list(alerts)), max_size=5, unique_by=lambda entry: entry.key))
    some = concerning({(alert.rule, alert.identity): alert for alert in alerts.values()}, log)
    event(f"{len(alerts) - len(some)} are left out")

    assert list(said(config, some, log)) == list(said(config, alerts, log))
