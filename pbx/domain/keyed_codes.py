"""What an agent may key in during a conversation: ``*``, one digit, and for some of them an extension, or a number as
it is dialled at home, and ``#``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

PAUSE_S = 4.0
"""Keys further apart do not belong together."""
LONGEST_EXTENSION = 6
LONGEST_NUMBER = 20


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
    CONSULT_NUMBER = "8"
    TRANSFER_TO_NUMBER = "9"
    RECORDING = "0"
    """Of an agent: paused, and captured again. Of a caller: stopped and destroyed, the agreement is withdrawn."""
    STOP_RECORDING = "#"


_LONGEST = {
    Act.TRANSFER.value: LONGEST_EXTENSION,
    Act.CONSULT.value: LONGEST_EXTENSION,
    Act.CONSULT_NUMBER.value: LONGEST_NUMBER,
    Act.TRANSFER_TO_NUMBER.value: LONGEST_NUMBER,
}
"""Digits that follow the code; no code of two keys is here."""
_ACTS = {act.value: act for act in Act}


@dataclass(frozen=True, slots=True)
class Keyed:
    act: Act
    digits: str = field(default="", repr=False)


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
            if digit not in _LONGEST:
                return Keyed(_ACTS[digit])
            self._keyed = keyed + digit
        elif len(keyed) > 1:
            digits = keyed[2:]
            if digit == "#" and digits:
                return Keyed(_ACTS[keyed[1]], digits)
            if digit.isdecimal() and len(digits) < _LONGEST[keyed[1]]:
                self._keyed = keyed + digit
        return None
