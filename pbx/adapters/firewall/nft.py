"""Sets of banned addresses in the kernel's packet filter (nftables), by its own library.

The library and not the program ``nft``: a ban takes 0.1 ms instead of 8 ms, in which who guesses goes on guessing. The
process needs the capability CAP_NET_ADMIN, and the table as role hardening makes it.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library

from pbx.domain.errors import BadValue, CallplaneError
from pbx.domain.guessing import Address

FAMILY_AND_TABLE = "inet callplane_bans"
SETS = {4: "banned4", 6: "banned6"}


class FirewallError(CallplaneError):
    """The packet filter did not do what it was asked to; the message is its own."""


class NftSets:
    """``table``: family and name. Raises FirewallError where the library is missing."""

    def __init__(self, table: str = FAMILY_AND_TABLE) -> None:
        self._table = table
        name = find_library("nftables") or "libnftables.so.1"
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise FirewallError(f"{name} cannot be loaded: install the package nftables") from error
        for function, result, arguments in (
            ("nft_ctx_new", ctypes.c_void_p, [ctypes.c_uint32]),
            ("nft_ctx_buffer_error", ctypes.c_int, [ctypes.c_void_p]),
            ("nft_ctx_get_error_buffer", ctypes.c_char_p, [ctypes.c_void_p]),
            ("nft_run_cmd_from_buffer", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
        ):
            found = getattr(self._library, function)
            found.restype, found.argtypes = result, arguments
        self._context = self._library.nft_ctx_new(0)
        self._library.nft_ctx_buffer_error(self._context)

    def check(self) -> None:
        """Raises FirewallError where the sets are missing, or this process may not look at them."""
        for name in SETS.values():
            self._run(f"list set {self._table} {name}")

    def ban(self, address: Address, seconds: int) -> None:
        """What comes from ``address`` is dropped for so long. One that is banned stays so until its time is over."""
        if seconds < 1:
            raise BadValue("ban_s", "is less than a second")
        self._run(f"add element {self._table} {SETS[address.version]} {{ {address} timeout {seconds}s }}")

    def _run(self, command: str) -> None:
        if self._library.nft_run_cmd_from_buffer(self._context, command.encode()) != 0:
            said = self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
            raise FirewallError(said.strip().partition("\n")[0] or "the packet filter refused it")
