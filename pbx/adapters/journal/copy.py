"""The standby's copy of the active host's journal: a journal's file in all, which nobody writes to but what is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pbx.adapters.journal import forgetting, lineage, live
from pbx.adapters.journal.sqlite import SCHEMA
from pbx.domain.callback_events import CLOSING, LEDGER
from pbx.domain.errors import JournalError
from pbx.domain.events import BY_NAME, AgentChanged, CallbackEvent
from pbx.wire import pair as wire
from pbx.wire.messages import ForgetNumber

_CALLBACK = {name for name, kind in BY_NAME.items() if issubclass(kind, CallbackEvent)}
_OPENS, _CLOSES = {kind.__name__ for kind in LEDGER}, {kind.__name__ for kind in CLOSING}


class JournalCopy:
    """Implements ``pbx.ports.pair.JournalTarget``."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None)
        self._path.chmod(0o600)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(SCHEMA + live.SCHEMA)
        return db

    @property
    def lineage(self) -> wire.Lineage:
        return lineage.read(self._db)

    @property
    def last(self) -> int:
        found: int = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        return found

    def replace(self, whole: Path) -> Path | None:
        held = self.last
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()
            aside = None
            if held:
                aside = self._path.with_name(f"set-aside-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.sqlite")
                self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            whole.rename(self._path)
            self._db = self._open()
            lineage.mark_copy(self._db)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self._path.name} could not be replaced: {error}") from error
        return aside

    @contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(f"{self._path.name} could not be written: {error}") from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def apply(self, message: wire.Message) -> None:
        if isinstance(message, wire.Forgotten):
            # What a number is called outside is worked out by whoever is asked: the centre asks the active host again.
            forgetting.run(self._path, msgspec.json.decode(message.asked, type=ForgetNumber))
            return
        with self._at_once() as db:
            match message:
                case wire.Rows(rows=rows):
                    self._rows(db, rows)
                case wire.Tables():
                    self._tables(db, message)
                case wire.Sent(seq=seq):
                    db.execute("UPDATE facts SET value = ? WHERE name = 'sent'", (str(seq),))
                case wire.ConfigKept(key=key, entry=None):
                    db.execute("DELETE FROM config WHERE key = ?", (key,))
                case wire.ConfigKept(key=key, entry=entry):
                    db.execute("INSERT OR REPLACE INTO config VALUES (?, ?)", (key, entry))
                case wire.TenureKept(agent_id=agent_id, ours=ours, number=number, claimant=claimant):
                    db.execute("INSERT OR REPLACE INTO tenures VALUES (?, ?, ?, ?)", (agent_id, ours, number, claimant))
                case wire.Served(callers=callers):
                    kept = [caller for caller in callers if caller[1] is not None]
                    db.executemany("INSERT OR REPLACE INTO last_agents VALUES (?, ?, ?)", kept)
                    gone = [(key,) for key, agent_id, _ in callers if agent_id is None]
                    db.executemany("DELETE FROM last_agents WHERE key = ?", gone)
                case _:
                    raise JournalError(f"{type(message).__name__} is nothing of the journal's")

    @staticmethod
    def _tables(db: sqlite3.Connection, tables: wire.Tables) -> None:
        lineage.write(db, tables.lineage)
        lineage.mark_copy(db)
        db.execute("UPDATE facts SET value = ? WHERE name = 'sent'", (str(tables.sent),))
        for table in ("config", "tenures", "last_agents"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608  # of ours
        # Agents' states that the former writer had in its events only.
        [settled] = db.execute("SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'settled'").fetchone()
        changed = "SELECT data FROM events WHERE seq > ? AND kind = 'AgentChanged' ORDER BY seq"
        for (data,) in db.execute(changed, (settled,)).fetchall():
            _agent(db, data)
        db.execute("UPDATE facts SET value = (SELECT coalesce(max(seq), 0) FROM events) WHERE name = 'settled'")
        db.executemany("INSERT INTO config VALUES (?, ?)", tables.config.items())
        db.executemany("INSERT INTO tenures VALUES (?, ?, ?, ?)", tables.tenures)
        db.executemany("INSERT INTO last_agents VALUES (?, ?, ?)", tables.last_agents)

    @staticmethod
    def _rows(db: sqlite3.Connection, rows: Sequence[wire.Row]) -> None:
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        live.note(db, rows)
        for _, _, kind, _, data in rows:
            if kind == AgentChanged.__name__:
                _agent(db, data)
            elif kind in _CALLBACK:
                callback_id = msgspec.json.decode(data)["callback_id"]
                if kind in _CLOSES:
                    db.execute("DELETE FROM callbacks WHERE callback_id = ?", (callback_id,))
                elif kind in _OPENS:
                    kept = (callback_id, kind, data)
                    db.execute("INSERT INTO callbacks (callback_id, kind, data) VALUES (?, ?, ?)", kept)
        db.execute("UPDATE facts SET value = ? WHERE name = 'settled'", (str(rows[-1][0]),))

    def close(self) -> None:
        self._db.close()


def _agent(db: sqlite3.Connection, data: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO agents VALUES (?, ?)", (msgspec.json.decode(data)["agent_id"], data))
