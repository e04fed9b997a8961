"""Where a call is in its trace: the trace id is the call id (both are 128 bits), spans' ids are made from what they
are. Parts that know the call meet in one trace without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

ROOT = "call"
_DIGITS = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}


class Chooser(Protocol):
    """Of ``telemetry.traces.Traces``, what a log needs."""

    def here(self) -> Place | None:
        """The span that is open in this task."""

    def chosen(self, trace_id: int) -> bool:
        """Whether anything of this trace is sent."""


@dataclass(frozen=True, slots=True)
class Place:
    """A span, as W3C Trace Context names it."""

    trace_id: int
    span_id: int

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


def trace_of(call_id: str) -> int | None:
    """None for a text that is no ULID, and so no call's id."""
    if len(call_id) != 26 or call_id[0] not in "01234567" or not _DIGITS.keys() >= set(call_id):
        return None
    number = 0
    for digit in call_id:
        number = number << 5 | _DIGITS[digit]
    return number or None


def place_of(call_id: str, key: str = ROOT) -> Place | None:
    """The span ``key`` of a call; without one the call's own, the root."""
    trace_id = trace_of(call_id)
    if trace_id is None:
        return None
    span_id = int.from_bytes(blake2b(f"{call_id}\0{key}".encode(), digest_size=8).digest())
    return Place(trace_id, span_id or 1)


def ids_of(traces: Chooser | None) -> Callable[[str | None], str | None]:
    """Tells a log the id of the trace that a line belongs to: of the open span, or else of the call."""

    def trace_id(call_id: str | None) -> str | None:
        if traces is None:
            return None
        if (place := traces.here()) is not None:
            return f"{place.trace_id:032x}"
        found = None if call_id is None else trace_of(call_id)
        return f"{found:032x}" if found is not None and traces.chosen(found) else None

    return trace_id
