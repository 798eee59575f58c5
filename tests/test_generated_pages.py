"""The pages of the docs that are written from the code: as the code is, and nothing of it left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from k2alert.config.receivers import INTEGRATIONS
from k2alert.config.schema import json_schema
from k2alert.config.settings import MainFile
from scripts import logs_page, settings_page
from scripts.logs_page import Line, lines
from tests.support.pages import ROOT


@pytest.mark.parametrize(("name", "written"), [("settings", settings_page.page), ("logs", logs_page.page)])
def test_the_page_is_up_to_date(name: str, written: Any) -> None:
    assert (ROOT / "docs" / f"{name}.md").read_text() == written(), "run `make docs`"


# ------------------------------------------------------------------------------------------ the settings


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a type is made of, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def reached() -> set[type[BaseModel]]:
    """Every model that a main file may hold something of."""
    found: set[type[BaseModel]] = set()
    left: list[type[BaseModel]] = [MainFile, *INTEGRATIONS.values()]
    while left:
        model = left.pop()
        if model not in found:
            found.add(model)
            left += [one for info in model.model_fields.values() for one in models_in(info.annotation)]
    return found


def test_every_mapping_of_a_file_has_its_table() -> None:
    assert reached() == set(settings_page.SECTIONS.values())


def test_every_key_has_its_row_and_its_meaning() -> None:
    page = settings_page.page()
    for model in reached():
        for name, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{name} has no meaning"
            assert f"| `{info.alias or name}` |" in page or info.annotation is type(None), f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    "row",
    [
        "| `retention` | a duration | `35d` |",
        "| `tls` | `starttls` or `implicit` or `none` | `starttls` |",
        "| `token` | a secret |  |",
        "| `projects` | a list: text or a whole number |  |",
        "| `channel` | one or a list: text |  |",
        "| `name` | text | *needed* |",
    ],
)
def test_a_row_says_what_a_key_holds_and_its_default(row: str) -> None:
    assert row in settings_page.page()


def test_editors_are_shown_defaults_as_people_write_them() -> None:
    main = json_schema("main")
    assert main["properties"]["retention"]["default"] == "35d"
    assert main["$defs"]["ExportSettings"]["properties"]["match"]["default"] == ['ref_type="default"']
    assert main["$defs"]["ExportSettings"]["properties"]["windows"]["default"] == ["1d", "7d"]


# ----------------------------------------------------------------------------------------------- the log


def test_lines_of_the_log_are_found_by_their_level(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '_LOG.info("fine")\nif 1:\n    _LOG.warning("it is %s", 1)\n_LOG.exception("a bug")\nother.error("not ours")\n'
    )
    assert list(lines(tmp_path)) == [Line("error", "a bug"), Line("warning", "it is %s")]


def test_a_line_that_could_not_be_documented_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('_LOG.error(f"{1}")\n')
    with pytest.raises(ValueError, match=r"a\.py:1"):
        list(lines(tmp_path))


def test_all_of_the_package_logs_by_the_name_that_is_looked_for() -> None:
    for path in logs_page.PACKAGE.rglob("*.py"):
        text = path.read_text()
        for level in ("warning", "error", "exception", "critical"):
            assert f"logging.{level}(" not in text, path.name
        assert text.count("logging.getLogger(__name__)") == text.count("_LOG = logging.getLogger(__name__)"), path.name
