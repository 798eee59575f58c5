"""Slack: incoming webhook or bot token.

A `Message` comes in, a `Delivery` goes out. With a bot token an incident is one message that is edited, with its
changes, repeats and end in its thread; an incoming webhook answers without the message's timestamp, so there every
change is a message of its own. Limits: https://docs.slack.dev/reference/block-kit/blocks/section-block (3000
characters), https://docs.slack.dev/reference/block-kit/blocks (50 blocks), and about 13,000 characters in all,
which is observed, not documented (slackapi/bolt-js#2509).
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from k2alert.model import Delivery, Refused, Retry, Sent, Severity
from k2alert.notify import joint
from k2alert.notify.message import Item, Line, Message, Span, details, heading, headline, list_line, news_lines, summary
from k2alert.notify.plan import Kind
from k2alert.notify.text import clean, safe_url, spaced

# ------------------------------------------------------------------------------------------ settings


class Settings(BaseModel):
    """`slack:` of a receiver (contract §1). One of `webhook_url` and `bot_token` is used; both: the token."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    webhook_url: SecretStr | None = None
    bot_token: SecretStr | None = None
    channel: str | tuple[str, ...] = ()
    api_url: str = ""  # of the Web API, for proxies; "" is https://slack.com/api/
    send_resolved: bool = True

    @model_validator(mode="after")
    def _can_send(self) -> "Settings":
        if self.webhook_url is None and self.bot_token is None:
            raise ValueError("needs webhook_url or bot_token")
        if self.bot_token is not None and not self.channels:
            raise ValueError("bot_token needs a channel")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels as written: they may be templates."""
        return (self.channel,) if isinstance(self.channel, str) else self.channel

    @property
    def edits(self) -> bool:
        """Whether a message can be edited once it is sent."""
        return self.bot_token is not None


def addresses(settings: Settings, render: Callable[[str], str]) -> tuple[str, ...]:
    """The channels, rendered."""
    return tuple(dict.fromkeys(render(channel) for channel in settings.channels))


# ----------------------------------------------------------------------------------------- build

_SECTION = 3000
_BLOCKS = 50
_TOTAL = 12_000
_REPLY_LINES = 10
_COLOURS = {Severity.CRITICAL: "#d00000", Severity.WARNING: "#e8a317", Severity.INFO: "#3a86c8"}
_RESOLVED, _CLOSED = "#2e9e5b", "#8a8f98"
_CUT_MARKUP = re.compile(r"(&[a-z]*|<[^<>]*)$")


def escape(text: str) -> str:
    """Text of others as Slack's mrkdwn: one line in which nothing is a mention, a link or a control mark.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return _escape(clean(text))


def build(message: Message) -> dict[str, Any]:
    """The payload: a line of text, and one attachment, for only attachments have a colour.

    Slack shows `text` above the attachment and in notifications, so it is not repeated below.
    """
    text = f"*[{heading(message)}]* {_markup(summary(message))}"
    blocks = [_section(section) for section in _within_limits(_sections(message))]
    return {
        "text": text,
        "attachments": [{"color": _colour(message), "fallback": text, "blocks": blocks}] if blocks else [],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def build_reply(message: Message) -> dict[str, Any] | None:
    """What is said in the thread when the message is edited: what changed. None where the edit says enough."""
    lines = [
        f"*{_reply_word(message, state)}* {_markup(line)}"
        for state, line in news_lines(message)
        if _is_said_in_thread(message, state)
    ]
    if not lines:
        return None
    more = [f"and {len(lines) - _REPLY_LINES} more"] if len(lines) > _REPLY_LINES else []
    text = "\n".join(_packed([*lines[:_REPLY_LINES], *more])[:1])
    return {"text": text, "unfurl_links": False, "unfurl_media": False}


def _is_said_in_thread(message: Message, state: str) -> bool:
    """Ends that are no recovery are only edited (contract §6), and an edited list shows its new alerts itself."""
    if message.kind in (Kind.FIRING, Kind.CLOSED):
        return False
    return not (message.kind is Kind.LIST and state == "firing") and state != "closed"


def _reply_word(message: Message, state: str) -> str:
    return "Still firing:" if message.kind is Kind.REPEAT else f"{state.capitalize()}:"


def _sections(message: Message) -> Iterator[str]:
    """The texts below the first line."""
    if message.kind is Kind.LIST:
        lines = [f"• *{message.states[item.alert.key]}* {_markup(list_line(item, message))}" for item in message.items]
        yield from _packed(lines)
    else:
        for item in message.items:
            yield from _item(item, message)
    if message.more:
        yield f"and {message.more} more alerts"
    if safe_url(message.external_url):
        yield _markup((Span("Open in k2alert", message.external_url),))


def _item(item: Item, message: Message) -> Iterator[str]:
    if message.total > 1:
        yield f"*{message.states[item.alert.key]}* {_markup(headline(item, message))}"
    # The rule's text may mention people: an end that is no recovery pings nobody (contract §6).
    if item.text.strip() and message.kind is not Kind.CLOSED:
        yield _cut(item.text.strip())
    yield from _packed(_markup(line) for line in details(item))


def _packed(lines: Iterable[str]) -> list[str]:
    """Lines joined into as few sections as hold them."""
    packed: list[str] = []
    for line in lines:
        if packed and len(packed[-1]) + 1 + len(line) <= _SECTION:
            packed[-1] += f"\n{line}"
        else:
            packed.append(line)
    return packed


def _within_limits(sections: Iterable[str]) -> Iterator[str]:
    left = _TOTAL
    for position, section in enumerate(sections):
        if position == _BLOCKS - 1 or len(section) > left:
            yield "… and more than fits here"
            return
        left -= len(section)
        yield section


def _section(text: str) -> dict[str, Any]:
    # verbatim: plain text stays plain, only explicit markup is a link or a mention.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _markup(line: Line) -> str:
    """The line as mrkdwn; without its links where it would not fit a section."""
    text = "".join(_span(span) for span in line)
    return text if len(text) < _SECTION else escape("".join(span.text for span in line))


def _span(span: Span) -> str:
    url = safe_url(span.url)
    text = _escape(spaced(span.text))
    return f"<{_escape(url)}|{text.strip() or 'link'}>" if url else text


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    """An author's markup, cut where it is too long, but never inside of an entity or a link."""
    if len(text) <= _SECTION:
        return text
    return _CUT_MARKUP.sub("", text[: _SECTION - 1]) + "…"


def _colour(message: Message) -> str:
    if message.firing:
        return _COLOURS[message.severity]
    return _CLOSED if message.closed else _RESOLVED


# ------------------------------------------------------------------------------------------ read

_UNREADABLE = "no usable answer"
_LIMITED = frozenset({"ratelimited", "rate_limited"})
# https://docs.slack.dev/reference/methods/chat.postMessage/#errors: those that say that trying again may help.
_PASSING = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org", _UNREADABLE}
)
_UNKNOWN_TO_SLACK = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})
_MESSAGE_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
# A webhook's errors are single words; anything else comes from a proxy and may repeat the secret URL.
_WORD = re.compile(r"[a-z][a-z_]{1,60}")


class Answer(NamedTuple):
    """What Slack answered: `error` is its word for what is wrong, "" if nothing is; `handle` is channel and ts."""

    status: int
    error: str = ""
    retry_after: str | None = None
    handle: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it was taken."""
        return 200 <= self.status < 300 and not self.error


def read(answer: Answer, *, now: datetime) -> Delivery:
    """What an answer means: taken, to be tried again (429, 5xx, passing errors), or refused for good."""
    text = f"Slack answered {answer.status} {answer.error}".strip()
    if answer.status == 429 or answer.error in _LIMITED:
        return Retry(text, joint.retry_after(answer.retry_after, now=now), "rateLimited")
    if answer.status >= 500 or answer.error in _PASSING:
        return Retry(text, joint.retry_after(answer.retry_after, now=now), "serverError")
    if answer.is_good:
        return Sent()
    return Refused(text, "authError" if answer.error in _UNKNOWN_TO_SLACK else "clientError")


def _read_webhook(status: int, headers: Mapping[str, str], body: str) -> Answer:
    word = body.strip()
    if not 200 <= status < 300:
        error = word if _WORD.fullmatch(word) else ""
    else:
        error = _UNREADABLE if word.startswith("<") else ""  # a page of a proxy, not Slack
    return Answer(status, error, headers.get("Retry-After"))


def _read_api(status: int, headers: Mapping[str, str], data: Any) -> Answer:
    body: Mapping[str, Any] = data if isinstance(data, dict) else {}
    wait = headers.get("Retry-After")
    if status == 200 and body.get("ok") is True:
        return Answer(status, "", wait, f"{body.get('channel', '')} {body.get('ts', '')}")
    error = body.get("error")
    fallback = _UNREADABLE if status == 200 else ""
    return Answer(status, error if isinstance(error, str) and _WORD.fullmatch(error) else fallback, wait)


# ------------------------------------------------------------------------------------------ send

# slack-sdk writes the webhook's URL, which is a secret, at DEBUG; it asks this logger's own level.
_SILENT = logging.getLogger("k2alert.slack_sdk")
_SILENT.setLevel(logging.WARNING)
_WEBHOOK = "webhook"


async def send(
    settings: Settings,
    message: Message,
    *,
    session: aiohttp.ClientSession,
    render: Callable[[str], str],
    within: timedelta,
) -> Delivery:
    """Tells Slack. `render` fills in channels that are templates; `within` is the time for each call."""
    if settings.bot_token is not None:
        bot = _Bot(settings, settings.bot_token, session, within)
        known = {name: _place(word) for name, word in message.handle.items() if _place(word)}
        # Who has heard of it hears the end, nobody else does.
        wanted = () if message.is_over and known else addresses(settings, render)
        return joint.join({name: await bot.tell(name, message) for name in dict.fromkeys((*known, *wanted))})
    return await _send_webhook(settings, message, session, addresses(settings, render), within)


async def _send_webhook(
    settings: Settings,
    message: Message,
    session: aiohttp.ClientSession,
    channels: tuple[str, ...],
    within: timedelta,
) -> Delivery:
    url = settings.webhook_url.get_secret_value() if settings.webhook_url is not None else ""
    client = AsyncWebhookClient(url, session=session, retry_handlers=[], logger=_SILENT)
    # A webhook of a Slack app ignores the channel; older ones, and servers that speak the same, honour it.
    body = build(message) | ({"channel": channels[0]} if len(channels) == 1 else {})

    async def post() -> Answer:
        response = await client.send_dict(body)
        return _read_webhook(response.status_code, response.headers, response.body)

    answer = await _ask(post, within)
    delivery = read(answer, now=message.now) if isinstance(answer, Answer) else answer
    return Sent({_WEBHOOK: message.mark}) if isinstance(delivery, Sent) else delivery


class _Bot:
    """The Web API with a bot token: post, edit, reply."""

    def __init__(self, settings: Settings, token: SecretStr, session: aiohttp.ClientSession, within: timedelta) -> None:
        self._client = AsyncWebClient(
            token.get_secret_value(),
            base_url=settings.api_url or AsyncWebClient.BASE_URL,
            session=session,
            retry_handlers=[],
            logger=_SILENT,
        )
        self._within = within

    async def tell(self, channel: str, message: Message) -> Delivery:
        """Posts the first message to a channel, or edits it and says what changed in its thread."""
        known = message.handle.get(channel, "")
        if joint.took(message.handle, channel, message.mark):
            return Sent({channel: known})
        place = _place(known)
        if place is None:
            return await self._post(channel, message)
        return await self._edit(channel, place, message)

    async def _post(self, channel: str, message: Message) -> Delivery:
        answer = await self._call("chat.postMessage", build(message) | {"channel": channel})
        return _delivery(answer, channel, message)

    async def _edit(self, channel: str, place: tuple[str, str], message: Message) -> Delivery:
        where, ts = place
        answer = await self._call("chat.update", build(message) | {"channel": where, "ts": ts})
        if isinstance(answer, Answer) and answer.error in _MESSAGE_GONE:
            return await self._post(channel, message)
        reply = build_reply(message)
        if reply is None or not _is_good(answer):
            return _delivery(answer, channel, message)
        said = await self._call("chat.postMessage", reply | {"channel": where, "thread_ts": ts})
        return _delivery(answer if _is_good(said) else said, channel, message)

    async def _call(self, method: str, body: Mapping[str, Any]) -> Answer | Retry | Refused:
        async def call() -> Answer:
            try:
                response = await self._client.api_call(method, json=dict(body))
            except SlackApiError as error:
                return _read_error(error.response)
            except AttributeError:  # what slack-sdk raises on a 200 that is plain text
                return Answer(200, _UNREADABLE)
            return _read_api(response.status_code, response.headers, response.data)

        return await _ask(call, self._within)


def _read_error(response: Any) -> Answer:
    """slack-sdk attaches its own response, or aiohttp's where the body was no JSON."""
    status = response.status_code if hasattr(response, "status_code") else response.status
    return _read_api(status, response.headers, getattr(response, "data", None))


def _is_good(answer: Answer | Retry | Refused) -> bool:
    return isinstance(answer, Answer) and answer.is_good


def _delivery(answer: Answer | Retry | Refused, channel: str, message: Message) -> Delivery:
    if not isinstance(answer, Answer):
        return answer
    delivery = read(answer, now=message.now)
    if isinstance(delivery, Refused):
        return Refused(f"{clean(channel, 80)}: {delivery.error}", delivery.reason)
    return Sent({channel: f"{answer.handle} {message.mark}"}) if isinstance(delivery, Sent) else delivery


def _place(word: str) -> tuple[str, str] | None:
    """Channel and ts of the message that a handle remembers; None for what a webhook left."""
    words = word.split(" ")
    return (words[0], words[1]) if len(words) == 3 else None


async def _ask(call: Callable[[], Awaitable[Answer]], within: timedelta) -> Answer | Retry | Refused:
    """The answer, or what its absence means. Errors are named by type only: their texts may hold the URL."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await call()
    except TimeoutError:
        return Retry("Slack did not answer in time", reason="contextDeadlineExceeded", maybe=True)
    except aiohttp.InvalidURL:
        return Refused("webhook_url or api_url is not a URL")
    except (aiohttp.ClientError, OSError) as error:
        return Retry(f"no answer from Slack ({type(error).__name__})", maybe=not joint.never_met(error))
    except (ValueError, LookupError, RecursionError) as error:  # a charset or JSON that nobody can read
        return Retry(f"{_UNREADABLE} from Slack ({type(error).__name__})", reason="serverError")
