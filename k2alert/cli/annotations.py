"""Problems as the forges show them beside the lines of a change: GitHub's workflow commands, GitLab's Code Quality.

Formats: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands and
https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping

from k2alert.model import Problem

__all__ = ["FORMATS"]


def _github(problems: Iterable[Problem]) -> str:
    return "\n".join(map(_command, problems))


def _command(problem: Problem) -> str:
    place = problem.place
    kind = "warning" if problem.warning else "error"
    file, title = _property(place.file), _property(f"k2alert {problem.code}")
    text = _data(f"{problem.text} [{problem.code}]")
    return f"::{kind} file={file},line={place.line},col={place.column},title={title}::{text}"


def _data(text: str) -> str:
    """Text that ends no command: as GitHub's own toolkit escapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _gitlab(problems: Iterable[Problem]) -> str:
    return json.dumps([_issue(problem) for problem in problems], indent=2, ensure_ascii=False)


def _issue(problem: Problem) -> dict[str, object]:
    """`fingerprint` leaves the line out, so that a problem that only moved is not a new one."""
    same = f"{problem.place.file}\0{problem.code}\0{problem.text}"
    return {
        "description": problem.text,
        "check_name": f"k2alert-{problem.code}",
        "fingerprint": hashlib.sha256(same.encode()).hexdigest(),
        "severity": "minor" if problem.warning else "major",
        "location": {"path": problem.place.file, "lines": {"begin": max(problem.place.line, 1)}},
    }


FORMATS: Mapping[str, Callable[[Iterable[Problem]], str]] = {"github": _github, "gitlab": _gitlab}
"""How to write problems, by the name of the format."""
