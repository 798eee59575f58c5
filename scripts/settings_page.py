"""Every key of the configuration as a page of the docs: `make docs` writes it, a test holds it to the code.

The models that check the files go in; a table for each mapping comes out: key, what it holds, default, meaning.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from k2alert.collect.settings import DURATION_PATTERN, AppSettings, ReportSettings
from k2alert.config.intervals import TimeInterval, TimeRange, TimeSpan
from k2alert.config.receivers import INTEGRATIONS
from k2alert.config.schema import json_schema, written
from k2alert.config.settings import (
    ExportSettings,
    GithubSource,
    GitlabSource,
    InhibitRule,
    MainFile,
    NotificationSettings,
    ProjectLabelsSettings,
    ReceiverSettings,
    RouteSettings,
    RuleDefaults,
    RuleSettings,
    WebSettings,
)

_HEAD = """\
# Settings

<!-- Written by `make docs` from the models that check the files. -->

Every key that `k2alert.yml` and rule files may hold. [Configuration](configuration.md) and [rules](rules.md) explain
them together, with examples; `k2alert schema` prints the same for editors, as JSON Schema. Durations are written `30s`,
`24h` or `1h30m`, matchers `'project=~"k2/.*"'`. Secrets are best written as references: `$NAME` or `${file:/path}`.
"""
SECTIONS: dict[str, type[BaseModel]] = {
    "The main file": MainFile,
    "`sources` of type `gitlab`": GitlabSource,
    "`sources` of type `github`": GithubSource,
    "`app` of a source": AppSettings,
    "`reports` of a source": ReportSettings,
    "`web`": WebSettings,
    "`export`": ExportSettings,
    "`project_labels`": ProjectLabelsSettings,
    "`alert_rules`": RuleSettings,
    "`defaults`": RuleDefaults,
    "`notifications`": NotificationSettings,
    "`receivers`": ReceiverSettings,
    **{f"`{kind}` of a receiver": model for kind, model in INTEGRATIONS.items()},
    "`route`, and each of its `routes`": RouteSettings,
    "`inhibit_rules`": InhibitRule,
    "`time_intervals`": TimeInterval,
    "`time_intervals` of a time interval": TimeSpan,
    "`times` of a time interval": TimeRange,
}
_KNOWN_AS = {model.__name__: title for title, model in SECTIONS.items()} | {
    kind: f"`{kind}` of a receiver" for kind in INTEGRATIONS
}


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections()]).rstrip("\n") + "\n"


def _sections() -> Iterator[str]:
    schema = json_schema("main")
    kinds = {model: kind for kind, model in INTEGRATIONS.items()}
    for title, model in SECTIONS.items():
        described = schema if model is MainFile else schema["$defs"][kinds.get(model, model.__name__)]
        yield f"## {title}\n"
        if model is RuleDefaults:
            yield "The keys of a rule but `name`, none of them needed: what its rules have where they don't say.\n"
            continue
        yield "| key | holds | default | meaning |\n|---|---|---|---|"
        rows = (_row(name, info, described) for name, info in model.model_fields.items())
        yield "".join(row for row in rows if row)


def _row(name: str, info: FieldInfo, described: dict[str, Any]) -> str:
    key = info.alias or name
    holds = _holds(described["properties"][key], described)
    if holds == "nothing":  # a key that only another kind of source has
        return ""
    default = "*needed*" if info.is_required() else _default(info.get_default(call_default_factory=True))
    return f"| `{key}` | {_cell(holds)} | {_cell(default)} | {_cell(info.description or '')} |\n"


def _default(value: Any) -> str:
    if value in (None, "", (), {}) or isinstance(value, BaseModel):
        return ""
    text = written(value)
    return f"`{text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# ------------------------------------------------------------------------------------- what a key holds


def _holds(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """In words, from its JSON Schema: references to the environment may stand anywhere, and are not repeated."""
    if "$ref" in schema:
        return _section(schema["$ref"].rpartition("/")[2])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            found = dict.fromkeys(_holds(one, root) for one in schema[several] if one.get("pattern") != r"\$")
            kinds = [kind for kind in found if kind != "nothing"]
            if len(kinds) == 2 and kinds[1] == f"a list: {kinds[0]}":
                return f"one or a list: {kinds[0]}"
            return " or ".join(kinds) or "nothing"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"a list: {_holds(schema['items'], root)}"
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    if schema.get("pattern") == DURATION_PATTERN:
        return "a duration"
    if schema.get("format") == "password":
        return "a secret"
    if schema.get("examples") == ['branch="main"', 'project=~"k2/.*"']:
        return "a matcher"
    names = {"string": "text", "integer": "a whole number", "boolean": "`true` or `false`", "object": "texts by name"}
    return names.get(schema.get("type", ""), "nothing")


def _section(name: str) -> str:
    """A link to where the mapping is described, or the values of an enumeration."""
    title = _KNOWN_AS.get(name)
    if title is None:
        return " or ".join(f"`{value}`" for value in json_schema("main")["$defs"][name]["enum"])
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{title}](#{anchor})"


if __name__ == "__main__":
    print(page(), end="")
