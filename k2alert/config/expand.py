"""`$NAME`, `${NAME}` and `${file:/path}` in the main file's values (contract §1).

In: plain data and the environment. Out: the data with the references replaced, once, and what was referred to.
Whoever may edit a rule must not reach a secret, so `alert_rules` and `defaults` are left as they are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from k2alert.config.watch import read_start
from k2alert.document import DocumentPath

__all__ = ["UNTOUCHED", "Expansion", "Fault", "expand"]

UNTOUCHED = ("alert_rules", "defaults")
_LARGEST_SECRET = 64_000  # bytes; a private key has a few thousand
# `$` before anything that no alternative takes is itself.
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[^}]*)(?P<close>\}?))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """A reference that stands for nothing. `unset`: nothing is there now; else it is written wrong."""

    path: DocumentPath
    offset: int  # of the reference in the text at the path
    text: str
    unset: bool


@dataclass(slots=True)
class Expansion:
    """What the references came to.

    `references` names what each expanded text referred to; `values` are what must never be shown, with the
    reference to show instead; `files` are those that were looked at, with their content where it could be read.
    """

    data: Any = None
    references: dict[DocumentPath, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    files: dict[Path, bytes | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def unset(self) -> frozenset[DocumentPath]:
        """Where a text stands whose references came to nothing."""
        return frozenset(fault.path for fault in self.faults)


def expand(data: Any, environ: Mapping[str, str]) -> Expansion:
    """Replace the references in every text of a main file's data. One that fails stands for no text, and is a fault."""
    expansion = Expansion()
    if isinstance(data, dict):
        expansion.data = {
            key: value if key in UNTOUCHED else _expand(value, (key,), environ, expansion)
            for key, value in data.items()
        }
    return expansion


def _expand(value: Any, path: DocumentPath, environ: Mapping[str, str], expansion: Expansion) -> Any:
    if isinstance(value, dict):
        return {key: _expand(child, (*path, key), environ, expansion) for key, child in value.items()}
    if isinstance(value, list):
        return [_expand(child, (*path, index), environ, expansion) for index, child in enumerate(value)]
    return _expand_text(value, path, environ, expansion) if isinstance(value, str) and "$" in value else value


def _expand_text(text: str, path: DocumentPath, environ: Mapping[str, str], expansion: Expansion) -> str:
    pieces: list[str] = []
    end = 0
    for found in _REFERENCE.finditer(text):
        pieces += [text[end : found.start()], _stands_for(found, path, environ, expansion)]
        end = found.end()
    return "".join([*pieces, text[end:]])


def _stands_for(found: re.Match[str], path: DocumentPath, environ: Mapping[str, str], expansion: Expansion) -> str:
    """What one reference stands for; "" and a fault where that is nothing."""
    if found["dollar"]:
        return "$"
    inner = found["name"] or found["braced"]
    expansion.references[path] = ", ".join(filter(None, [expansion.references.get(path), found[0]]))
    if inner.startswith("file:") and found["close"]:
        value, wrong, unset = _of_file(inner.removeprefix("file:"), expansion)
    elif found["name"] or (_NAME.fullmatch(inner) and found["close"]):
        value, wrong, unset = environ.get(inner, ""), f"${inner} is not set", True
    else:
        value, wrong, unset = "", _not_a_reference(inner), False
    if value:
        expansion.values.update((hidden, found[0]) for hidden in _forms(value))
    else:
        expansion.faults.append(Fault(path, found.start(), wrong, unset))
    return value


def _not_a_reference(inner: str) -> str:
    """What to say of `${…}`; of what is inside only a name is shown, for the rest may be a password."""
    named = _NAME.match(inner)
    which = f"${{{named[0]}…}}" if named else "${…}"
    return f"{which} is not a reference: write $NAME, ${{NAME}} or ${{file:/path}}; $$ is a dollar"


def _forms(value: str) -> Iterator[str]:
    """A value, and its lines: messages may quote one of them."""
    yield value
    yield from (line.strip() for line in value.splitlines())


def _of_file(name: str, expansion: Expansion) -> tuple[str, str, bool]:
    """A file's text without its last newline, what is wrong with it, and whether that may change by itself."""
    if not name.startswith("/") or "\0" in name:
        return "", f"${{file:{name}}} must name an absolute path", False
    path = Path(name)
    content, wrong = _read_secret(path)
    expansion.files[path] = content
    if wrong or content is None:
        return "", f"${{file:{name}}} cannot be read: {wrong}", True
    text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    return text, f"${{file:{name}}} is empty", True


def _read_secret(path: Path) -> tuple[bytes | None, str]:
    """A file's content (None where there is none to read) and why it is no secret, "" where it may be one."""
    try:
        if path.exists() and not path.is_file():
            return None, "not a regular file"
        content = read_start(path)
        content.decode("utf-8")
    except OSError as error:
        return None, error.strerror or str(error)
    except UnicodeDecodeError:
        return content, "not UTF-8"
    return content, f"larger than {_LARGEST_SECRET // 1000} kB" if len(content) > _LARGEST_SECRET else ""
