"""Values that are said to a caller: a variable's digits one by one, or as a number, composed of prompts.

What is said is nowhere written: it is a command to the media server and no event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain.variables import Read, fill, number_of

MOST = 999_999
"""Greater numbers are said digit by digit."""
MAX_DIGITS = 40
BEFORE = "number-1-before"
"""One, as it is said before hundred and thousand."""
HUNDRED, THOUSAND, MINUS, POINT = "number-hundred", "number-thousand", "number-minus", "number-point"
DIGITS = tuple(f"number-{digit}" for digit in range(10))
NUMBERS = (*(f"number-{number}" for number in range(100)), BEFORE, HUNDRED, THOUSAND, MINUS, POINT)


class How(Enum):
    DIGITS = "digits"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Spoken:
    """``text`` is a template of variables."""

    how: How
    text: str

    @property
    def prompt_ids(self) -> tuple[str, ...]:
        """All that may be needed."""
        return DIGITS if self.how is How.DIGITS else NUMBERS

    def prompts(self, read: Read) -> tuple[str, ...]:
        """Those of the value now; none where nothing is set, or, of a number, where it is none."""
        text = fill(self.text, read)
        return _digits(text) if self.how is How.DIGITS else number(text)


def _digits(text: str) -> tuple[str, ...]:
    return tuple(DIGITS[int(digit)] for digit in text if digit in "0123456789")[:MAX_DIGITS]


def number(text: str) -> tuple[str, ...]:
    """``-12.50`` is minus twelve point five zero."""
    text = text.strip()
    if number_of(text) is None:
        return ()
    whole, _, decimals = text.removeprefix("-").partition(".")
    said = _digits(whole) if int(whole) > MOST else _whole(int(whole))
    sign = (MINUS,) if text.startswith("-") else ()
    return (*sign, *said, *((POINT, *_digits(decimals)) if decimals else ()))


def _whole(value: int) -> tuple[str, ...]:
    if value < 1000:
        return _hundreds(value)
    thousands = _hundreds(value // 1000)
    if thousands[-1] == DIGITS[1]:
        thousands = (*thousands[:-1], BEFORE)
    return (*thousands, THOUSAND, *(_hundreds(value % 1000) if value % 1000 else ()))


def _hundreds(value: int) -> tuple[str, ...]:
    if value < 100:
        return (f"number-{value}",)
    hundreds = BEFORE if value < 200 else DIGITS[value // 100]
    return (hundreds, HUNDRED, *((f"number-{value % 100}",) if value % 100 else ()))
