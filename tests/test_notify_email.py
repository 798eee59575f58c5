"""Mail, through a real SMTP server with STARTTLS and a login; every raw message is parsed and must be flawless."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from k2alert.labels import Labels
from k2alert.model import Delivery, EndReason, Evidence, Refused, Retry, Sent
from k2alert.notify import email as integration
from k2alert.notify.message import Item, compose, shown
from tests.support.gallery import rate_chart
from tests.support.notified import HOUR, MINUTE, Told, World, alert, item, receivers, run
from tests.support.smtp import PASSWORD, USER, MailServer, mail_server
from tests.support.wires import a_wire
from tests.test_notify_text import HOSTILE

TO = ("devops@k2.test", "qa@k2.test")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MailServer]:
    async with mail_server(tmp_path) as running:
        yield running


def settings_for(server: MailServer, **changes: object) -> integration.Settings:
    made = integration.Settings(
        smtp_server=f"localhost:{server.port}",
        smtp_user=USER,
        smtp_password=SecretStr(PASSWORD),
        ca_file=server.ca_file,
        from_address="CI alerts <ci-cd@k2-platform.test>",
        to_addresses=TO,
    )
    return made.model_copy(update=changes)


class Mailbox:
    """A world whose only receiver is told by mail."""

    def __init__(self, settings: integration.Settings) -> None:
        self.settings = settings
        self.world = World(receivers=receivers(Told(), name="Team Ä/1"))
        self.world.route = replace(self.world.route, receiver="Team Ä/1")  # type: ignore[type-var]

    async def tick(self, after: timedelta = MINUTE, items: Sequence[Item] | None = None) -> list[Delivery]:
        self.world.now += after
        found: list[Delivery] = []
        for due in self.world.due():
            message = compose(
                due, items or [item(of) for of in shown(due)], now=self.world.now, external_url="https://k2alert.test"
            )
            outcome = await integration.send(
                self.settings,
                message,
                wire=a_wire(None),  # it speaks no HTTP
                render=lambda text: text.replace("{{ labels.team }}", "pay"),
            )
            found.append(outcome)
        self.world.now -= after
        outcomes = iter(found)
        self.world.tick(after, lambda _: next(outcomes))
        return found


def parts(mail: EmailMessage) -> tuple[str, str]:
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert page is not None
    assert (text.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    assert {part["Content-Transfer-Encoding"] for part in (text, page)} == {"quoted-printable"}
    return text.get_content(), page.get_content()


def assert_flawless(server: MailServer) -> None:
    for raw, mail in zip(server.raw, server.mails, strict=True):
        assert max(map(len, raw.split(b"\r\n"))) <= 998
        assert b"\n" not in raw.replace(b"\r\n", b"")
        assert raw.isascii()
        for part in mail.walk():
            assert part.defects == []
            assert [header.defects for header in part.values() if getattr(header, "defects", ())] == []


async def test_an_incident_is_a_thread_of_mails_over_starttls_with_a_login(server: MailServer) -> None:
    box = Mailbox(settings_for(server))
    red = box.world.fire()
    (delivery,) = await box.tick()
    assert isinstance(delivery, Sent)
    await box.tick(4 * HOUR)
    box.world.end(red)
    await box.tick(5 * MINUTE)
    assert_flawless(server)
    assert server.encrypted == [True] * 3
    assert server.logins == [USER] * 3
    assert [mail["Subject"] for mail in server.mails] == [
        "[FIRING:1] main_is_red k2/app",
        "[FIRING:1] main_is_red k2/app",
        "[RESOLVED] main_is_red k2/app",
    ]
    assert len({mail["Message-ID"] for mail in server.mails}) == 3
    assert len({mail["References"] for mail in server.mails} | {mail["In-Reply-To"] for mail in server.mails}) == 1
    first = server.mails[0]
    assert [address.addr_spec for address in first["To"].addresses] == list(TO)
    assert first["From"] == "CI alerts <ci-cd@k2-platform.test>"
    assert parsedate_to_datetime(first["Date"]) == box.world.said[0].parts[0].alerts[0].fired_at + MINUTE
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["List-Id"] == "<team-1.k2alert.k2-platform.test>"
    assert first["X-K2Alert-Rule"] == "main_is_red"
    assert [mail["X-K2Alert-State"] for mail in server.mails] == ["firing", "firing", "resolved"]


async def test_the_mail_says_what_a_person_needs_in_text_and_in_html(server: MailServer) -> None:
    box = Mailbox(settings_for(server))
    red = box.world.fire()
    await box.tick(items=[item(red, before_text="1", before_span="24h", owner="platform")])
    text, page = parts(server.mails[0])
    assert text.splitlines() == [
        "FIRING main_is_red · k2/app: 3 >= 3 (was 1 the 24h before), 12 of 40 runs, since 2026-01-05 10:00 UTC (1m)",
        "Main is red",
        "- owner: platform",
        "- #7 <https://gitlab.test/k2/app/-/pipelines/1007> failure · main · Commit 7 – test 3/20 (script_failure)",
        "- #6 <https://gitlab.test/k2/app/-/pipelines/1006> failure · main · Commit 6 – test 3/20 (script_failure)",
        "- and 10 more",
        "- first failing: 01234567 <https://gitlab.test/k2/app/-/pipelines/1005> Commit 5",
        "- last green: 01234567 <https://gitlab.test/k2/app/-/pipelines/1004> Commit 4",
        "- changes between them <https://gitlab.test/k2/app/-/compare/a...b>",
        "- runbook <https://wiki.test/red?a=1&b=2>",
        "",
        f"Open: https://k2alert.test/alerts/{red.key}",
        f"Silence: https://k2alert.test/silences/new?alert={red.key}",
        "Explain: https://k2alert.test/rules/main_is_red?project=k2%2Fapp&source=gitlab",
    ]
    assert re.search(r'<a href="https://wiki.test/red\?a=1&amp;b=2"[^>]*>Runbook</a>', page)
    for fact in ("3 &gt;= 3", "12 of 40", "1 (the 24h before)", "2026-01-05 10:00 UTC (1m)", "platform"):
        assert f"<b>{fact}</b>" in page
    assert "<table" not in page
    assert "color-scheme" in page


async def test_a_chart_comes_with_the_mail_and_nothing_is_fetched(server: MailServer) -> None:
    box = Mailbox(settings_for(server))
    red = box.world.fire()
    await box.tick(items=[item(red, chart=rate_chart())])
    assert_flawless(server)
    (mail,) = server.mails
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert picture.get_content().startswith(b"\x89PNG\r\n")
    assert picture.get_content_disposition() == "inline"
    _, page = parts(mail)
    assert re.findall(r'src="([^"]*)"', page) == [f"cid:{picture['Content-ID'].strip('<>')}"]
    assert "success rate over 4d, from 88.3% to 98.5%; the dashed line is the threshold, &lt; 95%" in page
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "multipart/related"]


async def test_what_did_not_recover_is_closed(server: MailServer) -> None:
    box = Mailbox(settings_for(server))
    red = box.world.fire()
    await box.tick()
    box.world.end(red, EndReason.PROJECT_GONE)
    await box.tick(5 * MINUTE)
    assert server.mails[1]["Subject"].startswith("[CLOSED]")


async def test_a_list_is_one_mail(server: MailServer) -> None:
    box = Mailbox(settings_for(server))
    for number in range(40):
        box.world.fire(f"k2/{number}")
    await box.tick()
    assert_flawless(server)
    (mail,) = server.mails
    assert mail["Subject"] == "[FIRING:40] alerts for Team Ä/1"
    text, page = parts(mail)
    assert text.count("FIRING main_is_red") == page.count("<b>FIRING</b>") == 30
    assert "and 10 more alerts" in text


# ------------------------------------------------------------------------------------ recipients


async def test_addresses_may_be_templates(server: MailServer) -> None:
    box = Mailbox(settings_for(server, to_addresses=("{{ labels.team }}@k2.test",)))
    box.world.fire()
    await box.tick()
    assert server.envelopes[0].rcpt_tos == ["pay@k2.test"]


async def test_who_was_refused_for_now_gets_it_later_and_the_others_once(server: MailServer) -> None:
    box = Mailbox(settings_for(server))
    box.world.fire()
    server.refuse = {"qa@k2.test": "451 greylisted"}
    (delivery,) = await box.tick()
    assert isinstance(delivery, Retry)
    assert list(delivery.handle) == ["devops@k2.test"]
    server.refuse = {}
    assert isinstance((await box.tick())[0], Sent)
    assert [envelope.rcpt_tos for envelope in server.envelopes] == [["devops@k2.test"], ["qa@k2.test"]]
    assert len({mail["Message-ID"] for mail in server.mails}) == 1
    assert await box.tick() == []


async def test_who_is_refused_for_good_stops_nobody_else(server: MailServer) -> None:
    box = Mailbox(settings_for(server, to_addresses=(*TO, "@k2.test")))
    box.world.fire()
    server.refuse = {"qa@k2.test": "550 no such user"}
    (delivery,) = await box.tick()
    assert isinstance(delivery, Sent)
    assert "'@k2.test'" in delivery.error
    assert "550 for qa@k2.test" in delivery.error
    assert list(delivery.handle) == ["devops@k2.test"]


@pytest.mark.parametrize(("answer", "kind"), [("451 later", Retry), ("550 never", Refused)])
async def test_all_recipients_refused(server: MailServer, answer: str, kind: type) -> None:
    box = Mailbox(settings_for(server))
    box.world.fire()
    server.refuse = dict.fromkeys(TO, answer)
    assert isinstance((await box.tick())[0], kind)


async def test_only_who_heard_of_it_hears_the_end(server: MailServer) -> None:
    box = Mailbox(settings_for(server, to_addresses=TO[:1]))
    red = box.world.fire()
    await box.tick()
    box.settings = settings_for(server)
    box.world.end(red)
    await box.tick(5 * MINUTE)
    assert [envelope.rcpt_tos for envelope in server.envelopes] == [["devops@k2.test"]] * 2


# -------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(("answer", "kind"), [("451 later", Retry), ("552 too big", Refused)])
async def test_codes_mean_again_or_never(server: MailServer, answer: str, kind: type) -> None:
    box = Mailbox(settings_for(server))
    box.world.fire()
    server.answer = answer
    (delivery,) = await box.tick()
    assert isinstance(delivery, kind)
    assert delivery.error == f"the mail server answered {answer}"


async def test_a_wrong_password_is_refused_and_never_shown(server: MailServer) -> None:
    box = Mailbox(settings_for(server, smtp_password=SecretStr("open-sesame")))
    box.world.fire()
    (delivery,) = await box.tick()
    assert delivery == Refused("the mail server answered 535 login refused", "authError")
    assert "open-sesame" not in repr(box.settings) + repr(delivery)


async def test_nothing_is_sent_without_starttls_where_it_is_wanted(tmp_path: Path) -> None:
    async with mail_server(tmp_path, tls="none") as server:
        box = Mailbox(settings_for(server))
        box.world.fire()
        (delivery,) = await box.tick()
        assert isinstance(delivery, Refused)
        assert "STARTTLS" in delivery.error
        assert server.mails == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_certificate_of_nobody_known_is_not_trusted(tmp_path: Path, tls: str) -> None:
    async with mail_server(tmp_path, tls=tls) as server:
        box = Mailbox(settings_for(server, tls=tls, ca_file=None))
        box.world.fire()
        assert isinstance((await box.tick())[0], Refused)
        assert server.mails == []


async def test_a_certificate_of_another_server_is_not_trusted(tmp_path: Path) -> None:
    async with mail_server(tmp_path, name="other.test") as server:
        box = Mailbox(settings_for(server))
        box.world.fire()
        assert isinstance((await box.tick())[0], Refused)


@pytest.mark.parametrize("tls", ["implicit", "none"])
async def test_the_other_kinds_of_connection(tmp_path: Path, tls: str) -> None:
    async with mail_server(tmp_path, tls=tls, login=tls == "implicit") as server:
        user = {} if tls == "implicit" else {"smtp_user": None, "smtp_password": None}
        box = Mailbox(settings_for(server, tls=tls, **user))
        box.world.fire()
        assert isinstance((await box.tick())[0], Sent)
        assert server.encrypted == [tls == "implicit"]


async def test_a_server_that_is_not_there_or_hangs_is_tried_again(server: MailServer) -> None:
    for changes in (
        {"smtp_server": "127.0.0.1:1"},
        {"smtp_server": "nowhere.invalid:25"},
        {"ca_file": "/nowhere/ca.pem"},
    ):
        box = Mailbox(settings_for(server, **changes))
        box.world.fire()
        assert isinstance((await box.tick())[0], Retry)


# --------------------------------------------------------------------------------------- escapes


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_a_forges_text_starts_no_header_and_no_markup(server: MailServer, text: str) -> None:
    box = Mailbox(settings_for(server))
    box.world.route = replace(box.world.route, group_by=("alertname", "project", "branch"))  # type: ignore[type-var]
    red = alert(project=text)
    red = replace(
        red,
        rule=f"rule {text}",
        identity=red.identity.merged(Labels({"branch": text})),
        labels=red.labels.merged({"branch": text}),
    )
    box.world.put(red)
    bad = replace(run(1), title=text, branch=text, workflow=text, sha=text, number=text, web_url=text)
    evidence = Evidence(runs=(bad,) * 10, faults=99, samples=100, first_failing=bad, last_green=bad, compare_url=text)
    shown_item = item(
        red,
        text=integration.escape(text),
        html=integration.escape_html(text),
        evidence=evidence,
        annotations={"runbook_url": text},
    )
    (delivery,) = await box.tick(items=[shown_item])
    assert isinstance(delivery, Sent)
    assert_flawless(server)
    (mail,) = server.mails
    assert mail["Bcc"] is None
    assert len(mail["Subject"]) <= 200
    _, page = parts(mail)
    assert {tag.split()[0].strip("</>") for tag in re.findall(r"<[^>]*>", page)} <= {
        *("!DOCTYPE", "html", "head", "meta", "title", "body", "div", "span", "b", "h1", "h2", "p", "ul", "li", "a"),
    }
    links = re.findall(r'href="([^"]*)"', page)
    assert len(links) >= 2
    assert all(link.startswith("https://k2alert.test/") for link in links)


@pytest.mark.parametrize(
    ("server", "tls", "host", "port"),
    [
        ("mail.test", "starttls", "mail.test", 587),
        ("mail.test", "implicit", "mail.test", 465),
        ("mail.test", "none", "mail.test", 25),
        ("mail.test:2525", "starttls", "mail.test", 2525),
        ("[::1]:2525", "none", "::1", 2525),
    ],
)
def test_the_port_follows_from_tls(server: str, tls: str, host: str, port: int) -> None:
    made = integration.Settings.model_validate(
        {"smtp_server": server, "tls": tls, "from_address": "a@b.test", "to_addresses": ["c@d.test"]}
    )
    assert (made.host, made.port) == (host, port)


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_server": "mail.test:99999"},
        {"smtp_server": "a b"},
        {"from_address": "nobody"},
        {"from_address": "a@b.test\r\nBcc: x@y.test"},
    ],
)
def test_settings_that_can_send_nothing_are_refused(wrong: dict[str, str]) -> None:
    good = {"smtp_server": "mail.test", "from_address": "a@b.test", "to_addresses": ["c@d.test"]}
    with pytest.raises(ValidationError):
        integration.Settings.model_validate(good | wrong)
