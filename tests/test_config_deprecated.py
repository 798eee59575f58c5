"""Keys that have another name now: read as the new one, said at their place, and gone when they were to be."""

import logging
from pathlib import Path

import pytest

from k2alert import __version__
from k2alert.config.deprecated import DEPRECATED, Deprecated, brought_up
from k2alert.config.load import Loaded, load
from k2alert.document import parse_document
from k2alert.measure.catalogue import METRICS
from k2alert.reloading import runnable

TABLE = (
    Deprecated((), "keep", "retention", "0.2", "0.4"),
    Deprecated(("sources", "*"), "poll", "poll_interval", "0.2", "0.4"),
    Deprecated(("alert_rules", "*"), "window", "period", "0.3", "0.5"),
    Deprecated(("web",), "motd", "", "0.3", "0.5"),
)

NEW = """\
sources:
  - {type: gitlab, name: one, url: "https://gitlab.test", token: abc, projects: [k2/app]}
  - {type: gitlab, name: two, url: "https://gitlab.test", token: abc, projects: [k2/b], poll_interval: 30s}
retention: 40d
web: {}
receivers: [{name: team}]
route: {receiver: team}
alert_rules:
  - name: red
    condition: failed_pipelines > 3
    period: 1h
    severity: info
    message: red
"""
OLD = (
    NEW.replace("poll_interval", "poll")
    .replace("retention", "keep")
    .replace("web: {}", "web: {motd: hello}")
    .replace("period", "window")
)


def loaded(folder: Path, text: str) -> Loaded:
    file = folder / "k2alert.yml"
    file.write_text(text)
    return load(file, environ={}, metrics=METRICS, deprecated=TABLE)


def said(found: Loaded) -> list[str]:
    return [f"{problem.place.line}:{problem.place.column} {problem.code} {problem.text}" for problem in found.problems]


def test_an_old_file_means_what_the_new_one_does_and_each_old_key_is_named(tmp_path: Path) -> None:
    new, old = loaded(tmp_path, NEW), loaded(tmp_path, OLD)
    assert new.config is not None
    assert old.config is not None
    for part in ("sources", "retention", "web", "rules"):
        assert getattr(old.config, part) == getattr(new.config, part), part
    assert said(new) == []
    assert said(old) == [
        "3:89 deprecated poll: is called poll_interval since 0.2, and will be unknown in 0.4",
        "4:1 deprecated keep: is called retention since 0.2, and will be unknown in 0.4",
        "5:7 deprecated motd: does nothing since 0.3, and will be unknown in 0.5",
        "11:5 deprecated window: is called period since 0.3, and will be unknown in 0.5",
    ]


def test_what_is_wrong_under_an_old_name_is_said_where_it_stands(tmp_path: Path) -> None:
    found = loaded(tmp_path, OLD.replace("window: 1h", "window: soon"))
    assert any(line.startswith("11:13 config period: ") for line in said(found)), said(found)


def test_both_names_are_an_error(tmp_path: Path) -> None:
    found = loaded(tmp_path, NEW.replace("retention: 40d", "retention: 40d\nkeep: 30d"))
    assert found.config is None
    assert said(found)[0] == "5:1 config keep: is another name for retention, which is here too; leave this one out"


def test_a_comment_ignores_it(tmp_path: Path) -> None:
    found = loaded(tmp_path, NEW.replace("retention: 40d", "keep: 40d  # k2alert: ignore deprecated"))
    assert found.config is not None
    assert said(found) == []


def test_a_daemon_starts_with_it_and_logs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert runnable(loaded(tmp_path, OLD)).rules
    assert sum("will be unknown in" in record.getMessage() for record in caplog.records) == 4


@pytest.mark.parametrize("text", ["[]", "sources: 5", "sources: [5, null]", "alert_rules: {a: b}", "web: [motd]", ""])
def test_what_has_another_shape_is_left_to_others(text: str) -> None:
    document, problems = parse_document(text.encode(), "f")
    assert problems == ()
    assert document is not None
    after, said_of_it = brought_up(document, TABLE)
    assert (after.data, said_of_it) == (document.data, ())


def as_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_what_was_to_be_gone_is_gone() -> None:
    """A row is kept for two minor releases at least, and taken out in the release that it names."""
    for row in DEPRECATED:
        assert as_numbers(row.until) > as_numbers(__version__), f"take {row.key} out of DEPRECATED"
        since, until = as_numbers(row.since), as_numbers(row.until)
        assert until[0] > since[0] or until[1] >= since[1] + 2, row
