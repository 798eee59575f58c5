"""The docs as a site: what is wrong with a page is found, and the project's own pages have nothing wrong."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright

from scripts.site import INDEX, ROOT, build, pages, problems, read
from tests.support.page_gallery import FLAGS

CHROMIUM = shutil.which("chromium")


class Seen(HTMLParser):
    """What a browser would find in a page: what it names, what it leads to, what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name in ("src", "srcset", "data", "poster"):
                self.loaded.append(value or "")


def small(tmp_path: Path, text: str, **others: str) -> Path:
    """A project with an index that says this, and other pages."""
    (tmp_path / INDEX).write_text(f"# Home\n\n- [home](README.md)\n\n{text}\n")
    (tmp_path / "docs").mkdir()
    for name, page in others.items():
        (tmp_path / "docs" / f"{name}.md").write_text(page)
    return tmp_path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this project."""
    target = tmp_path_factory.mktemp("site")
    assert build(target) == []
    return target


# ------------------------------------------------------------------------------------- the project's own


def test_every_link_of_the_site_leads_to_a_file_of_it_and_to_an_anchor_there(site: Path) -> None:
    seen = {page: Seen(page.read_text()) for page in site.rglob("*.html")}
    wrong = []
    for page, found in seen.items():
        for target in found.links + found.loaded:
            parts = urlsplit(target)
            if parts.scheme:
                continue
            to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not to.is_file() or (parts.fragment and unquote(parts.fragment) not in seen[to].ids):
                wrong.append(f"{page.name}: {target}")
    assert not wrong


def test_no_page_loads_anything_from_elsewhere_or_runs_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = Seen(page.read_text())
        assert not found.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}, page.name
        assert not [one for one in found.loaded if urlsplit(one).scheme or one.startswith("//")], page.name
        assert not re.search(r"url\(|@import", page.read_text().split("</style>")[0]), page.name


def test_every_page_is_there_and_in_the_menu_of_every_page(site: Path) -> None:
    for page in pages():
        if page.startswith("docs/"):
            assert (site / page).with_suffix(".html").is_file()
            assert f'href="{Path(page).stem}.html"' in (site / "docs" / "glossary.html").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
async def test_pages_are_accessible_and_fit_the_screen_without_a_network(site: Path, width: int, scheme: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, bypass_csp=True
        )
        page = await context.new_page()
        for name in ("index", "docs/settings", "docs/operations", "docs/messages", "docs/benchmarks"):
            await page.goto((site / f"{name}.html").as_uri())
            seen = await Axe().run(page)
            assert not seen.violations_count, f"{name}: {seen.generate_report()}"
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        await browser.close()


def test_no_anchor_stands_twice(site: Path) -> None:
    for page in site.rglob("*.html"):
        ids = Seen(page.read_text()).ids
        assert len(ids) == len(set(ids)), page.name


# ------------------------------------------------------------------------------------- what is found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](docs/gone.md)", "README.md:5: docs/gone.md leads nowhere"),
        ("[a](../outside.md)", "README.md:5: ../outside.md leads nowhere"),
        ("[a](docs/)", "README.md:5: docs/ leads nowhere"),
        ("[a](#nothing)", "README.md:5: #nothing leads to no heading that both GitHub and GitLab call so"),
        ("[a](docs/other.md#gone)", "README.md:5: docs/other.md#gone leads to no heading that both"),
        ("[a](docs/other.md#a--b)", "README.md:5: docs/other.md#a--b leads to no heading that both"),
        ("[a][b]\n\n[b]: docs/gone.md", "README.md:7: docs/gone.md leads nowhere"),
        ("![a](https://example.com/a.png)", "README.md:5: https://example.com/a.png is a picture from elsewhere"),
        ('<img src="//example.com/a.png" alt="">', "README.md:5: //example.com/a.png is a picture from elsewhere"),
        ("<img src='a.png' alt=''>", "README.md:5: href and src are written in double quotes"),
        ("<script>1</script>", "README.md:5: scripts and styles have no place in a page"),
        ("<p onclick='x'>a</p>", "README.md:5: scripts and styles have no place in a page"),
        ("<p>\n\nnever closed", "README.md:5: <p> is not closed"),
        ("# Again", "README.md:1: needs one heading of the first level"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    root = small(tmp_path, text, other="# Other\n\n## A – B\n")
    assert [one for one in problems(pages(root), root) if one.startswith(said)]


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/other.md) [b](docs/other.md#two-words) [c](https://example.com/#x) [d](#home)",
        "[second](docs/other.md#two-words-1)",
        '`[a](docs/gone.md)`\n\n    [a](gone.md)\n\n```html\n<script src="x"></script>\n```',
        '<p>\n<img src="docs/other.md" alt="">\n</p>',
    ],
)
def test_what_is_right_is_not_complained_of(tmp_path: Path, text: str) -> None:
    root = small(tmp_path, text, other="# Other\n\n## Two *words*\n\n## Two `words`\n")
    assert problems(pages(root), root) == []


def test_links_between_pages_lead_to_pages_of_the_site(tmp_path: Path) -> None:
    root = small(
        tmp_path, "[a](docs/other.md#two)", other="# Other\n\n## Two\n\n[back](../README.md) <https://a.test/b.md>\n"
    )
    (root / "LICENSE").write_text("yours")
    assert build(tmp_path / "site", root) == []
    assert 'href="docs/other.html#two"' in (tmp_path / "site" / "index.html").read_text()
    assert 'href="../index.html">back' in (tmp_path / "site" / "docs" / "other.html").read_text()
    assert 'href="https://a.test/b.md"' in (tmp_path / "site" / "docs" / "other.html").read_text()


def test_files_and_pictures_that_are_linked_come_along(tmp_path: Path) -> None:
    root = small(tmp_path, "[rules](rules/ci.yml)")
    (root / "rules").mkdir()
    (root / "rules" / "ci.yml").write_text("alert_rules: []\n")
    assert build(tmp_path / "site", root) == []
    assert (tmp_path / "site" / "rules" / "ci.yml").read_text() == "alert_rules: []\n"


def test_the_site_is_not_touched_where_something_is_wrong(tmp_path: Path) -> None:
    root = small(tmp_path, "fine")
    assert build(tmp_path / "site", root) == []
    (root / INDEX).write_text("# Home\n\n- [gone](gone.md)\n")
    assert build(tmp_path / "site", root) == ["README.md:3: gone.md leads nowhere"]
    assert "fine" in (tmp_path / "site" / "index.html").read_text()


def test_the_command_writes_the_site(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.site", str(tmp_path / "site")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "k2alert" in (tmp_path / "site" / "index.html").read_text()


def test_anchors_are_those_of_both_forges() -> None:
    page = read("a.md", "# A\n\n## What `check` says\n\n## Größe – und_Zahl: 1.5\n\n## A\n")
    assert [heading.github for heading in page.headings] == ["a", "what-check-says", "größe--und_zahl-15", "a-1"]
    assert page.anchors == {"a", "what-check-says", "a-1"}
