"""What an agent may dial at the own phone instead of a number: ``*`` and two digits, for some of them more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Feature(Enum):
    READY = "11"
    """Log in, and be offered calls once the phone is hung up."""
    LOG_OUT = "12"
    NOT_READY = "13"
    """With the number of the reason behind it: ``*132`` is lunch."""
    END_WRAP_UP = "14"
    EXTEND_WRAP_UP = "15"
    """By a minute."""
    RETRIEVE = "7"
    """With the slot of a parked call behind it: ``*7701``."""


EXTENSION_S = 60.0
REASONS = {"": "BREAK", "1": "BREAK", "2": "LUNCH", "3": "TRAINING", "4": "MEETING", "5": "BACK_OFFICE"}
"""Digits after ``*13`` -> reason. Further numbers are reasons of the operator's own: ``*1342`` is ``REASON_42``."""

_RETRIEVE = re.compile(r"\*7(\d{3,4})", re.ASCII)
_CODE = re.compile(r"\*(\d\d)(\d{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dialled:
    feature: Feature
    reason: str | None = None
    slot: int | None = None


def read(code: str) -> Dialled | None:
    """What ``*11`` and the like ask for; None for a code that means nothing."""
    if retrieve := _RETRIEVE.fullmatch(code):
        return Dialled(Feature.RETRIEVE, slot=int(retrieve[1]))
    found = _CODE.fullmatch(code)
    if found is None or found[1] not in {one.value for one in Feature}:
        return None
    feature, more = Feature(found[1]), found[2]
    if feature is Feature.NOT_READY:
        return Dialled(feature, REASONS.get(more, f"REASON_{more}"))
    return None if more else Dialled(feature)
