"""Telephone numbers as values: E.164 (ITU-T E.164, 11/2010) and the calling line identity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NewType

from pbx.domain.errors import BadValue

E164 = NewType("E164", str)
"""A number with country code and leading plus, at most 15 digits: ``+49305550100``."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def e164(text: str, field: str = "number") -> E164:
    """``text`` as E164. Raises BadValue, naming ``field``, when it is not one; nothing is repaired."""
    if not _E164.fullmatch(text):
        raise BadValue(field, "is not an E.164 number: a plus, the country code, 7 to 15 digits, nothing else")
    return E164(text)


class CliKind(Enum):
    NUMBER = "number"
    WITHHELD = "withheld"
    """The caller asked not to be shown (RFC 3323)."""
    UNKNOWN = "unknown"
    """The carrier sent nothing, or nothing that is a number."""


@dataclass(frozen=True, slots=True)
class Cli:
    """Calling line identity. ``number`` is there exactly when ``kind`` is NUMBER."""

    kind: CliKind
    number: E164 | None = None

    def __post_init__(self) -> None:
        if (self.number is not None) != (self.kind is CliKind.NUMBER):
            raise ValueError("a CLI has a number exactly when its kind is NUMBER")


WITHHELD = Cli(CliKind.WITHHELD)
UNKNOWN = Cli(CliKind.UNKNOWN)


def cli_of(text: str) -> Cli:
    """The CLI a dialplan hands over: an E.164 number, ``withheld``, or anything else for unknown."""
    if text == CliKind.WITHHELD.value:
        return WITHHELD
    if _E164.fullmatch(text):
        return Cli(CliKind.NUMBER, E164(text))
    return UNKNOWN
