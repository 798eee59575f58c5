"""Globs on paths: `*` and `?` stop at a slash, `**` does not, `[a-z]` is one of these; case counts."""

from collections.abc import Callable, Sequence

import re2

__all__ = ["path_matcher"]


def path_matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path matches any of the globs; in linear time, whatever either holds."""
    if not globs:
        return lambda path: False
    options = re2.Options()
    options.log_errors = False
    pattern = re2.compile("|".join(f"(?:{_translate(glob)})" for glob in globs), options)
    return lambda path: pattern.fullmatch(path) is not None


def _translate(glob: str) -> str:
    written, at = "", 0
    while at < len(glob):
        piece, at = _piece(glob, at)
        written += piece
    return written


def _piece(glob: str, at: int) -> tuple[str, int]:
    """What the glob says at a place, as a regular expression, and where it goes on."""
    if glob.startswith("**/", at):
        return "(?:.*/)?", at + 3
    if glob.startswith("**", at):
        return ".*", at + 2
    if glob[at] == "*":
        return "[^/]*", at + 1
    if glob[at] == "?":
        return "[^/]", at + 1
    end = glob.find("]", at + 2)
    if glob[at] == "[" and end > 0:
        inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
        return f"[{'^' + inside[1:] if inside.startswith('!') else inside}]", end + 1
    return re2.escape(glob[at]), at + 1
