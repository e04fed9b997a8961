"""The event socket's framing, without I/O: bytes in, frames out; commands in, bytes out.

A frame is a block of header lines, each ended by LF, an empty line, and a body of as many *bytes* as Content-Length
says (none: no body). Lines of LF only between frames are skipped: the server ends some replies with one too many.
Nothing is decoded before a frame is whole, so no read boundary can cut a character, and a body is never looked into:
what a caller put into a variable cannot become a frame.

Sources: https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_event_socket_1048924/ and what the
real server did (README.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pbx.domain.errors import CallplaneError

LONGEST_HEADER = 1 << 16
"""Bytes of a header block. The server's own are under 1 KiB."""
LONGEST_BODY = 1 << 26
"""Bytes. The list of some ten thousand channels is one body."""

EVENT_JSON = "text/event-json"
_EVENT_HEADERS: Mapping[str, str] = MappingProxyType({"content-type": EVENT_JSON})
_EVENT = re.compile(rb"Content-Length: (\d{1,8})\nContent-Type: text/event-json\n\n")
"""The header block of nearly every frame, byte for byte as the server writes it: no need to take it apart."""
_LENGTH = re.compile(r"\d{1,10}", re.ASCII)
_NAME = re.compile(r"[!-9;-~]+")
_UNFIT = re.compile(r"[\r\n\0]")


class EslProtocolError(CallplaneError):
    """What came is not the event socket's protocol, or more than the limits allow. The connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``headers``: names in lower case, values decoded as UTF-8 with ``surrogateescape``: no byte is lost. Of headers
    that come twice the first counts."""

    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "surrogateescape")


class FrameParser:
    """Feed it what was read, in chunks of any size; iterate what ``feed`` returns to its end.

    The frames do not depend on where the chunks were cut. After an ``EslProtocolError``, which comes behind the last
    good frame, every further ``feed`` raises it again.
    """

    __slots__ = ("_buffer", "_error", "_headers", "_length", "_longest_body", "_longest_header", "_scanned")

    def __init__(self, longest_header: int = LONGEST_HEADER, longest_body: int = LONGEST_BODY) -> None:
        self._longest_header, self._longest_body = longest_header, longest_body
        self._buffer = bytearray()
        self._scanned = 0
        """Bytes of an unfinished header block that hold no end of it."""
        self._headers: Mapping[str, str] | None = None
        """Of the frame whose body is awaited."""
        self._length = 0
        self._error: EslProtocolError | None = None

    @property
    def pending(self) -> int:
        """Bytes that are kept for the next frame. Never more than the limits and one chunk."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        if self._error is None:
            self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        if self._error is not None:
            raise self._error
        buffer, at = self._buffer, 0
        try:
            while True:
                if self._headers is None:
                    at = self._header_block(buffer, at)
                    if self._headers is None:
                        return
                end = at + self._length
                if end > len(buffer):
                    return
                headers, self._headers = self._headers, None
                with memoryview(buffer) as view:
                    body = bytes(view[at:end])
                at = end
                yield Frame(headers, body)
        except EslProtocolError as error:
            self._error = error
            at = len(buffer)
            raise
        finally:
            del buffer[:at]

    def _header_block(self, buffer: bytearray, at: int) -> int:
        """Reads one header block from ``at`` if all of it is there. Returns where to go on."""
        size = len(buffer)
        while self._scanned == 0 and at < size and buffer[at] == 0x0A:
            at += 1
        match = _EVENT.match(buffer, at)
        if match is not None and match.end() - at <= self._longest_header:
            self._begin(_EVENT_HEADERS, match[1].decode())
            return match.end()
        end = buffer.find(b"\n\n", max(at, at + self._scanned - 1))
        # Without its end in sight, the last byte may be the first of the two that end the block.
        if (end if end >= 0 else size - 1) - at > self._longest_header:
            raise EslProtocolError(f"a header block is longer than {self._longest_header} bytes")
        if end < 0:
            self._scanned = size - at
            return at
        headers = _headers(bytes(buffer[at:end]))
        self._begin(headers, headers.get("content-length", "0").strip(" "))
        return end + 2

    def _begin(self, headers: Mapping[str, str], length: str) -> None:
        if not _LENGTH.fullmatch(length):
            raise EslProtocolError("Content-Length is not a number of bytes")
        if int(length) > self._longest_body:
            raise EslProtocolError(f"a body is longer than {self._longest_body} bytes")
        self._scanned = 0
        self._length = int(length)
        self._headers = headers


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", "surrogateescape").split("\n"):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            raise EslProtocolError("a header line has no name")
        value = value.removesuffix("\r").removeprefix(" ")
        if headers.setdefault(name, value) != value and name == "content-length":
            raise EslProtocolError("a frame has two lengths")
    return headers


def command(line: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The bytes of one command. Raises ValueError when a part of it holds CR, LF or NUL, or a name is none: nothing
    that comes from outside can begin a header or a command of its own."""
    if not line or line != line.strip() or _UNFIT.search(line):
        raise ValueError("a command is one line without CR, LF and NUL")
    lines = [line]
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError("a header name holds other characters than printable ASCII")
        if _UNFIT.search(value):
            raise ValueError(f"{name}: holds CR, LF or NUL")
        lines.append(f"{name}: {value}")
    return ("\n".join(lines) + "\n\n").encode("utf-8", "surrogateescape")
