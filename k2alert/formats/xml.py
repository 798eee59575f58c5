"""XML piece by piece, bounded in everything that a hostile file could make grow.

Chunks of bytes come in, calls of a handler go out; what cannot be read comes back as a value. No document type of the
file's own and no entity is allowed, and nothing outside of the file is ever looked at. A reference to another file's
document type, which Cobertura and JaCoCo write, is passed over.
"""

from collections.abc import Mapping
from typing import Any, Protocol
from xml.parsers.expat import ExpatError, ParserCreate

from k2alert.formats.caps import Caps, Chunks, Reason, Stop, Unreadable, malformed, too_large

__all__ = ["Handler", "walk"]


class Handler(Protocol):
    """Who hears of elements. `listens`: text is wanted now; it may change with each element."""

    listens: bool

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins; the name is without a prefix."""
        ...

    def end(self, name: str) -> None:
        """An element ends."""
        ...

    def text(self, text: str) -> None:
        """A piece of text."""
        ...


def walk(chunks: Chunks, handler: Handler, caps: Caps) -> Unreadable | None:
    """Tells the handler of everything in the file; None where the file was whole."""
    parser = _make_parser(handler, caps)
    fed = 0
    try:
        for chunk in chunks:
            fed += len(chunk)
            if fed > caps.size:
                raise too_large(f"it is larger than {caps.size // 2**20} MiB")
            parser.Parse(chunk, False)
            if fed - parser.CurrentByteIndex > caps.token + len(chunk):
                raise too_large(f"one tag or comment in it is larger than {caps.token // 2**20} MiB")
        parser.Parse(b"", True)
    except Stop as stop:
        return stop.why
    except ExpatError as error:
        return malformed(f"it is no XML: {error}" if fed else "it is empty")
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        return malformed(f"it is no XML that can be read: {type(error).__name__}")
    return None


def _make_parser(handler: Handler, caps: Caps) -> Any:
    """Typed as Any, for `CharacterDataHandler` comes and goes."""
    parser: Any = ParserCreate()
    parser.buffer_text = True
    depth = 0

    def listen() -> None:
        wanted = handler.text if handler.listens else None
        if (parser.CharacterDataHandler is None) != (wanted is None):
            parser.CharacterDataHandler = wanted

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > caps.depth:
            raise too_large(f"its elements are nested deeper than {caps.depth}")
        handler.start(name.rpartition(":")[2], attributes)
        listen()

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        handler.end(name.rpartition(":")[2])
        listen()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = _refuse_own_type
    parser.EntityDeclHandler = _refuse_entity
    return parser


def _refuse_own_type(name: str, system_id: str | None, public_id: str | None, has_own: int) -> None:
    if has_own:
        raise Stop(Unreadable(Reason.ENTITIES, "it declares a document type of its own, which is not read"))


def _refuse_entity(*_: object) -> None:
    raise Stop(Unreadable(Reason.ENTITIES, "it declares entities, which are not read"))
