"""Every code that a problem of `k2alert check` may have: what it means, an example, and what to do about it.

Codes are stable: `# k2alert: ignore CODE` in a file silences the warnings with that code on the comment's own line, or
on the line below where the comment stands alone. Errors and `unset` can't be silenced.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["CODES", "IGNORABLE", "Code"]


class Code(NamedTuple):
    """What a code stands for. `example` is the line it is said of; `fix` what to write instead, or to do."""

    means: str
    example: str
    fix: str
    error: bool = False


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "config": Code(
            "The file says something that it may not: an unknown key or name, a wrong type, a duplicate.",
            "perod: 24h",
            "What the message says; it names the nearest known word.",
            error=True,
        ),
        "unreadable": Code("A file cannot be read.", "rule_files: [gone.yml]", "Its path, or its rights.", error=True),
        "unset": Code(
            "A variable is not set, or a file of a secret is not there. `run` refuses to start.",
            "token: $GITLAB_TOKEN",
            "Set the variable.",
        ),
        "live": Code(
            "With --live: a source, group or project cannot be read (an error), or some of its facts (a warning).",
            "projects: [k2/gone]",
            "What the forge says: the path, the token, or its scopes.",
        ),
        "percent": Code(
            "A ratio is printed before a percent sign: 0.93 would read \"0.93%\".",
            'message: "{{ success_rate | round(2) }}%"',
            'message: "{{ success_rate | percent }}"',
        ),
        "unit": Code(
            "A threshold lies outside of what the metric can be.",
            "condition: success_rate < 95",
            "condition: success_rate < 0.95",
        ),
        "never": Code(
            "A condition can never be true.",
            "condition: success_rate < 0.5 and success_rate > 0.9",
            "condition: success_rate < 0.5 or success_rate > 0.9",
        ),
        "always": Code(
            "A condition is always true, save for no data.",
            "condition: failed_pipelines >= 0",
            "condition: failed_pipelines > 0",
        ),
        "overlap": Code(
            "`condition` and `clear` can both be true: the alert ends and begins again.",
            "clear: success_rate >= 0.9  # with condition: success_rate < 0.95",
            "clear: success_rate >= 0.97",
        ),
        "min-samples": Code(
            "A rule on a ratio has no `min_samples`: one red run after a quiet week-end is 0 % of one run.",
            "condition: success_rate < 0.95",
            "min_samples: 10, or a condition on upper(\"success_rate\"); min_samples: 1 where it is meant",
        ),
        "window": Code(
            "A window is shorter than the time between two looks at a project: it is empty most of the time.",
            "period: 30s  # with poll_interval: 60s",
            "period: 10m",
        ),
        "value": Code(
            "A matcher asks for a value that its label never has.",
            "match: ['ref_type=\"main\"']",
            "match: ['ref_type=\"default\"']",
        ),
        "label": Code(
            "A label is none of the facts', and the file is checked without the main file that might define it.",
            "by: [team]",
            "Check the main file too: k2alert check k2alert.yml",
        ),
        "unreachable": Code(
            "No alert comes to a route, for one before it takes all that it would.",
            "- {name: pages, matchers: ['severity=\"critical\"']}  # after a route without matchers",
            "Put it first, or give the one before it continue: true.",
        ),
        "unused": Code(
            "Something is named that nothing uses: a receiver, a time interval, `notifications` in a rule file.",
            "receivers: [{name: nobody-routes-here}]",
            "Use it, or remove it.",
        ),
        "unowned": Code(
            "Alerts of some projects go to owners, by routes or addresses, and those of these projects to none.",
            "project_labels: [{match: ['project=\"k2/app\"'], labels: {team: apps}}]  # k2/web has no team",
            "Give the projects the label, or a route.",
        ),
        "no-collector": Code(
            "Nothing collects what the metric is computed from yet: it has no data.",
            "condition: a_metric_to_come > 0",
            "Wait for a release that does. In this one all metrics are collected.",
        ),
        "silent": Code(
            "Nothing can come of the configuration: no rules, no sources, or nobody to tell.",
            "alert_rules: []",
            "Add what is missing.",
        ),
        "empty": Code(
            "A pattern matches no file, a file holds no rules, a source names no projects.",
            "rule_files: [rules/*.yaml]",
            "Its spelling; or remove it.",
        ),
        "stale": Code(
            "Projects would be called stale between two looks at them.",
            "max_staleness: 30s  # with poll_interval: 60s",
            "max_staleness: 15m",
        ),
        "key": Code(
            "A GitHub App cannot sign in: its private key is none, or PyJWT is not installed.",
            'private_key: "not a key"',
            'private_key: "${file:/run/secrets/app.pem}"',
        ),
        "deprecated": Code(
            "A key has another name now, or does nothing any more; the release that knows it no longer is named.",
            "some_key: 5m  # of which it is said: is called other_key since 0.3, and will be unknown in 0.5",
            "The new name that the message says.",
        ),
        "ignore": Code(
            "A comment ignores a code that there is not.",
            "# k2alert: ignore precent",
            "# k2alert: ignore percent",
        ),
    }
)  # fmt: skip
"""What each code stands for."""

IGNORABLE = frozenset(name for name, code in CODES.items() if not code.error) - {"unset", "ignore"}
"""The codes that a comment may ignore."""
