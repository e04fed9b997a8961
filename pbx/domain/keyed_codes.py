"""What an agent may key in during a conversation: ``*``, one digit, and for some of them an extension and ``#``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

PAUSE_S = 4.0
"""Keys further apart do not belong together."""
LONGEST_EXTENSION = 6


class Act(Enum):
    HOLD = "1"
    """And back again."""
    TRANSFER = "2"
    """To an agent, blind."""
    CONSULT = "3"
    SWAP = "4"
    COMPLETE = "5"
    CONFERENCE = "6"
    CANCEL = "7"


_WITH_EXTENSION = (Act.TRANSFER, Act.CONSULT)
_ACTS = {act.value: act for act in Act}


@dataclass(frozen=True, slots=True)
class Keyed:
    act: Act
    extension: str = ""


@dataclass(slots=True)
class Keys:
    """The keys of one leg. What turns out to be no code is forgotten."""

    _keyed: str = ""
    _at: float = 0.0

    def press(self, digit: str, now: float) -> Keyed | None:
        """The code that is complete with this key."""
        late, self._at = now - self._at > PAUSE_S, now
        keyed, self._keyed = "" if late else self._keyed, ""
        if digit == "*":
            self._keyed = digit
        elif keyed == "*" and digit in _ACTS:
            if _ACTS[digit] not in _WITH_EXTENSION:
                return Keyed(_ACTS[digit])
            self._keyed = keyed + digit
        elif len(keyed) > 1:
            extension = keyed[2:]
            if digit == "#" and extension:
                return Keyed(_ACTS[keyed[1]], extension)
            if digit.isdecimal() and len(extension) < LONGEST_EXTENSION:
                self._keyed = keyed + digit
        return None
