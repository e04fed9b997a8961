"""What the journal keeps beside the events so that live calls are found again at once: which calls have begun and not
ended, and the configuration that the oldest of them began with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import groupby

from pbx.domain.events import CallbackDialled, CallEnded, CallPlaced, Event, LegOffered, PlaceKept
from pbx.domain.ids import CallId, LegId
from pbx.domain.kept_places import KeptPlace
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
CREATE TABLE IF NOT EXISTS kept_places (
  seq INTEGER PRIMARY KEY,
  begun_seq INTEGER NOT NULL,
  at REAL NOT NULL
) STRICT;
"""

_BEGINS = frozenset((LegOffered.__name__, CallbackDialled.__name__, CallPlaced.__name__))
_ENDS = CallEnded.__name__
_KEPT = PlaceKept.__name__
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
    for seq, call_id, kind, at, _ in rows:
        if kind in _BEGINS:
            db.execute("INSERT OR REPLACE INTO live_calls VALUES (?, ?)", (call_id, seq))
        elif kind == _ENDS:
            db.execute("DELETE FROM live_calls WHERE call_id = ?", (call_id,))
        elif kind == _KEPT:
            begun = "SELECT ?, seq, ? FROM live_calls WHERE call_id = ?"
            db.execute(f"INSERT OR REPLACE INTO kept_places {begun}", (seq, at, call_id))


def knows_leg(db: sqlite3.Connection, leg_id: LegId) -> bool:
    """See ``Journal.knows_leg``."""
    legs = "CAST(data AS TEXT) ->> 'leg_id', CAST(data AS TEXT) ->> 'phone_leg'"
    found = f"SELECT 1 FROM events WHERE kind IN ('LegOffered', 'CallPlaced') AND ? IN ({legs}) LIMIT 1"  # noqa: S608
    return db.execute(found, (leg_id,)).fetchone() is not None


def kept_places(db: sqlite3.Connection, since: float) -> list[KeptPlace]:
    """See ``Journal.kept_places``. Of calls whose caller is known still: numbers can be forgotten."""
    db.execute("DELETE FROM kept_places WHERE at < ?", (since,))
    rows = db.execute(
        "SELECT k.kind, k.data, b.kind, b.data FROM kept_places AS p"
        " JOIN events AS k ON k.seq = p.seq JOIN events AS b ON b.seq = p.begun_seq ORDER BY p.seq"
    )
    places = []
    for kept_kind, kept_data, begun_kind, begun_data in rows.fetchall():
        kept, begun = _event(kept_kind, kept_data), _event(begun_kind, begun_data)
        if isinstance(kept, PlaceKept) and isinstance(begun, LegOffered) and begun.cli.number is not None:
            places.append(KeptPlace(kept.queue_id, begun.cli.number, kept.entered_at, kept.at))
    return places


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
