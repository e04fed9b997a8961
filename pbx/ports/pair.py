"""The ports to what an active host gives its standby, and to what the standby makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pbx.wire import pair as wire


class JournalSource(Protocol):
    """The active host's journal. For the event loop only, but for ``write_copy``."""

    @property
    def lineage(self) -> wire.Lineage: ...

    @property
    def last(self) -> int:
        """Of the newest event."""

    def rows_after(self, seq: int, limit: int) -> list[wire.Row]: ...

    def tables(self) -> wire.Tables: ...

    def write_copy(self, target: Path) -> None:
        """The whole file as it is at one moment. Blocking, beside the writer. Raises JournalError."""

    @property
    def shadow(self) -> Shadow: ...


class Shadow(Protocol):
    """How far the standby follows the journal."""

    in_step: bool

    def follow(self, send: Callable[[wire.Message], None]) -> None:
        """From now on every change is told to ``send``."""

    def caught_up(self, seq: int) -> None:
        """It has all events, up to this one: from now on they are written at both hosts or, for half a second, not."""

    def acknowledged(self, seq: int) -> None: ...

    def alone(self) -> None:
        """There is no standby: nobody waits for it any more."""


class JournalTarget(Protocol):
    """The standby's copy. Everything raises JournalError when the disk refuses."""

    @property
    def lineage(self) -> wire.Lineage: ...

    @property
    def last(self) -> int: ...

    def replace(self, whole: Path) -> Path | None:
        """``whole`` is the journal from now on; where the former one was put aside, if it held events."""

    def apply(self, message: wire.Message) -> None: ...

    def close(self) -> None: ...


class Recordings(Protocol):
    """Sealed recordings and their wrapped keys at either host. Blocking, but for ``on_change``."""

    def have(self) -> tuple[dict[str, str], list[str]]:
        """Recording to a digest of its key's row; names of sealed files on this disk."""

    def key(self, recording_id: str) -> wire.KeyRow | None:
        """Of one whose file was verified; None: it has none any more, or not yet."""

    def blob(self, recording_id: str) -> Iterator[wire.FilePiece] | None:
        """Piece by piece; None: it does not lie on this disk."""

    def on_change(self, changed: Callable[[str], None]) -> None:
        """``changed`` is called, from any thread, with each recording whose key or file has changed."""

    def apply(self, message: wire.Message) -> None:
        """Raises OSError."""
