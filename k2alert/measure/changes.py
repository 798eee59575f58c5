"""Which label sets changed lately: for who keeps what was measured, and asks whether it still holds.

Label sets come in as they change; those that changed since a mark go out. A mark is a number that grows with each
change of a board, so any number of askers can keep their own.
"""

from collections.abc import Container

from k2alert.labels import Labels

__all__ = ["Changes", "Mark"]


class Mark:
    """The number of changes that a board has seen."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Changes:
    """The label sets of one table by the number of their last change, the latest last."""

    __slots__ = ("_complete_from", "_mark", "_numbers")

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._numbers: dict[Labels, int] = {}
        self._complete_from = mark.number

    def note(self, labels: Labels) -> None:
        """A label set has changed."""
        self._mark.number += 1
        self._numbers.pop(labels, None)  # so that it moves to the end
        self._numbers[labels] = self._mark.number

    def since(self, mark: int) -> list[Labels] | None:
        """The label sets that changed after a mark; None: nobody knows any more, so all may have."""
        if mark < self._complete_from:
            return None
        found: list[Labels] = []
        for labels in reversed(self._numbers):
            if self._numbers[labels] <= mark:
                break
            found.append(labels)
        return found

    def forget_all_but(self, here: Container[Labels]) -> None:
        """Lets go of label sets that are gone; what changed before now is then not known any more."""
        left = {labels: number for labels, number in self._numbers.items() if labels in here}
        if len(left) < len(self._numbers):
            self._numbers, self._complete_from = left, self._mark.number
