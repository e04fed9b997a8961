"""The port between POPs. A POP never needs it: without it, it serves its own callers with its own agents."""

from __future__ import annotations

from typing import Protocol

from pbx.domain.ids import PopId
from pbx.wire.mesh import MeshMessage
from pbx.wire.subjects import LEASE_S as LEASE_S


class MeshHandler(Protocol):
    """All are called from the event loop, and raise nothing."""

    def mesh_message(self, sender: PopId, message: MeshMessage) -> None:
        """``sender`` is who it says: nobody else can send under that name. Messages may be lost, come twice, and come
        in another order."""


class Mesh(Protocol):
    def listen(self, handler: MeshHandler) -> None:
        """Before it is used."""

    @property
    def connected(self) -> bool: ...

    def send(self, to: PopId | None, message: MeshMessage) -> None:
        """To one other POP, or to all others (None). Dropped without a connection."""

    async def lease(self, held: int | None) -> int | None:
        """Take the router's lease, or renew the one that is ``held``: its new revision, which is higher than that of
        every lease before; None when somebody else has it, or nobody can say. It ends ``LEASE_S`` after the last
        renewal."""
