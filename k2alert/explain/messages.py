"""The messages that an explained alert would be told with, as files that a person can open."""

from collections.abc import Sequence
from pathlib import Path

from k2alert.cycle import Scene
from k2alert.explain.explain import as_if_firing
from k2alert.explain.explanation import Explanation
from k2alert.previews import previews, write_files

__all__ = ["write_messages"]


def write_messages(scene: Scene, explained: Sequence[Explanation], folder: Path) -> tuple[tuple[Path, ...], ...]:
    """Writes them, each explanation's into a folder of its own where there are several; the paths of each.

    Raises `OSError` where it cannot.
    """
    folders = [folder / str(number) for number in range(1, len(explained) + 1)] if len(explained) > 1 else [folder]
    return tuple(_write(scene, one, into) for one, into in zip(explained, folders, strict=True))


def _write(scene: Scene, one: Explanation, folder: Path) -> tuple[Path, ...]:
    alert = as_if_firing(one)
    found = previews(scene, alert, {one.rule.name: one.rule}, {alert.key: one.evidence}, now=one.at)
    return write_files(found, folder)
