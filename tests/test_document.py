"""YAML as this project reads it: the core of 1.2, with places, and within bounds."""

from typing import Any

import pytest

from k2alert.document import Document, DocumentPath, parse_document


def read(text: str) -> Document:
    """The document of a text that must be right."""
    document, problems = parse_document(text.encode(), "f.yml")
    assert problems == ()
    assert document is not None
    return document


def refused(content: bytes) -> list[str]:
    """What is said of a content that must be wrong."""
    document, problems = parse_document(content, "f.yml")
    assert document is None
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("0777", "0777"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("12345678901234567890123", "12345678901234567890123"),
        (".inf", ".inf"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("1", 1),
        ("-12", -12),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_plain_text_means_what_yaml_1_2_says_and_looks_like_nothing_else(written: str, value: Any) -> None:
    found = read(f"key: {written}\n").data["key"]

    assert found == value
    assert type(found) is type(value)


def test_a_key_called_on_is_a_key_called_on() -> None:
    assert read("on: {push: x}\n").data == {"on": {"push": "x"}}


def test_an_empty_file_is_nothing() -> None:
    assert read("# only a comment\n").data is None


def test_a_byte_order_mark_is_no_character() -> None:
    document = read("\ufeffa: b\n")

    assert document.data == {"a": "b"}
    assert document.place(("a",)).column == 4


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: \xff", "f.yml:1:4: not UTF-8"),
        ("é: ü\nb: \x01".encode(), "f.yml:2:4: a control character, which YAML does not allow"),
        (b"a:\n\t- b\n", "f.yml:2:1: not YAML: a tab cannot indent; use spaces"),
        (b"a: [1, 2\n", "f.yml:2:1: not YAML: did not find expected ',' or ']' while parsing a flow sequence"),
        (b"a: b: c\n", "f.yml:1:5: not YAML: mapping values are not allowed in this context"),
        (b"a: 1\nb: 2\na: 3\n", 'f.yml:3:1: the key "a" is written twice (first in line 1)'),
        (
            b"a: &x {b: 1}\nc:\n  <<: *x\n",
            "f.yml:3:3: merge keys (<<) are not read: repeat the keys, or use `defaults`",
        ),
        (b"1: a\n", "f.yml:1:1: a key must be text: put it in quotes (1)"),
        (b"[a]: b\n", "f.yml:1:1: a key must be text: put it in quotes"),
        (b"a: !!int 3\n", "f.yml:1:4: tags are not read: !!int"),
        (b"a: !secret x\n", "f.yml:1:4: tags are not read: !secret"),
        (b"a: *x\n", "f.yml:1:4: the alias *x has no anchor before it"),
        (b"a: &x [*x]\n", "f.yml:1:8: the alias *x has no anchor before it"),
        (b"a: 1\n---\nb: 2\n", "f.yml:2:1: a second document: each file holds one"),
        (b"#" * 1_000_001, "f.yml:1:1: the file is larger than 1 MB"),
        (b"[" * 100_000, "f.yml:1:42: nested deeper than 40 levels"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(content: bytes, expected: str) -> None:
    assert refused(content) == [expected]


def test_all_that_can_be_stepped_over_is_told_at_once() -> None:
    assert refused(b"a: 1\na: 2\nb: !x 1\n2: c\n") == [
        'f.yml:2:1: the key "a" is written twice (first in line 1)',
        "f.yml:3:4: tags are not read: !x",
        "f.yml:4:1: a key must be text: put it in quotes (2)",
    ]


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    assert refused("\n".join(lines).encode()) == ["f.yml:6:5: its aliases expand to too much"]


def test_aliases_that_nest_are_stopped() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60))]

    assert refused("\n".join(lines).encode()) == ["f.yml:41:6: its aliases expand to too much"]


def test_an_alias_stands_for_what_its_anchor_holds_and_where() -> None:
    document = read("a: &x\n  b: 1\nc: *x\n")

    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.place(("c", "b"))[1:] == (2, 6)


TREE = """\
rules:
  - name: red
    labels: {team: "a"}
  - other
"""


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (1, 1), (1, 1)),
        (("rules",), (2, 3), (1, 1)),
        (("rules", 0), (2, 5), (2, 5)),
        (("rules", 0, "name"), (2, 11), (2, 5)),
        (("rules", 0, "labels", "team"), (3, 20), (3, 14)),
        (("rules", 1), (4, 5), (4, 5)),
        (("rules", 0, "nowhere", "at", "all"), (2, 5), (2, 5)),
        (("nowhere",), (1, 1), (1, 1)),
    ],
)
def test_a_path_has_the_place_of_its_value_and_of_its_key(
    path: DocumentPath, value: tuple[int, int], key: tuple[int, int]
) -> None:
    document = read(TREE)

    assert document.place(path)[1:] == value
    assert document.key_place(path)[1:] == key


def test_a_path_is_there_or_it_is_not() -> None:
    document = read(TREE)

    assert document.has(("rules", 0, "labels"))
    assert not document.has(("rules", 2))
    assert not document.has(("rules", 0, "name", "x"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: one <two\n", (1, 8)),
        ("a: 'it''s <two'\n", (1, 11)),
        ('a: "q\\"s \\x41 \\u00e9 <two"\n', (1, 22)),
        ("a: |\n  first\n  and <two\n", (3, 7)),
        ("a: >\n  first\n  and <two\n", (1, 4)),
        ("a: first\n  and <two\n", (1, 4)),
        ("a: &anchor one <two\n", (1, 4)),
    ],
)
def test_a_character_inside_a_text_has_a_place(text: str, place: tuple[int, int]) -> None:
    document = read(text)

    assert document.inside(("a",), document.data["a"].index("<"))[1:] == place
