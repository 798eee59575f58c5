"""Messages as files, for an alert before anybody is told of it."""

from dataclasses import replace
from pathlib import Path

from k2alert.model import Alert, AlertState, Evidence
from k2alert.previews import previews
from tests.support.bench import T0, Bench
from tests.support.notified import run

RATE = """
alert_rules:
  - {name: low, condition: success_rate < 0.95, period: 10m, severity: warning, message: "{{ success_rate | percent }}"}
"""
RUNS = "+" * 11 + "-" * 9


def firing(bench: Bench) -> Alert:
    (alert,) = [one for one in bench.plan().step.alerts.values() if one.state is AlertState.FIRING]
    return alert


def test_the_beginning_and_the_end_are_written_for_everyone_who_would_hear(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RATE, f"pay/api main {RUNS}")
    alert = firing(bench)
    rules = {rule.name: rule for rule in bench.config.rules}
    evidence = {alert.key: Evidence(runs=(run(7),), faults=9, samples=10)}

    found = {one.name: one.content.decode() for one in previews(bench.scene, alert, rules, evidence, now=T0)}

    assert set(found) == {
        f"team-slack-0-{kind}{ending}" for kind in ("-firing", "-resolved") for ending in (".json", ".html", ".txt")
    }
    text = found["team-slack-0--firing.txt"]
    assert text.startswith("*[FIRING:1]* low · pay/api: 0% &lt; 95% (was 100% the 10m before), 9 of 10 runs")
    assert found["team-slack-0--resolved.txt"].startswith("*[RESOLVED]* low")


def test_nobody_who_hears_is_no_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RATE, f"pay/api main {RUNS}")
    scene = replace(bench.scene, config=replace(bench.config, route=None))
    assert previews(scene, firing(bench), {}, {}, now=T0) == ()
