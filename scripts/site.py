"""The docs as a site of plain files: `make site` writes it; a test builds it and holds every link to it.

In: README.md, the pages at the root, and docs/*.md, all as a forge shows them. Out: one HTML page for each, at the same
place with `.html`, beside the pictures and files that they link to. There are no scripts, fonts or pictures from
elsewhere, so the site works from a disk, too. A link or an anchor that leads nowhere, on a forge or here, is an error.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from posixpath import normpath, relpath
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
INDEX = "README.md"
_CSS = (Path(__file__).parent / "site.css").read_text()
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# Of the whole page, for text is escaped: its quotes are not these.
_TARGET = re.compile(r'\b(href|src)="([^"]*)"')
_FOREIGN = re.compile(r"<(script|link|iframe|object|embed|style)\b|<[a-z][^>]*\son[a-z]+=", re.IGNORECASE)
_UNSEEN = re.compile(r'<[a-z][^>]*\s(?:href|src)\s*=(?!")', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading with the anchors that GitHub and GitLab give it; a link must do for both."""

    level: int
    text: str
    github: str
    gitlab: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page as a forge shows it. `path` is where it is in the repository, `body` its HTML with links as written."""

    path: str
    source: str
    body: str
    headings: tuple[Heading, ...]

    @property
    def title(self) -> str:
        """Its first heading."""
        return self.headings[0].text if self.headings else self.path

    @property
    def anchors(self) -> frozenset[str]:
        """What links may name on either forge."""
        hub = {heading.github for heading in self.headings}
        return frozenset(hub & {heading.gitlab for heading in self.headings}) | _ids(self.body)


def read(path: str, source: str) -> Page:
    """A page from its Markdown."""
    tokens = _MARKDOWN.parse(source)
    headings = tuple(_headings(tokens))
    return Page(path, source, _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}), headings)


def pages(root: Path = ROOT) -> dict[str, Page]:
    """All pages of the project, by their place."""
    found = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    paths = (path.relative_to(root).as_posix() for path in found)
    return {path: read(path, (root / path).read_text()) for path in paths}


def problems(found: dict[str, Page], root: Path = ROOT) -> list[str]:
    """What is wrong with the pages, each with its place."""
    return [
        f"{page.path}:{_line(page, about)}: {text}"
        for page in found.values()
        for about, text in _wrong(page, found, root)
    ]


def build(target: Path, root: Path = ROOT) -> list[str]:
    """Writes the site into a folder, which is made anew; what is wrong comes back, and then nothing is written."""
    found = pages(root)
    wrong = problems(found, root)
    if wrong:
        return wrong
    shutil.rmtree(target, ignore_errors=True)
    for page in found.values():
        place = target / _html(page.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_whole(page, found))
        for file in _files(page, found):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target / file)
    return []


# ---------------------------------------------------------------------------------------------- reading


def _headings(tokens: list[Token]) -> Iterator[Heading]:
    """Every heading, which is also given its anchor as an id."""
    seen: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(part.content for part in inline.children or () if part.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            again = f"-{seen[slug]}" if slug in seen else ""
            seen[slug] = seen.get(slug, 0) + 1
            heading = Heading(int(opening.tag[1]), text, slug + again, re.sub(r"-+", "-", slug) + again)
            opening.attrSet("id", heading.github)
            yield heading


def _ids(body: str) -> frozenset[str]:
    """Anchors that are written as HTML."""
    return frozenset(re.findall(r'<a (?:id|name)="([^"]+)"', body))


def _targets(page: Page) -> Iterator[tuple[str, str]]:
    """Every link and picture of a page: `href` or `src`, and where it leads, as written."""
    return ((kind, unescape(written)) for kind, written in _TARGET.findall(page.body))


def _resolved(page: Page, target: str) -> tuple[str, str] | None:
    """The file in the repository and the anchor that a link leads to; None where it leads elsewhere."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    path = normpath(f"{page.path}/../{unquote(parts.path)}") if parts.path else page.path
    return path, unquote(parts.fragment)


# ---------------------------------------------------------------------------------------------- checking


def _wrong(page: Page, found: dict[str, Page], root: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a page: the text that it is about, and what is to be said."""
    if [heading.level for heading in page.headings].count(1) != 1:
        yield "# ", "needs one heading of the first level"
    foreign = _FOREIGN.search(page.body)
    if foreign:
        yield foreign[0], "scripts and styles have no place in a page"
    unseen = _UNSEEN.search(page.body)
    if unseen:
        yield unseen[0], "href and src are written in double quotes"
    for fault in _Nesting().faults(page.body):
        yield fault, f"{fault} is not closed"
    for kind, target in _targets(page):
        place = _resolved(page, target)
        if place is None:
            if kind == "src":
                yield target, f"{target} is a picture from elsewhere"
            continue
        path, anchor = place
        if path.startswith("..") or not (root / path).is_file():
            yield target, f"{target} leads nowhere"
        elif anchor and anchor not in (found[path].anchors if path in found else ()):
            yield target, f"{target} leads to no heading that both GitHub and GitLab call so"


class _Nesting(HTMLParser):
    """Looks whether HTML that is written in a page is closed again."""

    _VOID = ("img", "br", "hr", "input")

    def faults(self, body: str) -> list[str]:
        """The tags that are not."""
        self._open: list[str] = []
        self._faults: list[str] = []
        self.feed(body)
        self.close()
        return [*self._faults, *(f"<{tag}>" for tag in self._open)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID and (not self._open or self._open.pop() != tag):
            self._faults.append(f"</{tag}>")


def _line(page: Page, about: str) -> int:
    """Where a text is first found in the Markdown; 1 where it is not, as written."""
    before, found, _ = page.source.partition(about)
    return before.count("\n") + 1 if found else 1


# ----------------------------------------------------------------------------------------------- writing


def _html(path: str) -> str:
    """Where a page is on the site."""
    return "index.html" if path == INDEX else re.sub(r"\.md$", ".html", path)


def _files(page: Page, found: dict[str, Page]) -> set[str]:
    """The pictures and files that a page links to."""
    places = (_resolved(page, target) for _, target in _targets(page))
    return {place[0] for place in places if place is not None and place[0] not in found}


def _linked(page: Page, found: dict[str, Page], body: str, seen_from: str) -> str:
    """HTML of one page as it stands on another: its links lead to where things are on the site."""

    def moved(match: re.Match[str]) -> str:
        place = _resolved(page, unescape(match[2]))
        if place is None:
            return match[0]
        path, anchor = place
        to = relpath(_html(path) if path in found else path, str(Path(_html(seen_from)).parent))
        return f'{match[1]}="{escape(to + (f"#{anchor}" if anchor else ""))}"'

    return _TARGET.sub(moved, body)


def _whole(page: Page, found: dict[str, Page]) -> str:
    """The whole HTML of a page."""
    index = found[INDEX]
    home = relpath("index.html", str(Path(_html(page.path)).parent))
    chapters = [heading for heading in page.headings if heading.level == 2]
    contents = "".join(f'<li><a href="#{one.github}">{escape(one.text)}</a></li>' for one in chapters)
    aside = f'<nav class="contents" aria-label="On this page"><ul>{contents}</ul></nav>' if len(chapters) > 2 else ""
    title = page.title if page.path == INDEX else f"{page.title} · {index.title}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{_CSS}</style>
</head>
<body>
<header><a href="{home}">{escape(index.title)}</a></header>
<div class="page">
<nav class="index" aria-label="All pages">{_linked(index, found, _menu(index), page.path)}</nav>
<main>
{aside}
{_accessible(_linked(page, found, page.body, page.path))}</main>
</div>
</body>
</html>
"""


def _accessible(body: str) -> str:
    """What may be wider than the screen can be scrolled by the keyboard, and no column has an empty heading."""
    body = body.replace("<pre>", '<pre tabindex="0">')
    body = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", body)
    return body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")


def _menu(index: Page) -> str:
    """The list of all pages: the last list of the index."""
    return index.body[index.body.rindex("<ul>") : index.body.rindex("</ul>") + 5]


def main() -> None:
    """`python -m scripts.site FOLDER`"""
    wrong = build(Path(sys.argv[1]))
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
