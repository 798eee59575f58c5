"""The fuzzers: `python -m tests.fuzz TARGET [options of libFuzzer]`, for `make fuzz` and, briefly, for tests.

atheris looks for inputs that reach new code and hands them to the checks of `support.fuzzing`; one that fails is kept
in a file and printed.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

_OURS = ["k2alert.judge", "k2alert.template", "k2alert.document", "k2alert.formats", "simpleeval"]
with atheris.instrument_imports(include=_OURS):
    from tests.support import fuzzing, report_fuzzing

Target = Callable[[bytes], None]

CONDITIONS = (
    'success_rate < 0.95 and not (total_pipelines < 10 or absent("coverage"))',
    "avg_duration_minutes > 1.5 * baseline('avg_duration_minutes', '30d')",
    'value("success_rate", window="20 runs", offset="24h") - success_rate > 0.2',
    'label("team", "") in ["payments", "search"] and upper("success_rate") < label("min_success", 0.75)',
    "0 < (0.99 if label('tier', '') == 'gold' else -round(success_rate, 2)) <= max(1, abs(2), .5)",
)
MESSAGES = (
    "{{ success_rate | percent }} over {{ period }}{% if coverage < 70 %} low{% elif value is none %}{% endif %}",
    '{% for run in evidence.runs %}{{ loop.index }} {{ run.title | truncate(20) }}{% endfor %} {{ labels["team"] }}',
    '{{ value("success_rate", window="1h") | round(2) }} {{ now - started_at | default("x") }}',
    "{% for name, text in labels | items %}{{ name | title }}{{ text | replace('a', 'b') }}{% else %}-{% endfor %}",
    "{{ '%5.1f of %s' | format(coverage, period) }} {{ ([1, 2.5] | sort | join(', ')) if value is number }}",
)
RULES = (
    "defaults: {match: ['ref_type=\"default\"'], min_samples: 10}\nalert_rules:\n- name: a\n  condition: coverage < 1\n"
    "  period: 24h\n  severity: info\n  message: '{{ value }}'\n",
    "alert_rules: [&a {name: x, period: 20 runs, for: 5m, labels: {team: b}, clear: success_rate > 1}, *a]\n",
)


def condition(data: bytes) -> None:
    """Any text as a condition."""
    fuzzing.check_condition(data.decode("utf-8", "replace"))


def message(data: bytes) -> None:
    """Any text as a message."""
    fuzzing.check_message(data.decode("utf-8", "replace"))


def rules(data: bytes) -> None:
    """Any bytes as a file of rules."""
    fuzzing.check_rules(data, _FOLDER)


def report(data: bytes) -> None:
    """Any bytes as a report file."""
    report_fuzzing.check_report(data)


TARGETS: dict[str, tuple[Target, tuple[str, ...], tuple[str, ...]]] = {
    "condition": (condition, CONDITIONS, fuzzing.SOUP),
    "message": (message, MESSAGES, fuzzing.TEMPLATE_SOUP),
    "rules": (rules, RULES, fuzzing.SOUP),
    "report": (report, report_fuzzing.EXAMPLES, report_fuzzing.VOCABULARY),
}
"""What each tries, with the examples and the words that it begins with."""
_FOLDER = Path(tempfile.gettempdir())


def main(name: str, options: list[str]) -> None:
    """Fuzz one target in a folder of its own, beginning with its examples and the words of the language."""
    global _FOLDER
    target, examples, vocabulary = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        _FOLDER = Path(folder)
        corpus = _FOLDER / "corpus"
        corpus.mkdir()
        for place, example in enumerate(examples):
            (corpus / str(place)).write_bytes(example.encode())
        words = _FOLDER / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in dict.fromkeys(vocabulary)))
        atheris.Setup([sys.argv[0], f"-dict={words}", "-timeout=5", "-max_len=1200", *options, str(corpus)], target)
        atheris.Fuzz()


def _escaped(word: str) -> str:
    """A word as libFuzzer's dictionaries write it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
