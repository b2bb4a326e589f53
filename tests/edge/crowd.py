"""Thousands of clients that take their time, in a process of their own: `python -m tests.edge.crowd PORT TARGET …`.

Three kinds. A *mute* client asks for an object and never reads a byte of the answer. A *dripping* one sends the head of
its request a byte at a time and never comes to its end. A *silent* one only connects. Whoever is cut off comes again,
so their number stays the same.

Each second a line of JSON says how many of each kind are connected, and how long those lasted that were cut since.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from typing import Final

CONNECTS_A_TURN: Final = 1
"""New connections of each kind between two looks, 500 a second: a crowd gathers and does not burst in."""
TURN_S: Final = 0.002
"""Short, for they are thousands who know nothing of each other: they do not all send in the same moment."""
RECEIVE_BUFFER_BYTES: Final = 4096
"""Of a mute client: what the kernel would take on his behalf is of no interest here."""
MUTE: Final = "mute"
DRIPPING: Final = "dripping"
SILENT: Final = "silent"
DRIP_EVERY_S: Final = 3.0
OBJECTS: Final = 3
"""Of different names, which the mute ones ask for in turn: `{}` in the target is replaced by a number below it."""


class Member:
    """One client."""

    __slots__ = ("at", "connected_at", "kind", "socket")

    def __init__(self, kind: str, connected: socket.socket) -> None:
        self.kind = kind
        self.socket = connected
        self.connected_at = 0.0  # not yet
        self.at = 0  # bytes of the head that have been sent


class Crowd:
    """All of them, in one thread."""

    def __init__(self, port: int, target: str, *, mute: int, dripping: int, silent: int) -> None:
        self._address = ("127.0.0.1", port)
        self._wanted = {MUTE: mute, DRIPPING: dripping, SILENT: silent}
        targets = [target.format(number) for number in range(OBJECTS)]
        self._requests = [f"GET {each} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for each in targets]
        self._head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ".encode() + b"y" * 4000
        self._members: dict[int, Member] = {}
        self._drips: deque[tuple[float, int, Member]] = deque()
        self._poll = select.epoll()
        self._made = 0
        self._coming = dict.fromkeys(self._wanted, 0)
        self.refused = 0
        self.count = dict.fromkeys(self._wanted, 0)
        self.lasted_s: dict[str, list[float]] = {kind: [] for kind in self._wanted}

    def turn(self) -> None:
        """Connect some of those who are missing, send what is due, notice who was cut."""
        started_at = time.monotonic()
        for kind, wanted in self._wanted.items():
            for _ in range(min(CONNECTS_A_TURN, wanted - self.count[kind] - self._coming[kind])):
                self._connect(kind)
        self._drip()
        rest_s = max(0.001, TURN_S - (time.monotonic() - started_at))
        for number, events in self._poll.poll(rest_s, 4096):
            self._heard(number, events)
        time.sleep(max(0.0, TURN_S - (time.monotonic() - started_at)))

    def _connect(self, kind: str) -> None:
        made = socket.socket()
        made.setblocking(False)
        if kind == MUTE:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        made.connect_ex(self._address)
        self._members[made.fileno()] = Member(kind, made)
        self._poll.register(made, select.EPOLLOUT | select.EPOLLRDHUP)
        self._coming[kind] += 1

    def _heard(self, number: int, events: int) -> None:
        member = self._members[number]
        if events & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP):
            self._gone(number)
            return
        # Nobody here reads: from now on what is of interest is the end, by FIN or by RST.
        self._poll.modify(number, select.EPOLLRDHUP)
        member.connected_at = time.monotonic()
        self._coming[member.kind] -= 1
        self.count[member.kind] += 1
        self._made += 1
        if member.kind == MUTE:
            member.socket.send(self._requests[self._made % OBJECTS])
        elif member.kind == DRIPPING:
            self._drips.append((member.connected_at, number, member))

    def _drip(self) -> None:
        now = time.monotonic()
        while self._drips and self._drips[0][0] <= now:
            due, number, member = self._drips.popleft()
            if self._members.get(number) is not member:
                continue
            try:
                member.socket.send(self._head[member.at : member.at + 1])
            except OSError:
                self._gone(number)
                continue
            member.at += 1
            self._drips.append((due + DRIP_EVERY_S, number, member))

    def _gone(self, number: int) -> None:
        member = self._members.pop(number)
        self._poll.unregister(number)
        member.socket.close()
        if member.connected_at:
            self.count[member.kind] -= 1
            self.lasted_s[member.kind].append(time.monotonic() - member.connected_at)
        else:
            self._coming[member.kind] -= 1
            self.refused += 1
            if not any(self.count.values()) and self.refused > sum(self._wanted.values()):
                raise SystemExit("the proxy is gone")

    def report(self) -> None:
        """Write a line."""
        lasted = {kind: [round(each, 2) for each in times] for kind, times in self.lasted_s.items()}
        print(json.dumps({"count": self.count, "lasted_s": lasted}), flush=True)
        for times in self.lasted_s.values():
            times.clear()


def main() -> None:
    """The arguments: port, target, and how many mute, dripping and silent ones.

    A crowd has machines of its own. This one takes a processor only where nobody else wants it, so that whoever
    measures beside it measures the proxy and not this process.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    port, target, mute, dripping, silent = sys.argv[1:]
    crowd = Crowd(int(port), target, mute=int(mute), dripping=int(dripping), silent=int(silent))
    reported_at = time.monotonic()
    while True:
        crowd.turn()
        if time.monotonic() - reported_at >= 1:
            reported_at = time.monotonic()
            crowd.report()


if __name__ == "__main__":
    main()
