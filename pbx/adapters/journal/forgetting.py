"""A number taken out of a journal's file, beside the controller that writes to it: on a connection of its own, in a
thread, a few rows at a time, so that no call waits for it.

Which calls were with the person is noted first, by their ids: whoever dies in the middle, and asks again, would not see
it any more in facts that have been changed.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pbx.domain.callback_events import CallbackRequested
from pbx.domain.errors import JournalError
from pbx.domain.forgetting import Forgotten, caller_of, cleared, forget
from pbx.domain.ids import CallId
from pbx.ports.journal import Forgot
from pbx.wire.messages import ForgetNumber

PAGE = 2000
"""Events that are read at a time, and at most changed in one transaction."""
BUSY_S = 10.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS forgotten (
  erasure_id TEXT NOT NULL,
  call_id TEXT NOT NULL,
  PRIMARY KEY (erasure_id, call_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten_names (
  erasure_id TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (erasure_id, name)
) STRICT, WITHOUT ROWID;
"""
_DIGITS = re.compile(rb"[0-9]{6,}")
_CALLERS = "kind IN ('LegOffered', 'CallbackDialled', 'CallPlaced')"


def run(path: Path, asked: ForgetNumber, called: Callable[[str], str] | None = None) -> Forgot:
    """Blocking. Raises JournalError."""
    try:
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            db.execute("PRAGMA secure_delete=ON")
            return _Search(db, asked, called).run()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise JournalError(f"{path.name} could not be cleared of a number: {error}") from error


class _Search:
    def __init__(self, db: sqlite3.Connection, asked: ForgetNumber, called: Callable[[str], str] | None) -> None:
        self._db, self._asked, self._called = db, asked, called
        self._numbers: set[str] = set()
        self._is_one = Forgotten(bytes.fromhex(asked.key), asked.digests)
        self._only = None if asked.call_ids is None else frozenset(asked.call_ids)
        self._spared = frozenset(asked.spared)
        self._whole = frozenset(asked.call_ids or ()) if asked.whole else frozenset[str]()
        self._callbacks = frozenset(asked.callback_ids)
        self._live = {row[0] for row in db.execute("SELECT call_id FROM live_calls")}
        self._waiting: dict[CallId, None] = {}

    def run(self) -> Forgot:
        personal = self._personal()
        events = 0
        for rows in self._pages(""):
            changed = [(new, seq) for seq, *row in rows if (new := self._changed(personal, *row)) is not None]
            self._note_names()
            self._write("UPDATE events SET data = ? WHERE seq = ?", changed)
            events += len(changed)
        # What was overwritten must not lie on in the log of the writes before.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        names = self._db.execute("SELECT name FROM forgotten_names WHERE erasure_id = ?", (self._asked.erasure_id,))
        called = sorted(name for (name,) in names)
        return Forgot(events, sorted(personal), list(self._waiting), frozenset(self._numbers), called)

    def _note_names(self) -> None:
        """Before the numbers go: nobody could work them out afterwards."""
        if self._called is not None:
            names = [(self._asked.erasure_id, self._called(number)) for number in sorted(self._numbers)]
            self._write("INSERT OR IGNORE INTO forgotten_names VALUES (?, ?)", names)

    def _forgotten(self, number: str) -> bool:
        if found := self._is_one(number):
            self._numbers.add(number)
        return found

    def _concerns(self, call_id: str | None) -> bool:
        return call_id not in self._spared and (self._only is None or call_id in self._only)

    def _personal(self) -> set[CallId]:
        found = []
        for rows in self._pages(f"AND {_CALLERS}"):
            for _, call_id, kind, at, data in rows:
                if call_id is None or at > self._asked.before or not self._concerns(call_id):
                    continue
                number = caller_of(kind, json.loads(data))
                if number is not None and self._forgotten(number):
                    found.append((self._asked.erasure_id, call_id))
        self._write("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", found)
        noted = self._db.execute("SELECT call_id FROM forgotten WHERE erasure_id = ?", (self._asked.erasure_id,))
        return {CallId(call_id) for (call_id,) in noted if call_id not in self._spared}

    def _changed(self, personal: set[CallId], call_id: str | None, kind: str, at: float, data: bytes) -> bytes | None:
        """What is to stand there instead; None: nothing else."""
        if call_id is None and self._callbacks:
            return self._of_callback(kind, data)
        if not self._concerns(call_id):
            return None
        if call_id in self._whole:
            return None if call_id in self._live else cleared(kind, data, self._forgotten)
        call = None if call_id is None else CallId(call_id)
        with_person = call in personal
        # A late fact of a call that began in time belongs to it.
        if not with_person and (at > self._asked.before or not _DIGITS.search(data)):
            return None
        new = forget(kind, data, self._forgotten, personal=with_person)
        if new is not None and call is not None and call in self._live:
            self._waiting[call] = None
            return None
        return new

    def _of_callback(self, kind: str, data: bytes) -> bytes | None:
        if kind == CallbackRequested.__name__ and json.loads(data)["callback_id"] in self._callbacks:
            return cleared(kind, data, self._forgotten)
        return None

    def _pages(self, condition: str) -> Iterable[list[tuple[Any, ...]]]:
        after, last = 0, int(self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
        page = f"SELECT seq, call_id, kind, at, data FROM events WHERE seq > ? AND seq <= ? {condition} ORDER BY seq"  # noqa: S608  # of ours
        while after < last:
            rows = self._db.execute(f"{page} LIMIT ?", (after, last, PAGE)).fetchall()
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    def _write(self, statement: str, rows: list[Any]) -> None:
        if rows:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
