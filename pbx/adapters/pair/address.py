"""Whether this host has an address, as the kernel sees it. Who has it, and when, is decided outside (keepalived)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from pbx.domain.errors import BadValue

_ADDRESS_CHANGES = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR (linux/rtnetlink.h)."""
LOOK_AGAIN_S = 0.5


def held(address: str) -> bool:
    """A packet to it would leave from it: so the kernel delivers it here. No packet is sent. Binding says nothing: a
    standby's media server listens on the address beforehand (``net.ipv4.ip_nonlocal_bind``)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:  # no way there: it is not here
            return False
        source: str = probe.getsockname()[0]
    return source == address


class Watch:
    """``async with Watch(address) as watch``: the kernel's own word of each change; a look twice a second besides."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Watch:
        try:
            self._netlink.bind((0, _ADDRESS_CHANGES))
        except OSError as error:
            raise BadValue("CALLPLANE_POP_PAIR_ADDRESS", f"the kernel tells of no addresses: {error}") from error
        asyncio.get_running_loop().add_reader(self._netlink, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._netlink)
        self._netlink.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # too many at once (ENOBUFS): there was one, in any case
            os.read(self._netlink.fileno(), 65536)
        self._changed.set()

    async def until(self, *, is_held: bool) -> None:
        while held(self._address) is not is_held:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._changed.wait()
