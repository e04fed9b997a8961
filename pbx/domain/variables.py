"""A call's variables: what a flow has learned about the caller, by name, and texts that name them: ``{account}``.

Values are personal data more often than not: they are never logged, and the journal has none of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from pbx.domain.errors import BadValue

Value = str | int | float | bool

GIVEN = frozenset({"call_id", "caller", "caller_country", "did", "language"})
"""Variables every call has, as far as they are known; a flow cannot set them."""

MAX_LENGTH = 1000
"""Longer texts are cut: a flow that doubles a text in a loop must not fill the memory."""

MAX_NUMBER = 1 << 63

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PLACE = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")

Read = Callable[[str], Value | None]
"""The value of a variable; None for one that is not set."""


def variable_name(text: str, field: str, *, writable: bool) -> str:
    """``text`` if it can name a variable. Raises BadValue, naming ``field``."""
    if not _NAME.fullmatch(text):
        raise BadValue(field, "must be a variable's name: a to z, 0 to 9 and _, a letter first, at most 32")
    if writable and text in GIVEN:
        raise BadValue(field, f"cannot be {text}, which every call has from its beginning")
    return text


def template(text: str, field: str) -> str:
    """``text`` if all its braces hold names of variables. Raises BadValue, naming ``field``."""
    if len(text) > MAX_LENGTH:
        raise BadValue(field, f"must be at most {MAX_LENGTH} characters")
    for name in _PLACE.findall(text):
        variable_name(name, field, writable=False)
    if set("{}") & set(_PLACE.sub("", text)):
        raise BadValue(field, "has a brace that does not enclose a variable's name")
    return text


def fill(text: str, read: Read, quote: Callable[[str], str] = str, limit: int = MAX_LENGTH) -> str:
    """The template with its variables' values, cut at ``limit``; nothing stands for those that are not set."""
    return _PLACE.sub(lambda place: quote(text_of(read(place[1]))), text)[:limit]


def evaluate(value: Value, read: Read) -> Value | None:
    """What a ``set`` node sets: a template filled in, or, if it is one variable alone, that variable's value."""
    if not isinstance(value, str):
        return value
    alone = _PLACE.fullmatch(value)
    return read(alone[1]) if alone else fill(value, read)


def text_of(value: Value | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def number_of(value: Value | None) -> float | None:
    """The number that ``value`` is or spells; None when it does not."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return None if value is None or isinstance(value, bool) else float(value)


def plain(value: object) -> Value | None:
    """A value from outside as a variable can hold it; None for lists, objects, null and what is no finite number."""
    if isinstance(value, str):
        return value[:MAX_LENGTH]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < MAX_NUMBER else None
    return value if isinstance(value, float) and math.isfinite(value) else None
