"""The audit log as a chain: each link's hash is of what it says and of the hash before it, so that whoever changes,
removes or inserts one has to make all later ones anew, up to the end that others have noted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

START = "0" * 64
"""What the first link follows."""


@dataclass(frozen=True, slots=True)
class Link:
    seq: int
    at: float
    caller_id: str
    caller: str
    source: str
    action: str
    thing: str
    purpose: str | None
    outcome: str
    changes: tuple[str, ...]

    def hash(self, previous: str) -> str:
        """Hex SHA-256 of the former hash and the fields as JSON, sorted, without blanks."""
        said = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(f"{previous}\n{said}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """A link as it lies in the database."""

    link: Link
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row of which something is wrong."""

    seq: int
    reason: str


class Verifier:
    """Takes the links in the order of their numbers, from the first on."""

    def __init__(self) -> None:
        self.seq, self.hash = 0, START

    def take(self, links: Iterable[Stored]) -> Broken | None:
        """The first one that is broken, if one is; nothing is to be taken after it."""
        return next(self._broken(links), None)

    def _broken(self, links: Iterable[Stored]) -> Iterator[Broken]:
        for stored in links:
            seq = stored.link.seq
            if seq != self.seq + 1:
                yield Broken(self.seq + 1, "is missing")
            elif stored.previous != self.hash:
                yield Broken(seq, "does not follow the row before it: one of them was inserted or changed")
            elif stored.hash != stored.link.hash(self.hash):
                yield Broken(seq, "does not say what it said when it was written")
            self.seq, self.hash = seq, stored.hash

    def end(self, seq: int, end_hash: str) -> Broken | None:
        """Compare the last link with an end that was noted."""
        if self.seq < seq:
            return Broken(self.seq + 1, "is missing: the log was cut")
        if self.seq > seq:
            return Broken(seq + 1, "is past the noted end of the log: it was inserted")
        if self.hash != end_hash:
            return Broken(seq, "is not the noted end of the log")
        return None
