"""The secrets of a configuration, so that logs can blot them out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from k2alert.config.model import Config

__all__ = ["secrets_of"]

_HIDDEN = re.compile(r"[?&](?:ssl)?password=([^&]*)")


def secrets_of(config: Config) -> frozenset[str]:
    """Every secret value the configuration holds, with the password inside the store's URL and secret URLs' paths."""
    found = set(_walk((config.sources, config.web, tuple(config.receivers.values()))))
    paths = {urlsplit(value).path for value in found if value.startswith(("http://", "https://"))}
    return frozenset(found | paths | _passwords(config.store))


def _passwords(store: str) -> set[str]:
    """Those in a store's URL, as they are written there and as they are."""
    rest = store.partition("://")[2]
    written = [rest.rpartition("@")[0].partition(":")[2], *_HIDDEN.findall(rest)]
    return {form for word in written for form in (word, unquote(word))} - {""}


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif is_dataclass(value):
        for item in fields(value):
            yield from _walk(getattr(value, item.name))
    elif isinstance(value, Mapping):
        yield from _walk(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for member in value:
            yield from _walk(member)
