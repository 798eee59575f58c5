"""The projects of a GitLab group and of all groups below it, page by page.

https://docs.gitlab.com/api/groups/#list-projects: projects shared with the group belong to another and are left out,
and so are archived ones, in which nothing runs.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from k2alert.collect.discovery import MOST_PAGES, Found, Listing
from k2alert.collect.flow import Failure, Request
from k2alert.collect.gitlab_parse import id_of, text

__all__ = ["list_group"]

_NARROWED = (
    ("include_subgroups", "true"),
    ("with_shared", "false"),
    ("archived", "false"),
    ("simple", "true"),
    ("order_by", "id"),
    ("sort", "asc"),
    ("per_page", "100"),
)


def list_group(group: str) -> Listing:
    """Every project of the group (a path or number); each is read by its number, so that it may be renamed."""
    path = f"/v4/groups/{quote(group, safe='')}/projects"
    found: list[Found] = []
    page = "1"
    for _ in range(MOST_PAGES):
        answer = yield Request(path, (*_NARROWED, ("page", page)), kind="group")
        if isinstance(answer, Failure):
            return answer
        if not isinstance(answer.data, list):
            return Failure("body", f"the projects of group {group[:100]} are not what they should be")
        found += [one for item in answer.data if (one := _read(item)) is not None]
        page = answer.headers.get("x-next-page", "")
        if not page.isdecimal():
            return tuple(found)
    return Failure("body", f"the projects of group {group[:100]} do not end")


def _read(item: Any) -> Found | None:
    fields = item if isinstance(item, Mapping) else {}
    number, path = id_of(fields), text(fields, "path_with_namespace")
    usable = number and path and fields.get("archived") is not True
    return Found(number, path, number) if usable else None
