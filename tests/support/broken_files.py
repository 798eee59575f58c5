"""Broken main files, and what a person should read about each: a rule's worth of mistakes at a time."""

RULE = """\
alert_rules:
  - name: red
    condition: success_rate < 0.95
    period: 24h
    severity: warning
    message: "{{ success_rate | percent }}"
"""

WITH_RECEIVERS = """\
notifications:
  email: {smtp_server: mail.example.com, from_address: ci@example.com}
receivers:
  - name: team
    email: {to_addresses: [team@example.com]}
"""


def rule_with(line: str) -> str:
    """The good rule, with one more line."""
    return f"{RULE}    {line}\n"


def rule_but(old: str, new: str) -> str:
    """The good rule, with one thing changed."""
    assert old in RULE
    return RULE.replace(old, new)
