"""Mail over SMTP.

A `Message` comes in, a `Delivery` goes out. Mail can't be edited, so every change is a mail of its own, and all
mails of an incident are one thread: References for programs that read headers, a constant subject behind the
state for those that don't. Text first, then HTML (RFC 2046, 5.1.4), no pictures, no tables, nothing fetched.
"""

import asyncio
import html
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Literal

import aiosmtplib
from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from k2alert.model import Delivery, Refused, Retry, Sent
from k2alert.notify import joint
from k2alert.notify.details import details
from k2alert.notify.message import Item, Line, Message, Span, heading, headline, list_line, stem, summary
from k2alert.notify.plain import plain_line
from k2alert.notify.plan import Kind
from k2alert.notify.posting import trust
from k2alert.notify.text import clean, cut, safe_url, spaced

# ------------------------------------------------------------------------------------------ settings

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_SERVER = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?")
# What may stand on an SMTP command line; addresses beyond ASCII would need SMTPUTF8 at every hop.
_MAILBOX = re.compile(r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*")


class Settings(BaseModel):
    """`email:` of a receiver (contract §1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    smtp_server: str  # host or host:port
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca_file: str | None = None
    from_address: str
    to_addresses: tuple[str, ...]
    send_resolved: bool = True

    # What comes from the environment may be missing, and so empty, while a file is only checked.

    @field_validator("smtp_server")
    @classmethod
    def _is_server(cls, value: str) -> str:
        found = _SERVER.fullmatch(value)
        if value and (found is None or int(found["port"] or 0) > 65_535):
            raise ValueError("not host or host:port")
        return value

    @field_validator("from_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not (value.isprintable() and _MAILBOX.fullmatch(parseaddr(value)[1])):
            raise ValueError("not a mail address")
        return value

    @property
    def host(self) -> str:
        """The server's name or number."""
        found = _SERVER.fullmatch(self.smtp_server)
        return (found["v6"] or found["host"]) if found else ""

    @property
    def port(self) -> int:
        """The port as written, or the usual one: 587 with STARTTLS, 465 with TLS from the start, 25 without."""
        found = _SERVER.fullmatch(self.smtp_server)
        return int(found["port"]) if found and found["port"] else _PORTS[self.tls]

    @property
    def edits(self) -> bool:
        """Whether a message can be edited once it is sent."""
        return False


def addresses(settings: Settings, render: Callable[[str], str]) -> tuple[str, ...]:
    """The addresses mail goes to, rendered."""
    return tuple(dict.fromkeys(render(address).strip() for address in settings.to_addresses))


# ----------------------------------------------------------------------------------------- build

_SUBJECT = 200
_BAR = {"firing": "#d00000", "resolved": "#2e9e5b", "closed": "#8a8f98"}
# No colours of text or background: the reader's light or dark theme chooses them.
_PAGE = (
    '<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
    '</head><body style="font-family:sans-serif;font-size:16px;line-height:1.4;max-width:44em;'
    'overflow-wrap:anywhere">\n{}\n</body></html>\n'
)


def escape(text: str) -> str:
    """Text of others in a text part or a header: one line without control marks or links."""
    return clean(text)


def escape_html(text: str) -> str:
    """Text of others in the HTML part."""
    return html.escape(clean(text))


def build(settings: Settings, message: Message, to: tuple[str, ...]) -> EmailMessage:
    """The mail. Its Message-ID is the same when it is tried again, so that a server may see that it has it."""
    sender = _sender(settings)
    domain = sender.domain
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = cut(f"[{heading(message)}] {escape(stem(message))}", _SUBJECT)
    mail["From"] = sender
    mail["To"] = tuple(Address(addr_spec=address) for address in to)
    mail["Date"] = message.now
    mail["Message-ID"] = f"<{message.mark}.k2alert@{domain}>"
    for name in ("In-Reply-To", "References"):  # the root of the thread is never sent: no mail need be the first
        mail[name] = f"<{message.thread}.k2alert@{domain}>"
    for name, value in _headers(message, domain):
        mail[name] = value
    mail.set_content(_text(message), charset="utf-8", cte="quoted-printable")
    mail.add_alternative(_html(message), subtype="html", charset="utf-8", cte="quoted-printable")
    return mail


def _sender(settings: Settings) -> Address:
    name, address = parseaddr(settings.from_address)
    return Address(display_name=clean(name), addr_spec=address)


def _headers(message: Message, domain: str) -> Iterator[tuple[str, str]]:
    """What programs filter by."""
    receiver = re.sub(r"[^a-z0-9-]+", "-", message.receiver.lower()).strip("-") or "receiver"
    rules = sorted({clean(item.alert.rule, 100) for item in message.items})
    yield "Auto-Submitted", "auto-generated"  # RFC 3834: no vacation answers
    yield "List-Id", f"<{receiver[:60]}.k2alert.{domain}>"  # RFC 2919
    yield "X-K2Alert-State", heading(message).partition(":")[0].lower()
    yield "X-K2Alert-Severity", message.severity.value
    yield "X-K2Alert-Rule", cut(", ".join(rules), _SUBJECT)
    yield "X-K2Alert-Fingerprint", message.thread


def _text(message: Message) -> str:
    blocks = [plain_line(summary(message))] if message.total != 1 else []
    blocks += ["\n".join(_text_item(item, message)) for item in message.items]
    if message.more:
        blocks.append(f"and {message.more} more alerts")
    if safe_url(message.external_url):
        blocks.append(safe_url(message.external_url))
    return ("\n" if message.kind is Kind.LIST else "\n\n").join(blocks) + "\n"


def _text_item(item: Item, message: Message) -> Iterator[str]:
    line = list_line(item, message) if message.kind is Kind.LIST else headline(item, message)
    yield f"{message.states[item.alert.key].upper()} {plain_line(line)}"
    if message.kind is Kind.LIST:
        return
    if item.text.strip():
        yield item.text.strip()
    for line in details(item):
        yield f"- {plain_line(line)}"


def _html(message: Message) -> str:
    blocks = [f"<p><b>{_html_line(summary(message))}</b></p>"] if message.total != 1 else []
    blocks += ["\n".join(_html_item(item, message)) for item in message.items]
    if message.more:
        blocks.append(f"<p>and {message.more} more alerts</p>")
    if safe_url(message.external_url):
        blocks.append(f"<p>{_html_span(Span('Open in k2alert', message.external_url))}</p>")
    return _PAGE.format("\n".join(blocks))


def _html_item(item: Item, message: Message) -> Iterator[str]:
    state = message.states[item.alert.key]
    yield f'<div style="border-left:4px solid {_BAR[state]};padding-left:12px;margin:12px 0">'
    line = list_line(item, message) if message.kind is Kind.LIST else headline(item, message)
    yield f"<b>{state.upper()}</b> {_html_line(line)}"
    if message.kind is not Kind.LIST:
        if item.html.strip():
            yield f'<p style="white-space:pre-line">{item.html.strip()}</p>'
        lines = "\n".join(f"<li>{_html_line(line)}</li>" for line in details(item))
        yield f'<ul style="padding-left:1.2em">{lines}</ul>' if lines else ""
    yield "</div>"


def _html_line(line: Line) -> str:
    return "".join(map(_html_span, line))


def _html_span(span: Span) -> str:
    url = safe_url(span.url)
    text = spaced(span.text, escape_html)
    return f'<a href="{html.escape(url)}">{text or "link"}</a>' if url else text


# ------------------------------------------------------------------------------------------ read


def read(error: Exception) -> Retry | Refused:
    """What a failure means: 4xx and the network pass (RFC 5321, 4.2.1), 5xx and what the server cannot do don't."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return _by_code(error.code, "login refused")  # its text may repeat what was sent
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _by_code(error.code, clean(error.message, 200))
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refusal.code for refusal in error.recipients]
        return _by_code(min(codes), "all recipients refused")
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Refused("the mail server's certificate is not trusted, or TLS failed")
    if isinstance(error, TimeoutError):
        return Retry("the mail server did not answer in time", reason="contextDeadlineExceeded", maybe=True)
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return Retry(f"no answer from the mail server ({type(error).__name__})", maybe=True)
    if isinstance(error, OSError):
        return Retry(f"no connection to the mail server ({type(error).__name__})")
    if isinstance(error, aiosmtplib.SMTPException):  # no STARTTLS, no AUTH, no SMTPUTF8
        return Refused(f"the mail server can't do it: {clean(error.message, 200)}")
    return Refused(f"the mail can't be sent ({type(error).__name__})")


_LOGIN_NEEDED = frozenset({530, 534, 535, 538})  # RFC 4954, section 6


def _by_code(code: int, text: str) -> Retry | Refused:
    said = f"the mail server answered {code} {text}"
    if code < 500:
        return Retry(said, reason="serverError")
    return Refused(said, "authError" if code in _LOGIN_NEEDED else "clientError")


def _each(to: tuple[str, ...], refused: Mapping[str, tuple[int, str]], mark: str) -> Delivery:
    """Who took it and who didn't: a server may refuse some of the recipients and take the mail for the others."""
    return joint.join(
        {
            address: _by_code(refused[address][0], f"for {address}") if address in refused else Sent({address: mark})
            for address in to
        }
    )


# ------------------------------------------------------------------------------------------ send


async def send(
    settings: Settings,
    message: Message,
    *,
    session: object,
    render: Callable[[str], str],
    within: timedelta,
) -> Delivery:
    """Sends the mail to everyone who does not have it yet.

    `render` fills in addresses that are templates, `within` is the time for the whole conversation. `session` is
    for integrations that speak HTTP.
    """
    everyone = _recipients(settings, message, render)
    bad = {address: Refused(f"not a mail address: {clean(address, 80)!r}") for address in everyone[1]}
    waiting = tuple(name for name in everyone[0] if not joint.took(message.handle, name, message.mark))
    done: dict[str, Delivery] = {name: Sent({name: message.mark}) for name in everyone[0] if name not in waiting}
    if not waiting:
        return joint.join(done | bad)
    sent = await _submit(settings, message, everyone[0], waiting, within)
    return joint.join({**done, **bad, "": sent})


def _recipients(
    settings: Settings, message: Message, render: Callable[[str], str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Addresses that are some, and those that are not. The end goes to those who heard of it, and to nobody else."""
    known = tuple(name for name in message.handle if _MAILBOX.fullmatch(name))
    wanted = known if message.is_over and known else addresses(settings, render)
    good = tuple(name for name in wanted if _MAILBOX.fullmatch(name))
    return good, tuple(name for name in wanted if name not in good)


async def _submit(
    settings: Settings, message: Message, everyone: tuple[str, ...], to: tuple[str, ...], within: timedelta
) -> Delivery:
    try:
        mail = build(settings, message, everyone)
        async with asyncio.timeout(within.total_seconds()):
            refused, _ = await _transmit(settings, mail, to)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return read(error)
    return _each(to, {name: (answer.code, answer.message) for name, answer in refused.items()}, message.mark)


async def _transmit(
    settings: Settings, mail: EmailMessage, to: tuple[str, ...]
) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
    password = settings.smtp_password.get_secret_value() if settings.smtp_password is not None else None
    return await aiosmtplib.send(
        mail,
        sender=_sender(settings).addr_spec,
        recipients=to,
        hostname=settings.host,
        port=settings.port,
        username=settings.smtp_user,
        password=password,
        use_tls=settings.tls == "implicit",
        start_tls=settings.tls == "starttls",
        tls_context=None if settings.tls == "none" else trust(settings.ca_file),
    )
