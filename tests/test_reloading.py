"""When files are read again, and what of them is used: real files, looked at when the test says so."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from k2alert.config.load import Loaded, load
from k2alert.config.model import Config
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.measure.catalogue import METRICS
from k2alert.record.store import StoreError
from k2alert.reloading import Reloader

MAIN = "sources: []\nrule_files: ['rules*.yml']\n"
RULE = "alert_rules:\n  - {{name: {name}, condition: success_rate < 0.9, period: 24h, severity: info, message: m}}\n"


@dataclass
class Files:
    """A main file and its rule files, the reloader that watches them, and the rules that it had used."""

    folder: Path
    used: list[list[str]] = field(default_factory=list)
    reads: int = 0
    down: bool = False
    reloader: Reloader = field(init=False)

    def __post_init__(self) -> None:
        self.write("k2alert.yml", MAIN)
        self.write("rules.yml", RULE.format(name="one"))
        self.write("rules2.yml", RULE.format(name="two"))
        self.reloader = Reloader(self.read().watched, read=self.read, use=self.use, self_metrics=SelfMetrics("test"))
        self.reads = 0

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def read(self) -> Loaded:
        self.reads += 1
        return load(self.folder / "k2alert.yml", environ={}, metrics=METRICS)

    async def use(self, config: Config) -> None:
        if self.down:
            raise StoreError("no space left")
        self.used.append([rule.name for rule in config.rules])

    async def looks(self, number: int) -> None:
        for _ in range(number):
            await self.reloader.watch()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_files_that_stay_as_they_are_are_not_read_again(files: Files) -> None:
    files.write("rules.yml", RULE.format(name="one"))  # a touch is no change
    await files.looks(3)
    assert files.reads == 0


async def test_a_rule_file_that_goes_is_seen_once(files: Files) -> None:
    (files.folder / "rules2.yml").unlink()
    await files.looks(5)
    assert (files.used, files.reads) == ([["one"]], 1)


async def test_a_rule_file_that_comes_is_seen_once(files: Files) -> None:
    files.write("rules3.yml", RULE.format(name="three"))
    await files.looks(5)
    assert (files.used, files.reads) == ([["one", "two", "three"]], 1)


async def test_a_file_that_is_being_written_is_not_read(files: Files) -> None:
    files.write("rules.yml", "")  # as whoever writes it leaves it for a moment; without rules, it is a good file
    await files.looks(1)
    files.write("rules.yml", RULE.format(name="new"))
    await files.looks(1)
    assert files.reads == 0
    await files.looks(3)
    assert (files.used, files.reads) == ([["new", "two"]], 1)


async def test_what_was_written_anew_as_it_was_changes_nothing(files: Files) -> None:
    files.write("rules.yml", "")
    await files.looks(1)
    files.write("rules.yml", RULE.format(name="one"))
    await files.looks(3)
    assert files.reads == 0


async def test_a_main_file_that_breaks_is_read_once_and_its_rule_files_are_watched_on(files: Files) -> None:
    files.write("k2alert.yml", "sources: [")
    (files.folder / "rules2.yml").unlink()
    await files.looks(5)
    assert (files.used, files.reads) == ([], 1)
    files.write("rules.yml", RULE.format(name="other"))
    await files.looks(5)
    assert (files.used, files.reads) == ([], 2)
    files.write("k2alert.yml", MAIN)
    await files.looks(5)
    assert (files.used, files.reads) == ([["other"]], 3)


async def test_good_files_are_read_until_the_store_is_back(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.write("rules.yml", RULE.format(name="new"))
    files.down = True
    await files.looks(3)
    assert (files.used, files.reads) == ([], 2)
    files.down = False
    await files.looks(3)
    assert (files.used, files.reads) == ([["new", "two"]], 3)
    assert caplog.text.count("the store is down") == 1


async def test_who_asks_has_them_read_at_once(files: Files) -> None:
    files.write("rules.yml", RULE.format(name="new"))
    assert await files.reloader.reload() == ()
    await files.looks(3)
    assert (files.used, files.reads) == ([["new", "two"]], 1)
