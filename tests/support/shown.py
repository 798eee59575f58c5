"""What a replica shows of alerts and series, without the moment at which it judged: the same for all of them."""

import re

import aiohttp

__all__ = ["show"]

_MOMENTS = re.compile(r'"(?:now|evaluationTime|lastEvaluation|updatedAt|endsAt)": ?(?:"[^"]*"|[0-9.]+)')
_JUDGED = re.compile(r"<(time|footer)\b.*?</\1>|<span class=\"age\">.*?</span>", re.DOTALL)  # when that was judged

_SHARED = ("k2alert_ci_", "k2alert_rule_value", "k2alert_alerts")
_OWN = re.compile("_since_|_age_|_dropped_")  # of now, or of one process


async def show(session: aiohttp.ClientSession, port: int) -> dict[str, list[str]]:
    """What a replica serves of alerts and series, in lines, without the moment at which it was judged."""
    found: dict[str, list[str]] = {}
    for path in ("/metrics", "/api/v1/alerts", "/api/v2/alerts", "/"):
        async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
            text = _JUDGED.sub("", _MOMENTS.sub("", await answer.text()))
            found[path] = text.replace(f":{port}", "").splitlines()
    found["/metrics"] = [line for line in found["/metrics"] if line.startswith(_SHARED) and not _OWN.search(line)]
    return found
