"""Every command with its options, as a page of the docs: `make docs` writes it, a test holds it to the code."""

from collections.abc import Iterator

import click

from k2alert.cli import main

_HEAD = """\
# Commands

<!-- Written by `make docs` from the commands themselves. -->

What `--help` says of each. Nothing prints a trace for bad input.

| exit | means |
|---|---|
| 0 | all is well; of `run`: it was stopped by SIGTERM or SIGINT |
| 1 | no: errors in files, a test or gate that fails, too many alerts, an unknown rule, a daemon that does not answer |
| 2 | used wrongly: an option or argument that there is not; a file that `gate` cannot read, or a report not written |
| 3 | of `check --strict`: warnings, and no errors |

| variable | what |
|---|---|
| `K2ALERT_CONFIG` | the main file, where `--config` is not given; then `./k2alert.yml` |
| `K2ALERT_LISTEN` | the address the daemon listens on, before `web.listen` |
| `K2ALERT_URL` | the running daemon that commands talk to, where `--url` is not given |
| `K2ALERT_TOKEN` | for `backtest --history`: that daemon's `web.read_token`, where `--token-file` is not given |

"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(_sections())


def _sections() -> Iterator[str]:
    settings = {**main.context_settings, "terminal_width": 100}
    with click.Context(main, info_name="k2alert", **settings) as root:
        for name in main.list_commands(root):
            yield f"## `k2alert {name}`\n"
            yield from _helps(main.get_command(root, name), root, name)


def _helps(command: click.Command | None, parent: click.Context, name: str) -> Iterator[str]:
    """What it says of itself, then what each command below it says."""
    if command is None:
        raise ValueError(f"no such command: {name}")
    with click.Context(command, parent=parent, info_name=name, terminal_width=100) as context:
        yield f"```text\n{command.get_help(context)}\n```\n"
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                yield from _helps(command.get_command(context, below), context, below)


if __name__ == "__main__":
    print(page(), end="")
