"""The recordings' own keys, each wrapped under its region's key, and what was erased: a small SQLite file.

It lies apart from the sealed files, which hold no key. Deleted rows are overwritten (``secure_delete``) and the
write-ahead log is emptied into the file at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pbx.domain.ids import RecordingId
from pbx.ports.vault import Stored
from pbx.recording.region_keys import RegionKeys, Wrapped

BUSY_S = 10.0
KeyRow = tuple[str, str, bytes, int, bytes, int | None, int | None, str | None, str | None]
_COLUMNS = "recording_id, region, key_id, version, wrapped, duration_ms, size_bytes, sha256, key_name"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  recording_id TEXT PRIMARY KEY,
  region TEXT NOT NULL,
  key_id BLOB NOT NULL,
  version INTEGER NOT NULL,
  wrapped BLOB NOT NULL,
  duration_ms INTEGER,
  size_bytes INTEGER,
  sha256 TEXT,
  key_name TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (
  recording_id TEXT PRIMARY KEY,
  at REAL NOT NULL,
  swept INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unswept ON erased (recording_id) WHERE swept = 0;
"""


def _nobody(_recording_id: str) -> None:
    """Nobody has asked."""


class KeyStoreError(OSError):
    """The key store could not be read or written."""


@dataclass(frozen=True, slots=True)
class Entry:
    recording_id: RecordingId
    region: str
    key_id: bytes
    wrapped: Wrapped
    stored: Stored | None
    """None: its sealed file has not been verified yet."""
    key_name: str = ""
    """Of the key that it is wrapped under: the region's, or that of the region's minors. Empty: the region's."""

    @property
    def under(self) -> str:
        return self.key_name or self.region


class KeyStore:
    """May be used from any thread, and beside another process that has the file open. Everything raises
    KeyStoreError."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self.changed: Callable[[str], None] = _nobody
        """Called, from whatever thread, with each recording whose key has come, changed or gone."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            columns = {row[1] for row in self._db.execute("PRAGMA table_info(keys)")}
            if "key_name" not in columns:  # a store of an older version
                self._db.execute("ALTER TABLE keys ADD COLUMN key_name TEXT")
        except sqlite3.Error as error:
            raise KeyStoreError(f"{path.name} cannot be opened: {error}") from error

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _at_work(self, *, writing: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if writing:
                    self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                if writing:
                    self._db.execute("COMMIT")
                    # What is deleted must not lie on in the log; another reader may keep a page of it a moment longer.
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise KeyStoreError(f"{self._path.name} could not be used: {error}") from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def put(self, entry: Entry) -> bool:
        """A key that no file was sealed under yet, in place of one whose file was never verified; synced. False, and
        nothing is done, for a recording that was erased."""
        row = (entry.recording_id, entry.region, entry.key_id, entry.wrapped.version, entry.wrapped.sealed)
        with self._at_work(writing=True) as db:
            if db.execute("SELECT 1 FROM erased WHERE recording_id = ?", (entry.recording_id,)).fetchone():
                return False
            columns = "recording_id, region, key_id, version, wrapped"
            db.execute(f"INSERT OR REPLACE INTO keys ({columns}) VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608
        return True

    def verified(self, recording_id: RecordingId, key_id: bytes, stored: Stored) -> None:
        """The sealed file is on the disk and opens. Raises KeyStoreError when its key is here no longer."""
        values = (stored.duration_ms, stored.size_bytes, stored.sha256, recording_id, key_id)
        with self._at_work(writing=True) as db:
            assign = "UPDATE keys SET duration_ms = ?, size_bytes = ?, sha256 = ? WHERE recording_id = ? AND key_id = ?"
            if not db.execute(assign, values).rowcount:
                raise KeyStoreError("the recording's key was destroyed while it was sealed")
        self.changed(recording_id)

    def get(self, recording_id: RecordingId) -> Entry | None:
        with self._at_work() as db:
            if db.execute("SELECT 1 FROM erased WHERE recording_id = ?", (recording_id,)).fetchone():
                return None
            row = db.execute("SELECT * FROM keys WHERE recording_id = ?", (recording_id,)).fetchone()
        return None if row is None else _entry(row)

    def all(self, region: str) -> list[RecordingId]:
        """Those of a region whose files were verified, oldest first."""
        with self._at_work() as db:
            rows = db.execute(
                "SELECT recording_id FROM keys WHERE region = ? AND sha256 IS NOT NULL ORDER BY recording_id", (region,)
            ).fetchall()
        return [RecordingId(recording_id) for (recording_id,) in rows]

    def erase(self, erased: Collection[RecordingId], upto: int | None = None) -> int:
        """Destroy these keys, and remember that they were. How many there were. ``upto``: see ``erased_upto``."""
        if not erased and upto is None:
            return 0
        ids = [(recording_id,) for recording_id in erased]
        with self._at_work(writing=True) as db:
            there = db.executemany("DELETE FROM keys WHERE recording_id = ?", ids).rowcount
            known = [(recording_id, time.time()) for recording_id in erased]
            db.executemany("INSERT OR IGNORE INTO erased VALUES (?, ?, 0)", known)
            if there:
                db.executemany("UPDATE erased SET swept = 0 WHERE recording_id = ?", ids)
            if upto is not None:
                db.execute("INSERT OR REPLACE INTO facts VALUES ('erased_upto', ?)", (upto,))
        if there:
            for recording_id in erased:
                self.changed(recording_id)
        return there

    def rows(self) -> list[KeyRow]:
        """Of all whose files were verified, as they stand."""
        with self._at_work() as db:
            return db.execute(f"SELECT {_COLUMNS} FROM keys WHERE sha256 IS NOT NULL").fetchall()  # noqa: S608

    def row(self, recording_id: RecordingId) -> KeyRow | None:
        asked = f"SELECT {_COLUMNS} FROM keys WHERE recording_id = ? AND sha256 IS NOT NULL"  # noqa: S608
        with self._at_work() as db:
            found: KeyRow | None = db.execute(asked, (recording_id,)).fetchone()
        return found

    def put_row(self, row: KeyRow) -> None:
        """One that another host's store had, unless its recording was erased here."""
        with self._at_work(writing=True) as db:
            if db.execute("SELECT 1 FROM erased WHERE recording_id = ?", (row[0],)).fetchone() is None:
                db.execute(f"INSERT OR REPLACE INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608

    def is_erased(self, recording_id: RecordingId) -> bool:
        with self._at_work() as db:
            row = db.execute("SELECT 1 FROM erased WHERE recording_id = ?", (recording_id,)).fetchone()
        return row is not None

    def erased_upto(self) -> int:
        """How far the centre's list was gone through; it goes back with the file when that is restored."""
        with self._at_work() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'erased_upto'").fetchone()
        return 0 if row is None else int(row[0])

    def unswept(self) -> list[RecordingId]:
        """Erased ones whose files may still be there, of no use to anybody."""
        with self._at_work() as db:
            rows = db.execute("SELECT recording_id FROM erased WHERE swept = 0").fetchall()
        return [RecordingId(recording_id) for (recording_id,) in rows]

    def swept(self, recording_id: RecordingId) -> None:
        with self._at_work(writing=True) as db:
            db.execute("UPDATE erased SET swept = 1 WHERE recording_id = ?", (recording_id,))

    def wrapped_under(self, region: str, version: int) -> int:
        """How many keys are."""
        with self._at_work() as db:
            count: int = db.execute(
                "SELECT count(*) FROM keys WHERE coalesce(key_name, region) = ? AND version = ?", (region, version)
            ).fetchone()[0]
        return count

    def rewrap(self, keys: RegionKeys, region: str) -> int:
        """Wrap under the newest version what is wrapped under older ones; how many that were. Raises WrongKey, and
        nothing is changed, when one cannot be unwrapped."""
        newest = keys.newest(region)
        with self._at_work(writing=True) as db:
            asked = "SELECT * FROM keys WHERE coalesce(key_name, region) = ? AND version <> ?"
            entries = [_entry(row) for row in db.execute(asked, (region, newest)).fetchall()]
            rows = []
            for entry in entries:
                key = keys.unwrap(region, entry.recording_id, entry.key_id, entry.wrapped)
                again = keys.wrap(region, entry.recording_id, entry.key_id, key)
                rows.append((again.version, again.sealed, entry.recording_id))
            db.executemany("UPDATE keys SET version = ?, wrapped = ? WHERE recording_id = ?", rows)
        return len(rows)

    def move(self, entry: Entry, key_name: str, wrapped: Wrapped) -> None:
        """It is wrapped under another key. Raises KeyStoreError when its key is another by now, or gone."""
        values = (key_name, wrapped.version, wrapped.sealed, entry.recording_id, entry.key_id)
        with self._at_work(writing=True) as db:
            assign = "UPDATE keys SET key_name = ?, version = ?, wrapped = ? WHERE recording_id = ? AND key_id = ?"
            if not db.execute(assign, values).rowcount:
                raise KeyStoreError("the recording's key was destroyed while it was wrapped anew")
        self.changed(entry.recording_id)

    def copy_to(self, target: Path) -> None:
        """The whole store as it is now, in place of what ``target`` was: an older copy must not outlive an erasure."""
        part = target.with_name(target.name + ".part")
        part.unlink(missing_ok=True)
        with self._at_work() as db:
            db.execute("VACUUM INTO ?", (str(part),))
        part.chmod(0o600)
        part.rename(target)


def _entry(row: tuple[str, str, bytes, int, bytes, int | None, int | None, str | None, str | None]) -> Entry:
    recording_id, region, key_id, version, wrapped, duration_ms, size_bytes, sha256, key_name = row
    stored = None
    if duration_ms is not None and size_bytes is not None and sha256 is not None:
        stored = Stored(duration_ms, size_bytes, sha256)
    return Entry(RecordingId(recording_id), region, key_id, Wrapped(version, wrapped), stored, key_name or "")
