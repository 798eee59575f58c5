"""Files of rule tests, written and run as a person does it."""

from pathlib import Path

from click.testing import CliRunner, Result

from k2alert.cli import main

__all__ = ["one_test", "run_tests"]


def run_tests(folder: Path, text: str, *options: str, rules: str) -> Result:
    """What `k2alert test` says of a file with this text, beside a file of these rules."""
    (folder / "rules.yml").write_text(rules)
    file = folder / "tests.yml"
    file.write_text(text)
    return CliRunner().invoke(main, ["test", str(file), *options])


def one_test(runs: str, *expect: str, more: str = "", top: str = "") -> str:
    """A file with one test; `more` is a line of the test, `top` one of the file."""
    return "\n".join(
        [
            "rule_files: [rules.yml]",
            *([top] if top else []),
            "tests:",
            "  - name: it",
            f"    runs: {runs}",
            *([f"    {more}"] if more else []),
            "    expect:",
            *(f"      - {one}" for one in expect),
        ]
    )
