"""Slack: incoming webhook or bot token.

A `Message` comes in, a `Delivery` goes out. With a bot token an incident is one message that is edited, with its
changes, repeats and end in its thread; an incoming webhook answers without the message's timestamp, so there every
change is a message of its own. What it looks like is in slack_blocks.py.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from k2alert.model import Delivery, Refused, Retry, Sent
from k2alert.notify import joint
from k2alert.notify.message import Message
from k2alert.notify.pace import Limit, Wire
from k2alert.notify.slack_blocks import build, build_reply, escape
from k2alert.notify.slack_preview import preview_of
from k2alert.notify.text import clean

__all__ = ["Answer", "Settings", "addresses", "build", "build_reply", "escape", "files", "read", "send"]

# ------------------------------------------------------------------------------------------ settings


class Settings(BaseModel):
    """`slack:` of a receiver (contract §1). One of `webhook_url` and `bot_token` is used; both: the token."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    webhook_url: SecretStr | None = Field(default=None, description="An incoming webhook: each change is a message.")
    bot_token: SecretStr | None = Field(default=None, description="With chat:write: an incident is one edited message.")
    channel: str | tuple[str, ...] = Field(default=(), description="One or a list; may be templates of labels.")
    api_url: str = Field(default="", description="The Web API, for proxies; default: https://slack.com/api/")
    send_resolved: bool = Field(default=True, description="Tell ends, too.")

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


def files(settings: Settings, message: Message, render: Callable[[str], str]) -> dict[str, bytes]:
    """The post as files: what Slack is sent, roughly how it shows it, and the line for notifications."""
    payload = build(message)
    sent = json.dumps(payload, indent=2, ensure_ascii=False)
    return {".json": sent.encode(), ".html": preview_of(payload).encode(), ".txt": f"{payload['text']}\n".encode()}


# ------------------------------------------------------------------------------------------ limits

# https://docs.slack.dev/apis/web-api/rate-limits: a message a second and channel, threads and webhooks too; edits are
# of tier 3, at least 50 a minute for an app in a workspace, in bursts where they are rare.
_POSTS = Limit(1, timedelta(seconds=1))
_EDITS = Limit(50, timedelta(minutes=1))
_UNSAID = timedelta(seconds=1)  # how long to wait where Slack does not say

# ------------------------------------------------------------------------------------------ read

_UNREADABLE = "no usable answer"
_LIMITED = frozenset({"ratelimited", "rate_limited"})
# https://docs.slack.dev/reference/methods/chat.postMessage/#errors: those that say that trying again may help.
_PASSING = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org", _UNREADABLE}
)
# Of these Slack says that some aspect of the operation may have succeeded; whoever else answers is not Slack.
_UNSURE = frozenset({"fatal_error", "internal_error", _UNREADABLE})
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

    @property
    def is_limited(self) -> bool:
        """Whether there were too many before it."""
        return self.status == 429 or self.error in _LIMITED


def read(answer: Answer, *, now: datetime) -> Delivery:
    """What an answer means: taken, to be tried again (429, 5xx, passing errors), or refused for good."""
    text = f"Slack answered {answer.status} {answer.error}".strip()
    if answer.is_limited:
        return Retry(text, joint.retry_after(answer.retry_after, now=now), "rateLimited", local=True)
    if answer.status >= 500 or answer.error in _PASSING:
        maybe = answer.error in _UNSURE or joint.may_have_taken(answer.status)
        return Retry(text, joint.retry_after(answer.retry_after, now=now), "serverError", maybe=maybe)
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
    wire: Wire,
    render: Callable[[str], str],
) -> Delivery:
    """Tells Slack. `render` fills in channels that are templates."""
    if settings.bot_token is not None:
        bot = _Bot(settings, settings.bot_token, wire)
        known = {name: _place(word) for name, word in message.handle.items() if _place(word)}
        # Who has heard of it hears the end, nobody else does.
        wanted = () if message.is_over and known else addresses(settings, render)
        return joint.join({name: await bot.tell(name, message) for name in dict.fromkeys((*known, *wanted))})
    return await _send_webhook(settings, message, addresses(settings, render), wire)


async def _send_webhook(settings: Settings, message: Message, channels: tuple[str, ...], wire: Wire) -> Delivery:
    url = settings.webhook_url.get_secret_value() if settings.webhook_url is not None else ""
    client = AsyncWebhookClient(url, session=wire.session, retry_handlers=[], logger=_SILENT)
    # A webhook of a Slack app ignores the channel; older ones, and servers that speak the same, honour it.
    body = build(message) | ({"channel": channels[0]} if len(channels) == 1 else {})

    async def post() -> Answer:
        response = await client.send_dict(body)
        return _read_webhook(response.status_code, response.headers, response.body)

    answer = await _in_turn(post, wire, (url, *channels), _POSTS, message.now)
    delivery = read(answer, now=message.now) if isinstance(answer, Answer) else answer
    return Sent({_WEBHOOK: message.mark}) if isinstance(delivery, Sent) else delivery


class _Bot:
    """The Web API with a bot token: post, edit, reply."""

    def __init__(self, settings: Settings, token: SecretStr, wire: Wire) -> None:
        self._client = AsyncWebClient(
            token.get_secret_value(),
            base_url=settings.api_url or AsyncWebClient.BASE_URL,
            session=wire.session,
            retry_handlers=[],
            logger=_SILENT,
        )
        self._token = token.get_secret_value()
        self._wire = wire

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
        answer = await self._say(build(message) | {"channel": channel}, channel, message.now)
        return _delivery(answer, channel, message)

    async def _edit(self, channel: str, place: tuple[str, str], message: Message) -> Delivery:
        where, ts = place
        answer = await self._update(build(message) | {"channel": where, "ts": ts}, message.now)
        if isinstance(answer, Answer) and answer.error in _MESSAGE_GONE:
            return await self._post(channel, message)
        reply = build_reply(message)
        if reply is None or not _is_good(answer):
            return _delivery(answer, channel, message)
        said = await self._say(reply | {"channel": where, "thread_ts": ts}, channel, message.now)
        return _delivery(answer if _is_good(said) else said, channel, message)

    async def _say(self, body: Mapping[str, Any], channel: str, now: datetime) -> Answer | Retry | Refused:
        """Posts to a channel or to a thread in it: Slack counts by channel."""
        whom = (self._token, channel)
        return await _in_turn(lambda: self._call("chat.postMessage", body), self._wire, whom, _POSTS, now)

    async def _update(self, body: Mapping[str, Any], now: datetime) -> Answer | Retry | Refused:
        """Edits: Slack counts all edits of an app."""
        whom = (self._token, "chat.update")
        return await _in_turn(lambda: self._call("chat.update", body), self._wire, whom, _EDITS, now)

    async def _call(self, method: str, body: Mapping[str, Any]) -> Answer:
        try:
            response = await self._client.api_call(method, json=dict(body))
        except SlackApiError as error:
            return _read_error(error.response)
        except AttributeError:  # what slack-sdk raises on a 200 that is plain text
            return Answer(200, _UNREADABLE)
        return _read_api(response.status_code, response.headers, response.data)


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


async def _in_turn(
    call: Callable[[], Awaitable[Answer]], wire: Wire, whom: Hashable, limit: Limit, now: datetime
) -> Answer | Retry | Refused:
    """Asks when it is time to; who is told to wait keeps everyone from asking there meanwhile."""
    wait = await wire.pace.turn(whom, limit)
    if wait is not None:
        return Retry("Slack takes no more messages there for now", wait, "rateLimited", local=True)
    if (refusal := wire.refusal()) is not None:  # much may have happened while it waited for its turn
        return refusal
    answer = await _ask(call, wire.within)
    if isinstance(answer, Answer) and answer.is_limited:
        wire.pace.hold(whom, joint.retry_after(answer.retry_after, now=now) or _UNSAID)
    return answer


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
        return Retry(f"{_UNREADABLE} from Slack ({type(error).__name__})", reason="serverError", maybe=True)
