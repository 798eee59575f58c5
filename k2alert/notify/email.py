"""Mail over SMTP.

A `Message` comes in, a `Delivery` goes out. Mail can't be edited, so every change is a mail of its own, and all
mails of an incident are one thread: References for programs that read headers, a constant subject behind the
state for those that don't. Text first, then HTML (RFC 2046, 5.1.4), which is made in mail_page.py; nothing is fetched.
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Literal

import aiosmtplib
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from k2alert.model import Delivery, Refused, Retry, Sent
from k2alert.notify import joint
from k2alert.notify.chart import png_of
from k2alert.notify.mail_page import escape_html, html_of, text_of
from k2alert.notify.message import Message, heading, stem
from k2alert.notify.pace import Wire, fenced
from k2alert.notify.posting import trust
from k2alert.notify.text import clean, cut

__all__ = ["Settings", "addresses", "build", "escape", "escape_html", "files", "read", "send"]

# ------------------------------------------------------------------------------------------ settings

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_SERVER = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?")
# What may stand on an SMTP command line; addresses beyond ASCII would need SMTPUTF8 at every hop.
_MAILBOX = re.compile(r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*")


class Settings(BaseModel):
    """`email:` of a receiver (contract §1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    smtp_server: str = Field(description="host or host:port")
    smtp_user: str | None = Field(default=None, description="Who signs in; default: nobody.")
    smtp_password: SecretStr | None = Field(default=None, description="What they sign in with.")
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls", description="Port 587 with starttls, 465 with implicit, 25 with none, where none is given."
    )
    ca_file: str | None = Field(default=None, description="Certificates to trust, in a PEM file.")
    from_address: str = Field(description="Who the mail is from.")
    to_addresses: tuple[str, ...] = Field(description="Whom it is to; may be templates of labels.")
    send_resolved: bool = Field(default=True, description="Tell ends, too.")

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


def escape(text: str) -> str:
    """Text of others in a text part or a header: one line without control marks or links."""
    return clean(text)


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
    mail.set_content(text_of(message), charset="utf-8", cte="quoted-printable")
    _add_page(mail, message, domain)
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


def _add_page(mail: EmailMessage, message: Message, domain: str) -> None:
    """The HTML part, with its chart beside it (RFC 2387), found by its Content-ID (RFC 2392)."""
    chart = message.alone.chart if message.alone is not None else None
    name = f"chart.{message.mark}@{domain}"
    page = html_of(message, chart_url=f"cid:{name}" if chart is not None else "")
    mail.add_alternative(page, subtype="html", charset="utf-8", cte="quoted-printable")
    if chart is not None:
        part = mail.get_body(("html",))
        if part is not None:  # it was added above
            picture = png_of(chart)
            part.add_related(picture, "image", "png", cid=f"<{name}>", filename="chart.png", disposition="inline")


def files(settings: Settings, message: Message, render: Callable[[str], str]) -> dict[str, bytes]:
    """The mail as files: whole, and each of its parts as it looks."""
    mail = build(settings, message, addresses(settings, render) or ("nobody@example.com",))
    chart = message.alone.chart if message.alone is not None else None
    picture = f"data:image/png;base64,{b64encode(png_of(chart)).decode()}" if chart is not None else ""
    page, text = html_of(message, chart_url=picture), text_of(message)
    return {".eml": mail.as_bytes(), ".html": page.encode(), ".txt": text.encode()}


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
    wire: Wire,
    render: Callable[[str], str],
) -> Delivery:
    """Sends the mail to everyone who does not have it yet.

    `render` fills in addresses that are templates. The time for a call is that for the whole conversation.
    """
    everyone = _recipients(settings, message, render)
    bad = {address: Refused(f"not a mail address: {clean(address, 80)!r}") for address in everyone[1]}
    waiting = tuple(name for name in everyone[0] if not joint.took(message.handle, name, message.mark))
    done: dict[str, Delivery] = {name: Sent({name: message.mark}) for name in everyone[0] if name not in waiting}
    if not waiting:
        return joint.join(done | bad)
    sent = await _submit(settings, message, everyone[0], waiting, wire)
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
    settings: Settings, message: Message, everyone: tuple[str, ...], to: tuple[str, ...], wire: Wire
) -> Delivery:
    try:
        mail = build(settings, message, everyone)
        async with asyncio.timeout(wire.within.total_seconds()), _server(settings) as server:
            with _behind_a_fence(server, wire):
                refused, _ = await server.send_message(mail, sender=_sender(settings).addr_spec, recipients=to)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return read(error)
    return _each(to, {name: (answer.code, answer.message) for name, answer in refused.items()}, message.mark)


@contextmanager
def _behind_a_fence(server: aiosmtplib.SMTP, wire: Wire) -> Iterator[None]:
    """The conversation ends where somebody else leads; a good-bye after a mail that was taken may always be said."""
    protocol = server.protocol
    if protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("hung up")
    open_line = protocol.transport
    protocol.transport = fenced(open_line, wire.allowed)
    yield
    if protocol.transport is not None:  # else the server hung up
        protocol.transport = open_line


def _server(settings: Settings) -> aiosmtplib.SMTP:
    """The mail server; within a `with` we are connected and logged in."""
    return aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port,
        username=settings.smtp_user,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password is not None else None,
        use_tls=settings.tls == "implicit",
        start_tls=settings.tls == "starttls",
        tls_context=None if settings.tls == "none" else trust(settings.ca_file),
    )
