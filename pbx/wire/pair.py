"""What the two hosts of a POP say to each other: the active one to its standby, and back. Frames of MessagePack behind
their length, over TLS; README.md of the adapter says what follows from what."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pbx.domain.errors import BadValue

Row = tuple[int, str | None, str, float, bytes]
"""An event as it stands in the journal: seq, call, kind, at, data."""
Lineage = list[tuple[int, str]]
"""From which seq on the journal's events go under which identity; a new one begins at each takeover."""
KeyRow = tuple[str, str, bytes, int, bytes, int | None, int | None, str | None, str | None]
"""A recording's key, wrapped, as it stands in the key store."""

LENGTH_BYTES = 4
LONGEST = 64 << 20


class Hello(msgspec.Struct, tag=True, frozen=True):
    """The active one's first word."""

    pop_id: str
    lineage: Lineage
    last: int


class Have(msgspec.Struct, tag=True, frozen=True):
    """The standby's answer, and its word after a whole copy. ``recordings``: id to a digest of its key's row;
    ``blobs``, ``prompts``: names of files."""

    lineage: Lineage
    last: int
    recordings: dict[str, str]
    blobs: list[str]
    prompts: list[str]


class Refused(msgspec.Struct, tag=True, frozen=True):
    """The standby does not follow this one."""

    reason: str


class WholeCopy(msgspec.Struct, tag=True, frozen=True):
    """A piece of the journal's file; the standby puts aside what it had. ``end``: it was the last."""

    data: bytes
    end: bool


class Tables(msgspec.Struct, tag=True, frozen=True):
    """What the journal holds besides events, as it stands; rows follow."""

    lineage: Lineage
    sent: int
    config: dict[str, bytes]
    tenures: list[tuple[str, bool, int, str]]
    last_agents: list[tuple[str, str, float]]


class Rows(msgspec.Struct, tag=True, frozen=True):
    rows: Sequence[Row]


class Ack(msgspec.Struct, tag=True, frozen=True):
    """The standby has written all events up to this one."""

    seq: int


class Sent(msgspec.Struct, tag=True, frozen=True):
    """The centre has acknowledged all events up to this one."""

    seq: int


class ConfigKept(msgspec.Struct, tag=True, frozen=True):
    """``entry``: None, it was deleted."""

    key: str
    entry: bytes | None


class TenureKept(msgspec.Struct, tag=True, frozen=True):
    agent_id: str
    ours: bool
    number: int
    claimant: str


class Served(msgspec.Struct, tag=True, frozen=True):
    """Who served callers last; no agent: forget it."""

    callers: list[tuple[str, str | None, float]]


class Forgotten(msgspec.Struct, tag=True, frozen=True):
    """A number was taken out of the journal. ``asked``: the request, as JSON."""

    asked: bytes


class KeyKept(msgspec.Struct, tag=True, frozen=True):
    row: KeyRow


class KeyGone(msgspec.Struct, tag=True, frozen=True):
    """Its key was destroyed."""

    recording_id: str


class FilePiece(msgspec.Struct, tag=True, frozen=True):
    """Of a file of ``area`` (``prompts``, or a region whose sealed recordings it holds)."""

    area: str
    name: str
    at: int
    """Where the piece begins; 0 begins the file anew, whatever came of it before."""
    data: bytes
    end: bool


class FileGone(msgspec.Struct, tag=True, frozen=True):
    area: str
    name: str


class Beat(msgspec.Struct, tag=True, frozen=True):
    """Either side is there."""


Message = (
    Hello | Have | Refused | WholeCopy | Tables | Rows | Ack | Sent | ConfigKept | TenureKept | Served | Forgotten
    | KeyKept | KeyGone | FilePiece | FileGone | Beat
)  # fmt: skip

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Message)


def frame(message: Message) -> bytes:
    body = _ENCODER.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def length_of(head: bytes) -> int:
    """Raises BadValue for what is longer than any message."""
    if (size := int.from_bytes(head, "big")) > LONGEST:
        raise BadValue("frame", f"has {size} bytes, {LONGEST} are the most")
    return size


def message_of(body: bytes) -> Message:
    """Raises BadValue: the other host runs another version, or is none of ours."""
    try:
        found: Message = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise BadValue("frame", f"cannot be read: {error}") from error
    return found
