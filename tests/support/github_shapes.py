"""The long, dull parts of GitHub's answers: users, repositories, commits, with every link that its schemas want."""

from base64 import encodebytes
from functools import cache
from hashlib import sha1
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


def deployment(full_name: str, number: int, **fields: Any) -> dict[str, Any]:
    """A deployment, as a list of them shows it."""
    url = f"{API}/repos/{full_name}/deployments/{number}"
    return {
        "url": url,
        "id": number,
        "node_id": "DE_1",
        "task": "deploy",
        "payload": {},
        "original_environment": fields["environment"],
        "description": None,
        "creator": user("someone"),
        "statuses_url": f"{url}/statuses",
        "repository_url": f"{API}/repos/{full_name}",
        "transient_environment": False,
        "production_environment": False,
        **fields,
    }


def deployment_status(full_name: str, deployment: int, number: int, **fields: Any) -> dict[str, Any]:
    """One status of a deployment."""
    url = f"{API}/repos/{full_name}/deployments/{deployment}"
    return {
        "url": f"{url}/statuses/{number}",
        "id": number,
        "node_id": "DES_1",
        "creator": user("someone"),
        "description": "",
        "target_url": "",
        "log_url": "",
        "environment_url": "",
        "deployment_url": url,
        "repository_url": f"{API}/repos/{full_name}",
        **fields,
    }


def workflow(full_name: str, number: int, path: str, **fields: Any) -> dict[str, Any]:
    """A workflow, as a list of them shows it."""
    return {
        "id": number,
        "node_id": "W_1",
        "path": path,
        "url": f"{API}/repos/{full_name}/actions/workflows/{number}",
        "html_url": f"{SITE}/{full_name}/blob/main/{path}",
        "badge_url": f"{SITE}/{full_name}/workflows/{number}/badge.svg",
        **fields,
    }


def content(full_name: str, path: str, text: bytes, *, listed: bool = False) -> dict[str, Any]:
    """A file, as a folder lists it or as it is asked for."""
    url = f"{API}/repos/{full_name}/contents/{path}"
    about = {
        "type": "file",
        "size": len(text),
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": sha1(b"blob %d\0%b" % (len(text), text), usedforsecurity=False).hexdigest(),
        "url": url,
        "git_url": f"{url}?git",
        "html_url": f"{SITE}/{full_name}/blob/main/{path}",
        "download_url": None,
        "_links": {"self": url, "git": None, "html": None},
    }
    return about if listed else {**about, "encoding": "base64", "content": encodebytes(text).decode()}


def tag(full_name: str, name: str) -> dict[str, Any]:
    """A tag, as a list of them shows it."""
    url = f"{API}/repos/{full_name}"
    return {
        "name": name,
        "commit": {"sha": "c0ffee", "url": f"{url}/commits/c0ffee"},
        "zipball_url": f"{url}/zipball/refs/tags/{name}",
        "tarball_url": f"{url}/tarball/refs/tags/{name}",
        "node_id": "REF_1",
    }


def commit(full_name: str, sha: str, at: str = "2011-01-26T19:06:43Z") -> dict[str, Any]:
    """A commit, as `GET /repos/{owner}/{repo}/commits/{ref}` answers it, without its files."""
    url = f"{API}/repos/{full_name}/commits/{sha}"
    person = {"name": "someone", "email": "someone@example.com", "date": at}
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
