"""What numbers are called towards the centre, looked up in a journal's file beside the controller that writes to it: on
a read-only connection of its own, in a thread, a part at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pbx.domain.errors import JournalError
from pbx.domain.forgetting import NUMBER, digest
from pbx.wire.messages import NameNumbers, NumbersNamed

SPAN = 100_000
"""Events that one question goes through: about half a second."""
BUSY_S = 10.0


def run(path: Path, journal_id: str, asked: NameNumbers, called: Callable[[str], str]) -> NumbersNamed:
    """Blocking. Raises JournalError."""
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            return _search(db, journal_id, asked, called)
        finally:
            db.close()
    except sqlite3.Error as error:
        raise JournalError(f"{path.name} could not be searched for a number: {error}") from error


def _search(db: sqlite3.Connection, journal_id: str, asked: NameNumbers, called: Callable[[str], str]) -> NumbersNamed:
    after = asked.after if asked.journal_id == journal_id else 0
    if not asked.digests:
        return NumbersNamed(journal_id=journal_id, upto=after)
    last = int(db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
    upto = min(last, after + SPAN)
    key, wanted, names, known = bytes.fromhex(asked.key), frozenset(asked.digests), dict[str, str](), set[str]()
    rows = db.execute("SELECT data FROM events WHERE seq > ? AND seq <= ?", (after, upto))
    for (data,) in rows:
        for number in _numbers(data):
            if number in known:
                continue
            known.add(number)
            if (one := digest(key, number)) in wanted:
                names[one] = called(number)
    return NumbersNamed(journal_id=journal_id, names=names, upto=max(upto, after), more=upto < last)


def _numbers(data: bytes) -> Iterator[str]:
    """As they are found where an event leaves (``pbx.domain.pseudonyms``): in each text by itself."""
    if b"\\" not in data:
        yield from (found[0] for found in NUMBER.finditer(data.decode()))
    else:
        yield from _within(json.loads(data))


def _within(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield from (found[0] for found in NUMBER.finditer(value))
        case dict():
            for item in value.values():
                yield from _within(item)
        case list():
            for item in value:
                yield from _within(item)
        case _:
            return
