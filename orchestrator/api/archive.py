"""A ZIP archive that is sent while it is made: nothing of it is kept here."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterable, Awaitable, Callable

Send = Callable[[bytes], Awaitable[None]]
PIECE = 1 << 16
_WHEN = (1980, 1, 1, 0, 0, 0)
"""The format's first moment: an archive says by its content when it was made."""


class _Pipe(io.RawIOBase):
    """What was written since the last look; no place to go back to."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes-like things of zipfile
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held


class Archive:
    def __init__(self, send: Send) -> None:
        self._send, self._pipe = send, _Pipe()
        self._zip = zipfile.ZipFile(self._pipe, "w", allowZip64=True)

    async def add(self, name: str, data: bytes) -> None:
        """A text, compressed."""
        info = zipfile.ZipInfo(name, _WHEN)
        info.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=True) as file:
            for start in range(0, len(data), PIECE):
                file.write(data[start : start + PIECE])
                await self._flush()
        await self._flush()

    async def stream(self, name: str, pieces: AsyncIterable[bytes]) -> None:
        """A sound, as it is."""
        with self._zip.open(zipfile.ZipInfo(name, _WHEN), "w", force_zip64=True) as file:
            async for piece in pieces:
                file.write(piece)
                await self._flush()
        await self._flush()

    async def close(self) -> None:
        self._zip.close()
        await self._flush()

    async def _flush(self) -> None:
        if held := self._pipe.taken():
            await self._send(held)
