"""The base of all messages between a POP and the centre."""

from __future__ import annotations

import msgspec


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Unknown fields are ignored: either side may be the newer one."""
