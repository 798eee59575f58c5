"""Who leads, where several replicas share a store."""

import asyncio

__all__ = ["SoleLease"]


class SoleLease:
    """`Lease` of the one process that can have its store open: it leads as long as it has not given that up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._released = asyncio.Event()
        self._told = False

    @property
    def epoch(self) -> int:
        """See `Lease`."""
        return 1 if self.holds() else 0

    @property
    def leader(self) -> str:
        """See `Lease`."""
        return self._name if self.holds() else ""

    def holds(self) -> bool:
        """See `Lease`."""
        return not self._released.is_set()

    async def changed(self) -> None:
        """See `Lease`."""
        if self._told == self.holds():
            await (self._released.wait() if self._told else asyncio.Event().wait())
        self._told = self.holds()

    async def release(self) -> None:
        """See `Lease`."""
        self._released.set()
