"""What an agent may dial at the own phone instead of a number: ``*`` and two digits, for some of them more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from pbx.domain.events import Supervision


class Feature(Enum):
    READY = "11"
    """Log in, and be offered calls once the phone is hung up."""
    LOG_OUT = "12"
    NOT_READY = "13"
    """With the number of the reason behind it: ``*132`` is lunch."""
    END_WRAP_UP = "14"
    EXTEND_WRAP_UP = "15"
    """By a minute."""
    LISTEN = "21"
    """With the extension of the agent behind it, as the following."""
    WHISPER = "22"
    BARGE = "23"
    TAKE_OVER = "24"
    RETRIEVE = "7"
    """With the slot of a parked call behind it: ``*7701``."""


EXTENSION_S = 60.0
REASONS = {"": "BREAK", "1": "BREAK", "2": "LUNCH", "3": "TRAINING", "4": "MEETING", "5": "BACK_OFFICE"}
"""Digits after ``*13`` -> reason. Further numbers are reasons of the operator's own: ``*1342`` is ``REASON_42``."""

MODES = {
    Feature.LISTEN: Supervision.LISTEN,
    Feature.WHISPER: Supervision.WHISPER,
    Feature.BARGE: Supervision.BARGE,
    Feature.TAKE_OVER: Supervision.LISTEN,
}

_RETRIEVE = re.compile(r"\*7(\d{3,4})", re.ASCII)
_CODE = re.compile(r"\*(\d\d)(\d{0,6})", re.ASCII)
_LONGEST_REASON = 3


@dataclass(frozen=True, slots=True)
class Dialled:
    feature: Feature
    reason: str | None = None
    extension: str = ""
    slot: int | None = None


def read(code: str) -> Dialled | None:
    """What ``*11`` and the like ask for; None for a code that means nothing."""
    if retrieve := _RETRIEVE.fullmatch(code):
        return Dialled(Feature.RETRIEVE, slot=int(retrieve[1]))
    found = _CODE.fullmatch(code)
    if found is None or found[1] not in {one.value for one in Feature}:
        return None
    feature, more = Feature(found[1]), found[2]
    if feature in MODES:
        return Dialled(feature, extension=more) if more else None
    if feature is Feature.NOT_READY and len(more) <= _LONGEST_REASON:
        return Dialled(feature, REASONS.get(more, f"REASON_{more}"))
    return None if more else Dialled(feature)
