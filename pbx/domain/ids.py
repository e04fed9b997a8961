"""Identifiers: ULIDs, each kind with its own type.

A ULID (https://github.com/ulid/spec) is 48 bits of milliseconds since the epoch and 80 bits
that tell apart what was made in the same millisecond, written in Crockford's base 32. The core
makes its ids itself without a random source: ``derive`` hashes what the new thing belongs to, so
that a replay of the same events gives the same ids.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import NewType

PopId = NewType("PopId", str)
"""The POP's name, lower case letters, digits and dashes: ``de-fra-1``."""
CallId = NewType("CallId", str)
LegId = NewType("LegId", str)
"""The media server's own unique id of a leg; where Callplane originates the leg, it chose that id."""
BridgeId = NewType("BridgeId", str)
PlayId = NewType("PlayId", str)
OfferId = NewType("OfferId", str)
RecordingId = NewType("RecordingId", str)
AgentId = NewType("AgentId", str)
PhoneId = NewType("PhoneId", str)
"""The SIP user name under which an agent's phone registers."""
QueueId = NewType("QueueId", str)
FlowId = NewType("FlowId", str)
EventId = NewType("EventId", str)
CallbackId = NewType("CallbackId", str)

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = frozenset(ALPHABET)
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_words = Struct(">5H").unpack
_TIME_SHIFTS, _TAIL_SHIFTS = range(40, -10, -10), range(70, -10, -10)


def ulid(at: float, tail: int) -> str:
    """The ULID of time ``at`` (seconds since the epoch) with ``tail`` as its lower 80 bits.

    Raises ValueError when either does not fit its bits.
    """
    ms = int(at * 1000)
    if not 0 <= ms < 1 << 48 or not 0 <= tail < 1 << 80:
        raise ValueError("a ULID takes 48 bits of milliseconds and 80 bits of tail")
    return _time(ms) + "".join([_PAIRS[tail >> shift & 1023] for shift in _TAIL_SHIFTS])


@lru_cache(maxsize=16)
def _time(ms: int) -> str:
    return "".join([_PAIRS[ms >> shift & 1023] for shift in _TIME_SHIFTS])


def derive(at: float, *parts: str | int) -> str:
    """A ULID of time ``at`` whose tail is a hash of ``parts``: same parts, same id."""
    text = "\0".join(map(str, parts)) if len(parts) != 1 else str(parts[0])
    digest = blake2b(text.encode(), digest_size=10).digest()
    a, b, c, d, e = _words(digest)  # as ulid() would, without a number of 80 bits
    ms, of = int(at * 1000), _PAIRS
    if not 0 <= ms < 1 << 48:
        return ulid(at, 0)
    return (
        f"{_time(ms)}{of[a >> 6]}{of[(a & 63) << 4 | b >> 12]}{of[b >> 2 & 1023]}{of[(b & 3) << 8 | c >> 8]}"
        f"{of[(c & 255) << 2 | d >> 14]}{of[d >> 4 & 1023]}{of[(d & 15) << 6 | e >> 10]}{of[e & 1023]}"
    )


def is_ulid(text: str) -> bool:
    return len(text) == 26 and text[0] in "01234567" and _VALUES.issuperset(text)


def time_of(identifier: str) -> float:
    """When the ULID was made, in seconds since the epoch, to the millisecond."""
    ms = 0
    for letter in identifier[:10]:
        ms = ms << 5 | ALPHABET.index(letter)
    return ms / 1000
