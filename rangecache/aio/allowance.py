"""Bytes that many hold at the same time, bounded together although nobody waits for anybody."""

from __future__ import annotations


class Allowance:
    """A bound on what any number of holders keep in memory.

    Nobody ever waits for somebody else's bytes to go: that would let those who are slow stop those who are not, and
    two who hold bytes and wait for each other's would wait for ever. When the allowance is short, what each may hold
    becomes small instead. So all together hold at most `limit_bytes` and `least_bytes` for each.
    """

    __slots__ = ("_least_bytes", "_most_bytes", "limit_bytes", "share_bytes", "used_bytes")

    def __init__(self, limit_bytes: int, *, least_bytes: int, most_bytes: int) -> None:
        self._least_bytes = least_bytes
        self._most_bytes = most_bytes
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.share_bytes = least_bytes
        """How much somebody who holds nothing may take now."""
        self.charge(0)

    def charge(self, change_bytes: int) -> None:
        """So many bytes more are held, or fewer."""
        self.used_bytes += change_bytes
        self.share_bytes = max(self._least_bytes, min(self._most_bytes, self.limit_bytes - self.used_bytes))
