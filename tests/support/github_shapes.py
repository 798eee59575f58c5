"""The long, dull parts of GitHub's answers: users, repositories, commits, with every link that its schemas want."""

from functools import cache
from typing import Any

API = "https://api.github.com"
SITE = "https://github.com"

_USER_LINKS = "events followers following gists organizations received_events repos starred subscriptions"
_REPOSITORY_LINKS = (
    "archive assignees blobs branches collaborators comments commits compare contents contributors"
    " deployments downloads events forks git_commits git_refs git_tags hooks issue_comment issue_events"
    " issues keys labels languages merges milestones notifications pulls releases stargazers statuses"
    " subscribers subscription tags teams trees"
)
_COUNTS = "forks forks_count open_issues open_issues_count size stargazers_count watchers watchers_count"
_FEATURES = "has_issues has_projects has_wiki has_pages has_downloads has_discussions"


@cache
def user(login: str) -> dict[str, Any]:
    """A simple-user."""
    url = f"{API}/users/{login}"
    return {
        "login": login,
        "id": 1,
        "node_id": "U_1",
        "avatar_url": f"{SITE}/images/{login}.png",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{SITE}/{login}",
        "type": "User",
        "site_admin": False,
        **{f"{name}_url": f"{url}/{name}" for name in _USER_LINKS.split()},
    }


@cache
def minimal_repository(full_name: str, number: int) -> dict[str, Any]:
    """A minimal-repository, as runs carry it."""
    owner, _, name = full_name.partition("/")
    url = f"{API}/repos/{full_name}"
    return {
        "id": number,
        "node_id": "R_1",
        "name": name,
        "full_name": full_name,
        "owner": user(owner),
        "private": False,
        "html_url": f"{SITE}/{full_name}",
        "description": None,
        "fork": False,
        "url": url,
        **{f"{link}_url": f"{url}/{link}" for link in _REPOSITORY_LINKS.split()},
    }


def full_repository(full_name: str, number: int, default_branch: str) -> dict[str, Any]:
    """A full-repository, as `GET /repos/{owner}/{repo}` answers it."""
    links = {f"{kind}_url": f"{SITE}/{full_name}.git" for kind in ("clone", "git", "ssh", "svn")}
    times = {f"{what}_at": "2011-01-26T19:06:43Z" for what in ("created", "updated", "pushed")}
    return {
        **minimal_repository(full_name, number),
        **links,
        **times,
        **dict.fromkeys(_COUNTS.split(), 0),
        **dict.fromkeys(_FEATURES.split(), True),
        "default_branch": default_branch,
        "archived": False,
        "disabled": False,
        "homepage": None,
        "language": None,
        "license": None,
        "mirror_url": None,
        "network_count": 0,
        "subscribers_count": 0,
    }


def simple_commit(sha: str) -> dict[str, Any]:
    """A simple-commit: the head commit of a run."""
    person = {"name": "someone", "email": "someone@example.com"}
    times = {"timestamp": "2011-01-26T19:06:43Z"}
    return {"id": sha, "tree_id": sha, "message": "Make it work", "author": person, "committer": person, **times}


def commit(full_name: str, sha: str) -> dict[str, Any]:
    """A commit, as `GET /repos/{owner}/{repo}/commits/{ref}` answers it, without its files."""
    url = f"{API}/repos/{full_name}/commits/{sha}"
    person = {"name": "someone", "email": "someone@example.com", "date": "2011-01-26T19:06:43Z"}
    inner = {"author": person, "committer": person, "message": "Make it work", "comment_count": 0, "url": url}
    return {
        "url": url,
        "sha": sha,
        "node_id": "C_1",
        "html_url": f"{SITE}/{full_name}/commit/{sha}",
        "comments_url": f"{url}/comments",
        "commit": {**inner, "tree": {"sha": sha, "url": url}},
        "author": None,
        "committer": None,
        "parents": [],
    }
