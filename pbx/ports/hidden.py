"""The port to what the journal must not hold of live calls: digits that callers keyed in, answers of lookups.

A restarted controller needs them to follow a call. They rest where a power cut ends them, and go with their call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pbx.domain.ids import CallId
from pbx.domain.variables import Value

Hidden = str | dict[str, Value]
"""A digit, or the values of a lookup."""


class HiddenValues(Protocol):
    def keep(self, call_id: CallId, number: int, value: Hidden) -> None:
        """``number`` counts the call's hidden values from 0; a number that is kept again has the later value. Raises
        OSError: then the call cannot be followed after a restart."""

    def of(self, call_id: CallId) -> Mapping[int, Hidden]: ...

    def forget(self, call_id: CallId) -> None: ...

    def keep_only(self, calls: frozenset[CallId]) -> None:
        """Forget all others."""


class NothingHidden:
    """Of a POP that keeps nothing aside: calls with something hidden are not followed after a restart."""

    def keep(self, call_id: CallId, number: int, value: Hidden) -> None:
        return

    def of(self, call_id: CallId) -> Mapping[int, Hidden]:
        return {}

    def forget(self, call_id: CallId) -> None:
        return

    def keep_only(self, calls: frozenset[CallId]) -> None:
        return
