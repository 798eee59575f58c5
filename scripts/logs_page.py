"""The lines of the log that ask for attention, as a page: `make docs` writes it, a test holds it to the code.

The calls in the source come in, found by their syntax; what each means is written here, and a line without a meaning,
or a meaning without its line, is an error.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "k2alert"
_LEVELS = {"warning": "warning", "error": "error", "exception": "error", "critical": "critical"}
_HEAD = """\
# The log

<!-- Written by `make docs` from the calls in the source and their meanings in scripts/logs_page.py. -->

Every line of `k2alert run` at `warning` or above, what it means and what to do. `…` stands for what varies. Lines at
`info` tell of the ordinary: messages told, a reload, what works again; `--log-level warning` leaves them out.
`--log-format json` has `ts`, `level`, `logger`, the text as `msg`, a bug's `trace`, and `source`, `project`, `rule`,
`receiver` and `integration` where it is about one. No secret is in either. What is wrong with a source or a project is
written once, until its reason changes; a message that fails, at each try.

A bug has its trace in the log, and everything else goes on. k2alert counts most of what it says here, so
[alerts of Prometheus](runbooks.md) see it too.
"""
MEANINGS: dict[str, dict[str, str]] = {
    "At the start, and at a reload": {
        "%s: %s": "A warning about the configuration, with its place: what `k2alert check` says.",
        "not reloaded: %s": (
            "The files changed and have errors; the last good configuration is in use. Mend them: they are read "
            "again by themselves. A restart would refuse them."
        ),
        "not reloaded, the store is down: %s": (
            "The files are good, but history that they ask for cannot be read. It is tried again until the store "
            "is back."
        ),
        "waiting for the store: %s": (
            "Another process has the store. It is waited for; a second daemon on one file is refused for good."
        ),
        "the history cannot be read: %s": (
            "Memory cannot be filled from the store. It is tried again each second; nothing is judged until then."
        ),
    },
    "Sources": {
        "project %s of source %s cannot be read: %s": (
            "The last look at it failed, for this reason. Its alerts hold still after `max_staleness`, and "
            "`K2AlertSourceStale` is told. Look at the token, the project, the forge."
        ),
        "the groups of source %s cannot be read: %s": (
            "Their projects are those of before. Look at the token's rights."
        ),
        "source %s must wait: %s": (
            "The forge's limit is reached; all its projects wait until it says. See [collecting](collecting.md) "
            "for webhooks and budgets."
        ),
        "project %s of source %s: %s in run %s cannot be read: %s": (
            "A report file was refused, and counts for nothing; the rest is read. [Reports](reports.md#what-is- "
            "refused) has the reasons."
        ),
        "reading the groups of source %s failed": "A bug. The projects of before stay; it is tried again.",
        "scanning source %s failed: %s": "A bug in reading many projects at once. They are read one by one.",
        "looking at project %s of source %s failed: %s": (
            "A bug in reading one project. Its alerts hold still after `max_staleness`; the others are read."
        ),
        "a webhook met a bug": "It was accepted and not understood. The project is looked at instead.",
        "projects that are gone are not forgotten yet: %s": (
            "The store did not answer. They are forgotten with the next listing."
        ),
    },
    "Rules and messages": {
        "rule %s failed, its alerts are unknown:\n%s": (
            "A bug in judging this rule. Its alerts hold still, the others go on. Report it with its trace; a "
            "simpler condition helps meanwhile."
        ),
        "a notification failed and %s: %s": (
            "A message did not arrive. It is tried again for a day, or was refused and is given up: [messages "
            "that do not arrive](routing.md#messages-that-do-not-arrive)."
        ),
        "a push failed and will be tried again: %s": (
            "An Alertmanager did not take the alerts. They are pushed again."
        ),
        "telling met a bug": "A bug in composing or sending one message. It is tried again.",
        "no integration is left that takes messages: nobody can be told of alerts": (
            "Every receiver fails, so nobody hears that messages do not arrive. Look at `/notifications` for the "
            "errors."
        ),
    },
    "The store and the HTTP server": {
        "the store is down, nothing is sent until it is back: %s": (
            "It cannot be written to: a full disk, a lock, a database that is away. Nothing is lost, and all goes "
            "on by itself."
        ),
        "the store could not be pruned: %s": (
            "What is older than `retention` is still there. It is tried again in an hour."
        ),
        "cannot collect yet: %s": "What the sources have cannot be recorded, for the store does not answer.",
        "a request failed": "A bug in answering one HTTP request, answered with 500.",
    },
    "Replicas": {
        "cannot lead yet: %s": ("This replica has the lease and cannot read what it needs to lead. It is tried again."),
        "this replica leads no more: %s": (
            "It has lost the lease, or could not renew it. Another one leads, and this one stands by. Once after "
            "a fail-over is right; often means a slow database or a held process."
        ),
        "another replica has taken the lead": (
            "The lease ended before this replica renewed it: it was held up for longer than the lease lasts."
        ),
        "the lease can't be tried for: %s": (
            "The database does not answer or refuses to be written to. While that is so on all replicas, nobody leads."
        ),
    },
}


@dataclass(frozen=True, slots=True)
class Line:
    """A call that writes a line: its level, and its text as it stands in the source."""

    level: str
    text: str


def lines(package: Path = PACKAGE) -> Iterator[Line]:
    """Every such call of a package. A text that is no constant raises `ValueError`: it could not be documented."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_log(node.func):
                text = node.args[0]
                if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
                    raise ValueError(f"{path.name}:{node.lineno}: a line of the log needs a constant text")
                yield Line(_LEVELS[node.func.attr], text.value)


def _is_log(called: ast.Attribute) -> bool:
    return called.attr in _LEVELS and isinstance(called.value, ast.Name) and called.value.id == "_LOG"


def page() -> str:
    """The whole page. Raises `ValueError` where a line has no meaning here, or a meaning no line."""
    levels = {line.text: line.level for line in lines()}
    described = {text for part in MEANINGS.values() for text in part}
    if described != levels.keys():
        raise ValueError(f"lines of the log and their meanings differ: {sorted(described ^ levels.keys())}")
    parts = [_HEAD]
    for title, meanings in MEANINGS.items():
        rows = (f"| {levels[text]} | `{_shown(text)}` | {meaning} |" for text, meaning in meanings.items())
        parts += [f"## {title}\n", "| level | line | meaning |\n|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _shown(text: str) -> str:
    return text.partition("\n")[0].replace("%s", "…")


if __name__ == "__main__":
    print(page(), end="")
