"""Watched files have changed when their content has, however that came about."""

from pathlib import Path

from k2alert.config.load import load
from k2alert.config.watch import fingerprint
from k2alert.measure.catalogue import METRICS
from tests.support.broken_files import RULE


def test_a_file_changes_with_its_content_not_its_times(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a")
    before = fingerprint([file])

    file.write_text("a")
    assert fingerprint([file]) == before

    file.write_text("b")
    assert fingerprint([file]) != before


def test_a_file_that_comes_or_goes_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    absent = fingerprint([file])
    file.write_text("")

    assert fingerprint([file]) != absent

    file.unlink()
    assert fingerprint([file]) == absent


def test_a_folder_in_a_files_place_is_no_content(tmp_path: Path) -> None:
    assert fingerprint([tmp_path]) == {tmp_path: ""}


def test_a_config_map_that_swaps_its_symlink_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes does it: the file links to ..data/FILE, and ..data is replaced as one."""
    for version, text in (("..1", RULE), ("..2", RULE.replace("0.95", "0.9"))):
        (tmp_path / version).mkdir()
        (tmp_path / version / "k2alert.yml").write_text(text)
    data = tmp_path / "..data"
    data.symlink_to("..1")
    main = tmp_path / "k2alert.yml"
    main.symlink_to("..data/k2alert.yml")
    watched = load(main, environ={}, metrics=METRICS).watched
    assert fingerprint(watched) == watched

    swapped = tmp_path / "..tmp"
    swapped.symlink_to("..2")
    swapped.replace(data)

    assert fingerprint(watched) != watched


def test_rule_files_and_secrets_are_watched_and_their_neighbours_are_not(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text(RULE)
    (tmp_path / "token").write_text("secret")
    main = tmp_path / "k2alert.yml"
    main.write_text(f"rule_files: [rules/*.yml]\nweb: {{admin_token: '${{file:{tmp_path}/token}}'}}\n")
    watched = load(main, environ={}, metrics=METRICS).watched
    assert fingerprint(watched) == watched

    (tmp_path / "k2alert.db").write_text("not ours")
    (tmp_path / "rules" / "notes.txt").write_text("not ours")
    assert fingerprint(watched) == watched

    (tmp_path / "rules" / "b.yml").write_text(RULE.replace("red", "blue"))
    assert fingerprint(watched) != watched

    (tmp_path / "rules" / "b.yml").unlink()
    (tmp_path / "token").write_text("another")
    assert fingerprint(watched) != watched


def test_a_secret_that_is_not_there_yet_is_watched_for(tmp_path: Path) -> None:
    main = tmp_path / "k2alert.yml"
    main.write_text(f"rule_files: [later.yml]\nweb: {{admin_token: '${{file:{tmp_path}/token}}'}}\n")
    watched = load(main, environ={}, metrics=METRICS).watched
    assert fingerprint(watched) == watched

    (tmp_path / "token").write_text("secret")
    with_token = fingerprint(watched)
    (tmp_path / "later.yml").write_text(RULE)

    assert with_token != watched
    assert fingerprint(watched) != with_token
