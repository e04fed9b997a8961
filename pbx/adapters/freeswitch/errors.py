"""What the server's refusals mean."""

from __future__ import annotations

import re

from pbx.domain.errors import EngineError, EngineRefused, LegGone

_GONE = re.compile(r"no such (channel|session)|cannot locate|invalid (session id|uuid)|no such id", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z_ !'.-]{1,80}")


def error_of(text: str) -> EngineError | None:
    """The error that a reply stands for; None when it is none. What is not plain words is not repeated: it may hold a
    number or a name."""
    if text.startswith("-ERR"):
        reason = text[4:].strip()
    elif text.startswith("-USAGE"):
        reason = "wrong usage"
    else:
        return None
    if _GONE.search(reason):
        return LegGone("the media server has no such leg")
    return EngineRefused(f"the media server refused: {reason if _WORDS.fullmatch(reason) else 'no reason given'}")
