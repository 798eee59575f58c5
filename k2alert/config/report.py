"""Problems found while reading files: collected, not raised, so that a person hears of all of them at once."""

import difflib
from collections.abc import Iterable

from k2alert.config.ignore import Ignored
from k2alert.model import Place, Problem

__all__ = ["Report", "did_you_mean", "shown"]

_SHORTEST_SECRET = 4  # anything shorter would be blanked out of ordinary words
_LONGEST_SHOWN = 60

# What the same thing is called in Prometheus's and Alertmanager's files, or with the other forge.
_OTHER_WORDS = {
    "alert": ("name",),
    "expr": ("condition",),
    "groups": ("organizations", "alert_rules"),
    "organizations": ("groups",),
    "projects": ("repositories",),
    "repositories": ("projects",),
    "rules": ("alert_rules",),
    "summary": ("message",),
    "description": ("message",),
}


class Report:
    """What is wrong with the files read so far. Values that came from the environment never get into it."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._files: dict[str, int] = {}
        self._secrets: dict[str, str] = {}
        self._ignored: set[tuple[str, int, str]] = set()

    def add(self, place: Place, text: str, *, code: str = "config", warning: bool = False) -> None:
        """One more problem; the same one again is heard once."""
        self.extend([Problem(place, text, code, warning)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """More problems, found elsewhere."""
        for problem in problems:
            self._files.setdefault(problem.place.file, len(self._files))
            safe = Problem(problem.place, self._scrub(problem.text), problem.code, problem.warning)
            self._found[safe] = None

    def hide(self, value: str, reference: str) -> None:
        """From now on `reference` stands where a text would show `value`."""
        if len(value) >= _SHORTEST_SECRET:
            self._secrets[value] = reference

    def ignore(self, ignored: Ignored) -> None:
        """Warnings with these codes on these lines are not heard."""
        self._ignored |= ignored.codes
        self.extend(ignored.problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them: file by file as they were met, from top to bottom."""
        heard = [found for found in self._found if not (found.warning and self._is_ignored(found))]
        return tuple(sorted(heard, key=lambda found: (self._files[found.place.file], *found.place[1:])))

    def _is_ignored(self, found: Problem) -> bool:
        return (found.place.file, found.place.line, found.code) in self._ignored

    @property
    def failed(self) -> bool:
        """Whether there is an error among them, not only warnings."""
        return any(not problem.warning for problem in self._found)

    def _scrub(self, text: str) -> str:
        for value, reference in self._secrets.items():
            text = text.replace(value, reference)
        return "".join(char if char.isprintable() else "�" for char in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that suggests the nearest known name; "" where none is near."""
    known = list(known)
    other = [word for word in _OTHER_WORDS.get(name, ()) if word in known]
    near = other or difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def shown(text: str) -> str:
    """Text from a file in quotes, cut where it is long."""
    return f'"{text}"' if len(text) <= _LONGEST_SHOWN else f'"{text[:_LONGEST_SHOWN]}…"'
