"""Who leads no more says nothing, were it stopped in the middle of a delivery: it is asked at each write."""

from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from k2alert.model import Retry, Sent
from k2alert.notify import email, webhook
from k2alert.notify.message import Message, compose, shown
from k2alert.notify.pace import Asking
from tests.support.notified import MINUTE, T0, Told, World, item, receivers
from tests.support.posts import taking_posts
from tests.support.smtp import PASSWORD, USER, mail_server
from tests.support.wires import a_wire


@dataclass
class Reign:
    """May speak so many more times."""

    left: int

    def lasts(self) -> bool:
        self.left -= 1
        return self.left >= 0


def a_message() -> Message:
    """One that is due."""
    world = World(receivers=receivers(Told()))
    world.fire()
    world.now += MINUTE
    (due,) = world.due()
    return compose(due, [item(of) for of in shown(due)], now=T0, external_url="https://k2alert.test")


async def test_a_request_is_not_written_once_another_leads() -> None:
    async with taking_posts() as posts, aiohttp.ClientSession(connector=Asking(Reign(1).lasts)) as session:
        settings = webhook.Settings(url=SecretStr(f"{posts.url}/hook"))
        answers = [await webhook.send(settings, a_message(), wire=a_wire(session), render=str) for _ in range(2)]
    assert not isinstance(answers[0], Retry)
    assert isinstance(answers[1], Retry)
    assert not answers[1].maybe  # nobody can have heard it
    assert len(posts.taken) == 1


@pytest.mark.parametrize("left", range(4))
async def test_a_mail_is_not_handed_over_once_another_leads(tmp_path: Path, left: int) -> None:
    """Wherever it was stopped: before the sender's name, the recipient's, the word that text comes, or the text."""
    async with mail_server(tmp_path) as server:
        settings = email.Settings(
            smtp_server=f"localhost:{server.port}",
            smtp_user=USER,
            smtp_password=SecretStr(PASSWORD),
            ca_file=server.ca_file,
            from_address="ci@k2.test",
            to_addresses=["devops@k2.test"],
        )
        answers = [
            await email.send(settings, a_message(), wire=a_wire(None, allowed=reign.lasts), render=str)
            for reign in (Reign(left), Reign(left=4))
        ]
        assert [type(answer) for answer in answers] == [Retry, Sent]
        assert not answers[0].maybe  # type: ignore[union-attr]  # nobody can have heard it
        assert len(server.mails) == 1
