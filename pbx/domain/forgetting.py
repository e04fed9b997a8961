"""A person's number taken out of facts, wherever it stands in them and whatever kind of fact they are (GDPR Art. 17).

Who is to be forgotten is told by keyed hashes (HMAC-SHA256) of every way to write the number, not by the number: what
is kept of an erasure, or crosses the bus for one, names nobody to whoever lacks the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection
from typing import Any

ERASED = "erased"
"""Stands where a number stood."""
HIDDEN = "?"
"""Stands where a digit stood."""
DIGEST_HEX = 32
"""Hex digits of a keyed hash: 128 bits."""

NUMBER = re.compile(r"(?<![0-9A-Za-z._+-])(?:\+?[0-9]{6,17}|~[0-9a-f]{15})(?![0-9A-Za-z_-]|\.[0-9])")
"""What may be a number within a text, whole: no part of an id, a time or an address; or the pseudonym of one."""
_CALLER = ("LegOffered", "CallbackDialled", "CallPlaced")
"""Kinds whose ``cli`` is the person that the call is with."""
_MOST_KNOWN = 100_000

IsForgotten = Callable[[str], bool]


def digest(key: bytes, number: str) -> str:
    """The keyed hash of one way to write a number."""
    return hmac.new(key, number.encode(), hashlib.sha256).hexdigest()[:DIGEST_HEX]


class Forgotten:
    """Whether a number is one of those that are to be forgotten. Remembers what it has worked out."""

    def __init__(self, key: bytes, digests: Collection[str], pseudonyms: Collection[str] = ()) -> None:
        """``pseudonyms``: what POPs of strict regions call the number."""
        self._key, self._digests, self._pseudonyms = key, frozenset(digests), frozenset(pseudonyms)
        self._known: dict[str, bool] = {}

    def __call__(self, number: str) -> bool:
        known = self._known.get(number)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = number in self._pseudonyms or digest(self._key, number) in self._digests
            self._known[number] = known
        return known


def caller_of(kind: str, fact: dict[str, Any]) -> str | None:
    """Whom the call is with, of the fact that says so; None for any other fact, and for a caller without number."""
    cli = fact.get("cli") if kind in _CALLER else None
    return cli.get("number") if isinstance(cli, dict) else None


def holds(text: str, forgotten: IsForgotten) -> bool:
    """Whether the text names a number that is to be forgotten."""
    return any(forgotten(found[0]) for found in NUMBER.finditer(text))


def without(text: str, forgotten: IsForgotten) -> str:
    """``text``, each such number replaced."""
    return NUMBER.sub(lambda found: ERASED if forgotten(found[0]) else found[0], text)


def replaced(value: Any, forgotten: IsForgotten) -> Any:
    """A JSON value with each such number in it replaced; a number that stands as a JSON number becomes 0."""
    match value:
        case str():
            return without(value, forgotten)
        case bool():
            return value
        case int():
            return 0 if forgotten(str(value)) else value
        case dict():
            return {name: replaced(item, forgotten) for name, item in value.items()}
        case list():
            return [replaced(item, forgotten) for item in value]
        case _:
            return value


def cleared(kind: str, data: bytes, known: IsForgotten) -> bytes | None:
    """An event's JSON without whatever is of a person: each number but the dialled one, also under a pseudonym, what
    was keyed in and looked up. ``known``: further spellings. None, and raises, as ``forget``."""
    fact = json.loads(data)
    dialled = fact.get("did") if isinstance(fact, dict) else None

    def somebodys(number: str) -> bool:
        return known(number) or (number[0] in "+~" and number != dialled)

    return forget(kind, data, somebodys, personal=True)


def forget(kind: str, data: bytes, forgotten: IsForgotten, *, personal: bool) -> bytes | None:
    """An event's JSON without these numbers; None where nothing of them was in it. ``personal``: the call is with the
    person, and what was keyed in and looked up goes, too. Raises ValueError for what is no JSON object."""
    fact = json.loads(data)
    if not isinstance(fact, dict):
        raise ValueError("an event is a JSON object")
    new = replaced(fact, forgotten)
    if personal and kind == "DigitPressed":
        new["digit"] = HIDDEN
    if personal and kind == "LookupEnded":
        new["values"] = {}
    if new == fact:
        return None
    return json.dumps(new, separators=(",", ":"), ensure_ascii=False).encode()
