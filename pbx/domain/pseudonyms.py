"""What leaves a strict region: facts whose numbers are keyed hashes, and without what was keyed in or looked up.

The same number has the same hash for as long as the POP's journal lives, so that repeated calls are still seen; only
the POP can say whose it is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from pbx.domain.forgetting import HIDDEN, NUMBER

MARK = "~"
HEX = 15
"""Digits of a pseudonym: with its mark it has the room of a number."""
_OURS = frozenset({"did"})
"""Fields that hold numbers of the installation itself."""


class Pseudonyms:
    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(b"callplane pseudonyms\0" + secret).digest()

    def of(self, number: str) -> str:
        return MARK + hmac.new(self._key, number.encode(), hashlib.sha256).hexdigest()[:HEX]

    def told(self, kind: str, data: bytes) -> bytes:
        """An event's JSON as it may leave. Raises ValueError for what is no JSON object."""
        fact = json.loads(data)
        if not isinstance(fact, dict):
            raise ValueError("an event is a JSON object")
        new = {name: value if name in _OURS else self._replaced(value) for name, value in fact.items()}
        if kind == "DigitPressed":
            new["digit"] = HIDDEN
        if kind == "LookupEnded":
            new["values"] = {}
        return data if new == fact else json.dumps(new, separators=(",", ":"), ensure_ascii=False).encode()

    def _replaced(self, value: Any) -> Any:
        match value:
            case str():
                return NUMBER.sub(lambda found: self.of(found[0]), value)
            case dict():
                return {name: self._replaced(item) for name, item in value.items()}
            case list():
                return [self._replaced(item) for item in value]
            case _:
                return value
