"""Report files out of archives: what is found, and what the worst of archives cost."""

import io
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.formats import Caps, Harvest, Reason, Wanted, harvest
from k2alert.formats.archive import ArchiveCaps
from k2alert.formats.globs import path_matcher
from tests.support.archives import archive, cobertura, junit

WANTED = Wanted(tests=("**/junit*.xml",), coverage=("**/coverage.xml",), benchmarks=("bench/*.json",))
BENCH = '[{"name": "b", "value": 1.5, "unit": "s"}]'
FILES = {
    "build/junit-1.xml": junit("++-"),
    "junit-2.xml": junit("s+", "other"),
    "build/other.xml": "<html/>",
    "build/coverage.xml": cobertura(3, 4),
    "bench/b.json": BENCH,
    "bench/deep/b.json": "{}",
}


def read(data: bytes, wanted: Wanted = WANTED, **caps: object) -> Harvest:
    return harvest(io.BytesIO(data), wanted, **caps)  # type: ignore[arg-type]


def refusals(found: Harvest) -> list[tuple[str, Reason]]:
    return [(file, why.reason) for file, why in found.refused]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_the_wanted_files_of_an_archive_are_one_report_of_each_kind(method: int) -> None:
    found = read(archive(FILES, method=method))
    assert found.tests is not None
    assert (found.tests.total, found.tests.failed, found.tests.skipped) == (5, 1, 1)
    assert found.coverage is not None
    assert found.coverage.percent == 75
    assert found.benchmarks is not None
    assert [point.name for point in found.benchmarks.points] == ["b"]
    assert found.refused == ()


def test_only_what_is_wanted_is_read() -> None:
    found = read(archive(FILES), Wanted(coverage=("build/*.xml",)))
    assert (found.tests, found.benchmarks) == (None, None)
    assert found.coverage is not None
    assert refusals(found) == [("build/junit-1.xml", Reason.MALFORMED), ("build/other.xml", Reason.MALFORMED)]


def test_a_broken_file_is_told_and_the_rest_is_read() -> None:
    found = read(archive(FILES | {"junit-3.xml": "<testsuite>", "junit-\x1b[2J.xml": "no"}))
    assert found.tests is not None
    assert found.tests.total == 5
    assert refusals(found) == [("junit-3.xml", Reason.MALFORMED), ("junit-[2J.xml", Reason.MALFORMED)]


@pytest.mark.parametrize("name", ["../../etc/junit.xml", "/junit.xml", "./junit.xml", "a\\junit.xml", "ä/junit.xml"])
def test_names_are_names_and_nothing_is_written(name: str) -> None:
    found = read(archive({name: junit("+")}))
    assert found.tests is not None


@pytest.mark.parametrize("data", [b"", b"no archive", b"<html>", b"PK\x05\x06", archive(FILES)[:-30]])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    found = read(data)
    assert refusals(found) == [("", Reason.ARCHIVE)]


def test_an_encrypted_or_strangely_packed_file_is_refused() -> None:
    plain = archive({"junit.xml": junit("+")})
    at = plain.index(b"PK\x01\x02")
    encrypted = plain[: at + 8] + b"\x01" + plain[at + 9 :]
    assert refusals(read(encrypted)) == [("junit.xml", Reason.ARCHIVE)]
    assert refusals(read(archive({"junit.xml": junit("+")}, method=zipfile.ZIP_LZMA))) == [
        ("junit.xml", Reason.ARCHIVE)
    ]


def test_a_comment_and_zip64_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.comment = b"PK\x05\x06 is how it ends" * 10
        with made.open("junit.xml", "w", force_zip64=True) as member:
            member.write(junit("+-").encode())
    with path.open("rb") as file:
        found = harvest(file, WANTED)
    assert found.tests is not None
    assert found.tests.total == 2


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = archive({"junit.xml": b" " * (32 * 1024 * 1024), "b/junit.xml": junit("+")})
    assert len(bomb) < 50_000
    found = read(bomb)
    assert refusals(found) == [("junit.xml", Reason.TOO_LARGE)]
    assert found.tests is not None


def test_an_archive_that_lies_about_sizes_is_refused() -> None:
    data = bytearray(archive({"junit.xml": b" " * (32 * 1024 * 1024)}))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 1000)
    assert refusals(read(bytes(data))) == [("junit.xml", Reason.ARCHIVE)]


def test_a_damaged_file_is_refused() -> None:
    data = bytearray(archive({"junit.xml": junit("+" * 100)}, method=zipfile.ZIP_STORED))
    data[data.index(b"t50")] ^= 1
    assert refusals(read(bytes(data))) == [("junit.xml", Reason.ARCHIVE)]


@pytest.mark.parametrize(
    ("caps", "refused"),
    [
        (ArchiveCaps(size=10), ["junit-0.xml", "junit-1.xml", "junit-2.xml"]),
        (ArchiveCaps(total=150), ["junit-1.xml", "junit-2.xml"]),
        (ArchiveCaps(wanted=2), ["junit-2.xml"]),
        (ArchiveCaps(members=2), [""]),
    ],
)
def test_what_is_too_much_is_refused_and_the_rest_is_read(caps: ArchiveCaps, refused: list[str]) -> None:
    found = read(archive({f"junit-{n}.xml": junit("++") for n in range(3)}), archive_caps=caps)
    assert refusals(found) == [(name, Reason.TOO_LARGE) for name in refused]
    assert (found.tests.total if found.tests else 0) == (0 if "" in refused else 2 * (3 - len(refused)))


def test_the_tests_of_all_files_together_are_bounded() -> None:
    found = read(archive({f"junit-{n}.xml": junit("++") for n in range(4)}), caps=Caps(cases=5))
    assert found.tests is not None
    assert found.tests.total == 4
    assert refusals(found) == [(f"junit-{n}.xml", Reason.TOO_LARGE) for n in (2, 3)]


def test_ten_thousand_broken_files_are_told_a_hundred_times() -> None:
    found = read(archive({f"junit-{n}.xml": "no" for n in range(2000)}))
    assert len(found.refused) == 100


def test_a_bug_is_told_and_the_rest_is_read() -> None:
    broken = Caps(depth="deep")  # type: ignore[arg-type]
    found = harvest(io.BytesIO(archive(FILES)), WANTED, broken)
    assert {(why.reason, why.line.partition(" at ")[0]) for _, why in found.refused} == {
        (Reason.BUG, "a bug in k2alert, TypeError")
    }
    assert found.benchmarks is not None


@given(st.data())
def test_no_archive_is_an_error(data: st.DataObject) -> None:
    whole = archive({"junit.xml": junit("+-"), "a/coverage.xml": cobertura(1, 2)})
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(changed)), Harvest)


class _Counted(io.BytesIO):
    """Says how much of it is read at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.most = max(self.most, len(found))
        return found


def test_an_archive_of_many_members_is_never_in_memory() -> None:
    file: BinaryIO = _Counted(archive({f"some/path/file-{n}.txt": "" for n in range(5000)} | {"junit.xml": junit("+")}))
    assert harvest(file, WANTED).tests is not None
    assert isinstance(file, _Counted)
    assert file.most <= 70_000


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**/junit*.xml", "junit.xml", True),
        ("**/junit*.xml", "a/b/junit-1.xml", True),
        ("**/junit*.xml", "a/b/notjunit.xml", False),
        ("*.xml", "a/b.xml", False),
        ("a/**", "a/b/c.xml", True),
        ("a/**/c.xml", "a/c.xml", True),
        ("a?.xml", "ab.xml", True),
        ("a?.xml", "a/.xml", False),
        ("a[0-9].xml", "a5.xml", True),
        ("a[!0-9].xml", "a5.xml", False),
        ("a[b.xml", "a[b.xml", True),
        ("a.xml", "aXxml", False),
        ("a(b|c)+.xml", "a(b|c)+.xml", True),
    ],
)
def test_globs_are_of_paths(glob: str, path: str, matches: bool) -> None:
    assert path_matcher([glob])(path) is matches
    assert path_matcher(["nothing", glob])(path) is matches
    assert not path_matcher([])(path)
