"""The repositories of a GitHub organization, page by page; of a person, where there is no organization of the name.

https://docs.github.com/en/rest/repos/repos#list-organization-repositories. Archived and disabled ones are left out:
nothing runs in them.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from k2alert.collect.discovery import MOST_PAGES, Found, Listing
from k2alert.collect.flow import Failure, Request
from k2alert.collect.github_parse import is_repository, next_page

__all__ = ["list_owner"]

_NARROWED = (("type", "all"), ("sort", "full_name"), ("per_page", "100"))


def list_owner(owner: str) -> Listing:
    """Every repository of the owner; each is read by its name, which is all that GitHub's Actions know it by."""
    listed = yield from _list(f"/orgs/{quote(owner, safe='')}/repos", owner)
    if isinstance(listed, Failure) and listed.reason == "not_found":
        return (yield from _list(f"/users/{quote(owner, safe='')}/repos", owner))
    return listed


def _list(path: str, owner: str) -> Listing:
    found: list[Found] = []
    page: int | None = 1
    while page is not None and page <= MOST_PAGES:
        answer = yield Request(path, (*_NARROWED, ("page", str(page))), kind="owner")
        if isinstance(answer, Failure):
            return answer
        if not isinstance(answer.data, list):
            return Failure("body", f"the repositories of {owner[:100]} are not what they should be")
        found += [one for item in answer.data if (one := _read(item)) is not None]
        following = next_page(answer.headers.get("link", ""))
        page = following if following is not None and following > page else None
    return tuple(found)


def _read(item: Any) -> Found | None:
    fields = item if isinstance(item, Mapping) else {}
    name, number = fields.get("full_name"), fields.get("id")
    if not isinstance(name, str) or not is_repository(name) or not isinstance(number, int) or isinstance(number, bool):
        return None
    return None if fields.get("archived") is True or fields.get("disabled") is True else Found(name, name, str(number))
