"""The port to the centre. A POP never needs it to be there."""

from __future__ import annotations

from typing import Protocol

from pbx.wire.messages import CommandReply, CommandRequest, ConfigEntry, ErasedRecordings, Heartbeat


class LinkHandler(Protocol):
    """The POP's side of the link. All are called from the event loop."""

    def config_changed(self, key: str, entry: ConfigEntry | None) -> None:
        """A key was set, or deleted (None). Raises nothing: what cannot be applied goes to ``heartbeat``'s
        ``config_errors`` and the former value stays in force."""

    async def command(self, request: CommandRequest) -> CommandReply: ...

    def heartbeat(self) -> Heartbeat: ...


class Link(Protocol):
    """Connects and reconnects by itself; pushes the journal's unsent events; watches the configuration."""

    async def start(self, handler: LinkHandler) -> None:
        """Returns at once. A refused login is logged as an error that names the POP and the setting to check
        (``CALLPLANE_POP_KEY``), and tried again with growing pauses."""

    async def stop(self) -> None:
        """Try for at most two seconds to send what is unsent, then close."""

    async def prompt(self, sha256: str) -> bytes | None:
        """A prompt's sound as A-law; None while the centre cannot be asked, or when it does not have it."""

    async def erased(self, after: int) -> ErasedRecordings | None:
        """What the centre knows to have been erased here, after ``upto`` of the answer before; None while it cannot be
        asked."""

    @property
    def connected(self) -> bool: ...

    def events_waiting(self) -> None:
        """The journal has new events; send them soon (batched)."""

    def heartbeat_changed(self) -> None:
        """What the heartbeat says has changed; say it soon, not only when the next one is due."""
