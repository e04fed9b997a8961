"""The sealed file of one recording: AES-256-GCM in chunks, so that hours of it are written and read as a stream.

The chunks are sealed as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance, 2015): the nonce is a random prefix, the chunk's number and whether it is the last one;
the whole header is associated data of every chunk. A chunk that was changed, moved or taken from another file does not
open, and no end but the true one is the last. The file holds no key; it is written down byte by byte in
``adapters/vault/README.md``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pbx.domain.errors import RecordingDamaged
from pbx.domain.ids import RecordingId, is_ulid

MAGIC = b"CPSEALED"
VERSION = 1
KEY_BYTES = 32
KEY_ID_BYTES = 8
PREFIX_BYTES = 7
TAG_BYTES = 16
CHUNK_BITS = 16
"""Chunks of 64 KiB: two seconds of sound, so that what is read for one byte is little."""
LONGEST_REGION = 31
MOST_CHUNKS = 1 << 32
_FIXED = struct.Struct(f">{len(MAGIC)}sBBHQ{PREFIX_BYTES}s26s{KEY_ID_BYTES}sB")
LONGEST_HEADER = _FIXED.size + LONGEST_REGION
_BITS = range(10, 25)


class NotSealed(RecordingDamaged):
    """It does not begin with the header of a sealed recording, or is of a version that is not known here."""


class WrongRecording(RecordingDamaged):
    """It is another recording."""


class WrongRegion(RecordingDamaged):
    """It belongs to another region."""


class WrongKey(RecordingDamaged):
    """It was sealed under another key than the one kept for it."""


class Truncated(RecordingDamaged):
    """The end is missing."""


class Lengthened(RecordingDamaged):
    """There is something after the end."""


class Tampered(RecordingDamaged):
    """A chunk is not the one that was sealed at this place under this header. ``chunk``: its number from 0."""

    def __init__(self, chunk: int) -> None:
        super().__init__(f"chunk {chunk} is not what was sealed there")
        self.chunk = chunk


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a sealed file before its key. ``plain_size``: bytes."""

    recording_id: RecordingId
    region: str
    key_id: bytes
    """Of the recording's own key, whoever wraps it."""
    plain_size: int
    prefix: bytes = field(default_factory=lambda: os.urandom(PREFIX_BYTES))
    chunk_bits: int = CHUNK_BITS

    def __post_init__(self) -> None:
        """Raises ValueError for what no header can say."""
        region = self.region.encode()
        if not is_ulid(self.recording_id) or not 0 < len(region) <= LONGEST_REGION or not region.isascii():
            raise ValueError("a sealed recording has a ULID and a region of 1 to 31 ASCII characters")
        if len(self.key_id) != KEY_ID_BYTES or len(self.prefix) != PREFIX_BYTES or self.chunk_bits not in _BITS:
            raise ValueError("the key's id, the nonce prefix or the chunk size is not of its length")
        if not 0 <= self.plain_size <= MOST_CHUNKS << self.chunk_bits:
            raise ValueError("a sealed recording has at most 2^32 chunks")

    @property
    def size(self) -> int:
        return _FIXED.size + len(self.region)

    @property
    def chunk_size(self) -> int:
        """Plain bytes of every chunk but the last."""
        return 1 << self.chunk_bits

    @property
    def chunks(self) -> int:
        """At least one: an empty recording has an empty last chunk."""
        return max(1, -(-self.plain_size // self.chunk_size))

    @property
    def sealed_size(self) -> int:
        """Bytes of the whole file."""
        return self.size + self.plain_size + self.chunks * TAG_BYTES

    def encode(self) -> bytes:
        region = self.region.encode()
        fixed = (MAGIC, VERSION, self.chunk_bits, self.size, self.plain_size)
        return _FIXED.pack(*fixed, self.prefix, self.recording_id.encode(), self.key_id, len(region)) + region

    def nonce(self, chunk: int) -> bytes:
        return self.prefix + chunk.to_bytes(4, "big") + (b"\1" if chunk == self.chunks - 1 else b"\0")


def decode(data: bytes) -> Header:
    """The header at the beginning of ``data`` (``LONGEST_HEADER`` bytes suffice). Raises NotSealed."""
    if len(data) < _FIXED.size:
        raise NotSealed("it is shorter than the header of a sealed recording")
    magic, version, bits, size, plain_size, prefix, recording_id, key_id, region_size = _FIXED.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise NotSealed("it does not begin as a sealed recording of this version")
    region = data[_FIXED.size : _FIXED.size + region_size]
    if size != _FIXED.size + region_size or len(region) != region_size:
        raise NotSealed("its header has not the length that it says")
    try:
        text = RecordingId(recording_id.decode("ascii"))
        return Header(text, region.decode("ascii"), key_id, plain_size, prefix, bits)
    except ValueError as error:
        raise NotSealed("its header says what no header can") from error


def seal(header: Header, key: bytes, plain: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of the sealed file, one after another; ``plain`` may come in pieces of any size.

    Raises ValueError when ``plain`` is not of the size that the header says.
    """
    cipher, associated = AESGCM(key), header.encode()
    yield associated
    size, last = header.chunk_size, header.chunks - 1
    waiting, taken, chunk = bytearray(), 0, 0
    for piece in plain:
        waiting += piece
        taken += len(piece)
        while len(waiting) >= size and chunk < last:
            yield cipher.encrypt(header.nonce(chunk), bytes(waiting[:size]), associated)
            del waiting[:size]
            chunk += 1
    if taken != header.plain_size:
        raise ValueError(f"{taken} bytes came to be sealed instead of {header.plain_size}")
    yield cipher.encrypt(header.nonce(last), bytes(waiting), associated)


Read = Callable[[int, int], bytes]
"""(offset, length) -> the sealed file's bytes there, fewer only at its end."""


class Opened:
    """A sealed file whose key is at hand. Every byte given out has been authenticated."""

    def __init__(self, header: Header, key: bytes, read: Read, sealed_size: int) -> None:
        """Raises Truncated or Lengthened when the file has not the size that its header says."""
        if sealed_size < header.sealed_size:
            raise Truncated(f"{header.sealed_size - sealed_size} bytes of its end are missing")
        if sealed_size > header.sealed_size:
            raise Lengthened(f"{sealed_size - header.sealed_size} bytes follow its end")
        self.header = header
        self._cipher, self._associated, self._read = AESGCM(key), header.encode(), read

    def read(self, offset: int, length: int) -> bytes:
        """The plain bytes from ``offset``, fewer than ``length`` only at the end. Raises Tampered, Truncated and what
        reading raises."""
        end = min(offset + length, self.header.plain_size)
        if offset < 0 or length <= 0 or offset >= end:
            return b""
        bits = self.header.chunk_bits
        first, last = offset >> bits, end - 1 >> bits
        plain = b"".join(self._chunks(first, last))
        return plain[offset - (first << bits) : end - (first << bits)]

    def pieces(self, at_once: int = 16) -> Iterator[bytes]:
        """All of it, ``at_once`` chunks read at a time. Raises like ``read``."""
        for first in range(0, self.header.chunks, at_once):
            yield from self._chunks(first, min(first + at_once, self.header.chunks) - 1)

    def _chunks(self, first: int, last: int) -> Iterator[bytes]:
        """From ``first`` to ``last``, both included, by one read."""
        header, sealed_chunk = self.header, self.header.chunk_size + TAG_BYTES
        begin = header.size + first * sealed_chunk
        end = min(header.size + (last + 1) * sealed_chunk, header.sealed_size)
        sealed = memoryview(self._read(begin, end - begin))
        if len(sealed) != end - begin:
            raise Truncated("the file ended while it was read")
        for chunk in range(first, last + 1):
            at = (chunk - first) * sealed_chunk
            try:
                plain = self._cipher.decrypt(header.nonce(chunk), sealed[at : at + sealed_chunk], self._associated)
            except InvalidTag:
                raise Tampered(chunk) from None
            yield plain


def check(header: Header, recording_id: RecordingId, region: str, key_id: bytes) -> None:
    """Raises WrongRecording, WrongRegion or WrongKey when the file is not the one that is meant."""
    if header.recording_id != recording_id:
        raise WrongRecording("it is another recording than its name says")
    if header.region != region:
        raise WrongRegion(f"it belongs to region {header.region!r}, and is kept for {region!r}")
    if header.key_id != key_id:
        raise WrongKey("it was sealed under another key than the one that is kept for it")
