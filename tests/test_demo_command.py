"""`k2alert demo` as a person runs it: a process with nothing configured, that tells the story and ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from k2alert.config.load import load, load_rules
from k2alert.measure.catalogue import METRICS
from k2alert.model import Rule
from k2alert.rehearse.demo import CONFIG

SPEED = "4"


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The command in an empty folder, with no environment but what Python itself needs."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "k2alert", "demo", "--speed", SPEED, *options],
        cwd=folder,
        env={**environ, "PYTHONPATH": root, "TMPDIR": str(folder), "PYTHONWARNINGS": "error", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_until(process: subprocess.Popen[str], wanted: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if wanted in line:
            return
    pytest.fail(f"the demo ended without a line with {wanted!r}")


def test_the_story_is_told_to_slack_and_by_mail_and_ends(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    for incident in ("main_is_red · shop/checkout", "pipelines_are_slow · mobile/app"):
        name = incident.replace(" ·", "")
        for line in (
            f"  [FIRING:1] {incident}: ",
            f"  Subject: [FIRING:1] {name}",
            f"  [RESOLVED] {incident}: ",
            f"    Resolved: {incident}: ",
            f"  Subject: [RESOLVED] {name}",
        ):
            assert out.count(f"\n{line}") == 1, line
    assert "The last 3 pipelines of shop/checkout failed, one after the other." in out
    assert "shop/checkout is green again." in out
    assert "[FIRING:1] pipeline_success_rate_low · shop/checkout: " in out
    assert out.index("/metrics") < out.index("[FIRING:1]") < out.index("[RESOLVED]") < out.index("What you saw")
    assert "Slack: 3 messages, 2 edits, 2 answers in threads. Mail: 5." in out
    assert "\x1b" not in out
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_cleanly_in_the_middle_of_the_story(tmp_path: Path) -> None:
    with start(tmp_path, "--keep") as process:
        assert list(lines_until(process, "[FIRING:1]"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_its_configuration_has_no_problem_but_what_nothing_collects_yet() -> None:
    environ = {
        "DEMO_GITLAB": "http://127.0.0.1:1",
        "DEMO_SLACK": "http://127.0.0.1:1/api/",
        "DEMO_MAIL": "127.0.0.1:1",
        "DEMO_STORE": "demo.db",
        "DEMO_TOKEN": "demo-token",
        "DEMO_TICK": "1s",
    }
    loaded = load(CONFIG, environ=environ, metrics=METRICS)
    assert loaded.runnable
    assert {problem.code for problem in loaded.problems} <= {"no-collector"}


def judged_by(rules: Iterable[Rule]) -> dict[str, tuple[object, ...]]:
    """Everything of the rules that decides what fires and what is said."""
    return {
        rule.name: (
            rule.condition.text,
            rule.clear and rule.clear.text,
            *(
                rule.window,
                rule.selection,
                rule.severity,
                rule.min_samples,
                rule.hold,
                rule.no_data,
                rule.keep_firing_for,
            ),
            rule.message.source if rule.message else "",
        )
        for rule in rules
    }


def test_its_rules_hold_the_shipped_ones_as_they_are() -> None:
    shipped = sorted((Path(__file__).parents[1] / "rules").glob("*.yml"))
    theirs = judged_by(load_rules(shipped, metrics=METRICS).rules)
    ours = judged_by(load_rules([CONFIG.with_name("demo_rules.yml")], metrics=METRICS).rules)
    quick = {"main_is_red", "pipelines_are_slow"}  # made to end while one watches
    assert len(ours.keys() - quick) == 4
    assert {name: theirs.get(name) for name in ours.keys() - quick} == {
        name: ours[name] for name in ours.keys() - quick
    }
