"""Under which identity a journal's events are told to the centre, and how it changes hands.

A journal has an identity of its own, and the centre knows an event by it and the event's number. A standby that takes
over from its copy cannot know whether the former one has told the centre of events that it does not have; so what it
writes goes under a new identity, and no number can ever mean two events.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from itertools import takewhile

from pbx.domain.ids import derive, time_of
from pbx.wire.pair import Lineage

SCHEMA = """
CREATE TABLE IF NOT EXISTS incarnations (from_seq INTEGER PRIMARY KEY, journal_id TEXT NOT NULL) STRICT;
"""
_COPY = "copy"


def read(db: sqlite3.Connection) -> Lineage:
    """Empty for a file that no journal has begun."""
    first = db.execute("SELECT 1, value FROM facts WHERE name = 'journal_id'").fetchall()
    rows = [*first, *db.execute("SELECT from_seq, journal_id FROM incarnations ORDER BY from_seq")]
    return [(int(seq), str(journal_id)) for seq, journal_id in rows]


def write(db: sqlite3.Connection, lineage: Lineage) -> None:
    """Within a transaction of the standby's."""
    [(_, first), *later] = lineage
    db.execute("INSERT OR REPLACE INTO facts VALUES ('journal_id', ?)", (first,))
    db.execute("DELETE FROM incarnations")
    db.executemany("INSERT INTO incarnations VALUES (?, ?)", later)


def mark_copy(db: sqlite3.Connection) -> None:
    """Whoever opens the file as a journal from now on takes over from another host."""
    db.execute(f"INSERT OR REPLACE INTO facts VALUES ('{_COPY}', '1')")  # noqa: S608  # a constant


def take_over(db: sqlite3.Connection, last: int) -> bool:
    """Begin a new identity if this file is a copy; whether it is. Sorted behind the former ones, as the centre reads
    the events of one call, whatever this host's clock says."""
    is_copy = db.execute("SELECT 1 FROM facts WHERE name = ? AND value = '1'", (_COPY,)).fetchone() is not None
    if is_copy:
        later = max(time.time(), *(time_of(journal_id) + 0.001 for _, journal_id in read(db)))
        made = derive(later, "takeover", secrets.token_hex(8))
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT OR REPLACE INTO incarnations VALUES (?, ?)", (last + 1, made))
        db.execute("UPDATE facts SET value = '0' WHERE name = ?", (_COPY,))
        db.execute("COMMIT")
    return is_copy


def identity_of(lineage: Lineage, seq: int) -> str:
    return [journal_id for from_seq, journal_id in lineage if from_seq <= seq][-1]


def border_after(lineage: Lineage, seq: int) -> int | None:
    """The first number after ``seq`` that goes under another identity."""
    return next((from_seq for from_seq, _ in lineage if from_seq > seq), None)


def fits(ours: Lineage, last: int, theirs: Lineage, their_last: int) -> bool:
    """Whether a copy of lineage ``theirs``, up to ``their_last``, is a beginning of our journal up to ``last``."""
    if not theirs or ours[0] != theirs[0]:
        return False
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False))))
    borders = [lineage[common][0] for lineage in (ours, theirs) if len(lineage) > common]
    return their_last <= last and all(their_last < border for border in borders)


def is_ahead(ours: Lineage, theirs: Lineage, their_last: int) -> bool:
    """Whether ``theirs`` took over from ours, and has written since: ours is the stale one."""
    return len(theirs) > len(ours) and theirs[: len(ours)] == ours and their_last >= theirs[len(ours)][0]
