"""What `k2alert check` says, as a page of the docs: `make docs` writes it, a test holds it to the code."""

from k2alert.config.codes import CODES, IGNORABLE

_HEAD = """\
# What `k2alert check` says

<!-- Written by `make docs` from k2alert/config/codes.py. -->

`k2alert check` reads main files, rule files and all that they name, and prints every error and warning as
`file:line:column: what is wrong`. It contacts nobody. It exits with 0, with 1 where there are errors, and with 3 where
there are warnings and `--strict` is given. `--output json` is for programs, `--output github` writes workflow commands
that GitHub shows beside the lines of a pull request, `--output gitlab` a Code Quality report that GitLab shows in a
merge request. Templates for both are in `deploy/ci/`, and `.pre-commit-hooks.yaml` has a hook for pre-commit.

Each has a code. Where a warning is meant, a comment says so, on the line of the warning or alone on the line above:

```yaml
    condition: success_rate < 0.95  # k2alert: ignore min-samples
```

Several codes are separated by commas. Errors can't be ignored, nor can a variable that is not set: `run` would refuse.
"""


def page() -> str:
    """The whole page."""
    sections = []
    for name, code in CODES.items():
        kind = "error" if code.error else "warning" if name in IGNORABLE else "warning, can't be ignored"
        sections.append(
            f"## `{name}`\n\n{code.means} *({kind})*\n\n```yaml\n{code.example}\n```\n\nInstead: `{code.fix}`\n"
            if "\n" not in code.fix and (":" in code.fix.split(" ")[0] or code.fix.startswith("#"))
            else f"## `{name}`\n\n{code.means} *({kind})*\n\n```yaml\n{code.example}\n```\n\n{code.fix}\n"
        )
    return "\n".join([_HEAD, *sections])


if __name__ == "__main__":
    print(page(), end="")
