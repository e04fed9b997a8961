"""What the journal keeps beside the events so that live calls are found again at once: which calls have begun and not
ended, and the configuration that the oldest of them began with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import groupby

from pbx.domain.events import CallbackDialled, CallEnded, CallPlaced, Event, LegOffered
from pbx.domain.ids import CallId
from pbx.ports.journal import LiveCall
from pbx.wire.codec import decode_event

SCHEMA = """
CREATE TABLE IF NOT EXISTS live_calls (call_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS config_past (
  n INTEGER PRIMARY KEY,
  until_seq INTEGER NOT NULL,
  key TEXT NOT NULL,
  entry BLOB
) STRICT;
"""

_BEGINS = frozenset((LegOffered.__name__, CallbackDialled.__name__, CallPlaced.__name__))
_ENDS = CallEnded.__name__
_OF_CALLS = ("did.", "flow.", "queue.")

# The events are read from the oldest live call on, not each call's by a search of all.
_EVENTS = """
SELECT e.call_id, l.seq, e.kind, e.data FROM events AS e CROSS JOIN live_calls AS l ON l.call_id = e.call_id
WHERE e.seq >= (SELECT min(seq) FROM live_calls) ORDER BY e.seq
"""


_OF_BEFORE = """
INSERT INTO live_calls SELECT call_id, min(seq) FROM events
WHERE kind IN ('LegOffered', 'CallbackDialled') AND call_id NOT IN
  (SELECT call_id FROM events WHERE kind = 'CallEnded' AND call_id IS NOT NULL)
GROUP BY call_id
"""


def begin(db: sqlite3.Connection) -> None:
    """Make the tables. In a journal of an older version the calls that nobody ended are found, once."""
    there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'live_calls'").fetchone()
    db.executescript(SCHEMA)
    if there is None:
        db.execute(_OF_BEFORE)
    sweep(db)


def note(db: sqlite3.Connection, rows: Iterable[tuple[int, str | None, str, float, bytes]]) -> None:
    """Within the transaction that writes these events."""
    for seq, call_id, kind, _, _ in rows:
        if kind in _BEGINS:
            db.execute("INSERT OR REPLACE INTO live_calls VALUES (?, ?)", (call_id, seq))
        elif kind == _ENDS:
            db.execute("DELETE FROM live_calls WHERE call_id = ?", (call_id,))


def calls(db: sqlite3.Connection) -> list[LiveCall]:
    """Every call that has begun and not ended, the oldest first. An event that cannot be read is None."""
    rows = sorted(db.execute(_EVENTS).fetchall(), key=lambda row: (row[1], row[0]))
    return [
        LiveCall(CallId(call_id), seq, [_event(kind, data) for _, _, kind, data in group])
        for (seq, call_id), group in groupby(rows, key=lambda row: (row[1], row[0]))
    ]


def _event(kind: str, data: bytes) -> Event | None:
    try:
        return decode_event(kind, data)
    except ValueError:  # of another version
        return None


def keep_config(db: sqlite3.Connection, key: str, entry: bytes | None, until_seq: int) -> None:
    """The entry of ``key`` is about to be set, or deleted: calls that began until now go by the former one."""
    if not key.startswith(_OF_CALLS):
        return
    former = db.execute("SELECT entry FROM config WHERE key = ?", (key,)).fetchone()
    if former != (entry,):
        row = (until_seq, key, None if former is None else former[0])
        db.execute("INSERT INTO config_past (until_seq, key, entry) VALUES (?, ?, ?)", row)


def changed_after(db: sqlite3.Connection, seq: int) -> int | None:
    found: int | None = db.execute("SELECT min(n) FROM config_past WHERE until_seq >= ?", (seq,)).fetchone()[0]
    return found


def former_config(db: sqlite3.Connection, change: int) -> dict[str, bytes | None]:
    """Of the keys that changed then or later what was in force before; None: nothing."""
    rows = db.execute("SELECT key, entry FROM config_past WHERE n >= ? ORDER BY n DESC", (change,))
    return dict(rows.fetchall())


def sweep(db: sqlite3.Connection) -> None:
    """Forget what no live call began with."""
    db.execute("DELETE FROM config_past WHERE until_seq < (SELECT coalesce(min(seq), 9e18) FROM live_calls)")
