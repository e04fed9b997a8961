"""Whether this host has an address, as the kernel sees it. Who has it, and when, is decided outside (keepalived)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from struct import Struct

from pbx.domain.errors import BadValue

_ADDRESS_CHANGES = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR (linux/rtnetlink.h)."""
LOOK_AGAIN_S = 0.5
_HEAD, _OF_ADDRESS, _ATTRIBUTE = Struct("=IHHII"), Struct("=BBBBI"), Struct("=HH")
"""nlmsghdr, ifaddrmsg and rtattr of rtnetlink(7)."""
_GET, _NEW, _DUMP = 22, 20, 0x301
"""RTM_GETADDR, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_DUMP."""


def held(address: str) -> bool:
    """Whether an interface of this host has it. Binding would say nothing: a standby's media server listens on the
    address beforehand (``net.ipv4.ip_nonlocal_bind``). Raises OSError."""
    wanted = ip_address(address).packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(_HEAD.pack(_HEAD.size + _OF_ADDRESS.size, _GET, _DUMP, 1, 0) + _OF_ADDRESS.pack(0, 0, 0, 0, 0))
        while True:
            answer = kernel.recv(65536)
            while answer:
                length, kind, *_ = _HEAD.unpack_from(answer)
                if kind != _NEW:  # the end, or an error
                    return False
                if wanted in _values(answer[_HEAD.size + _OF_ADDRESS.size : length]):
                    return True
                answer = answer[(length + 3) & ~3 :]


def _values(attributes: bytes) -> Iterator[bytes]:
    """Of the attributes that are addresses: the interface's own (IFA_LOCAL), in IPv6 the only one (IFA_ADDRESS)."""
    while attributes:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind in (1, 2):
            yield attributes[_ATTRIBUTE.size : length]
        attributes = attributes[(length + 3) & ~3 :]


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
