"""Who hears in a rehearsal that has no receivers of its own: names come in, receivers that are never sent anything go
out."""

from dataclasses import replace

from pydantic import SecretStr

from k2alert.config.model import Config
from k2alert.notify import webhook
from k2alert.notify.route import Integration, Receiver, Route

__all__ = ["DEFAULT_RECEIVER", "heard_by_one", "listener"]

DEFAULT_RECEIVER = "default"


def listener(name: str) -> Receiver:
    """A receiver that hears: nothing is ever sent to it."""
    return Receiver(
        name, (Integration("webhook", "webhook[0]", webhook.Settings(url=SecretStr("http://rehearsal.invalid/"))),)
    )


def heard_by_one(config: Config) -> Config:
    """The configuration with one receiver, who hears everything."""
    receivers = {DEFAULT_RECEIVER: listener(DEFAULT_RECEIVER)}
    return replace(config, receivers=receivers, route=Route(name="root", receiver=DEFAULT_RECEIVER))
