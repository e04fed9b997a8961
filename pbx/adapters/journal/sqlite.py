"""The journal in one SQLite file.

Appends of one turn of the event loop are committed together, in the loop, and under load those of ten milliseconds;
notes, on which nobody acts, go with the next append or wait 25 milliseconds:
with write-ahead logging and ``synchronous=NORMAL`` a commit is a write to the page cache (some 40 microseconds), it
survives the death of the process, and only a power cut can lose the last moments. The slow part, checkpointing with
its fsync, runs on a thread and a connection of its own, so that a slow disk never stops the calls.

What a full disk refuses is owed: whoever waits is told at once, and the events are written, before all later ones, as
soon as there is room. So every call gets its record, unless the process dies meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from pbx.adapters.journal import forgetting, history, lineage, live, naming
from pbx.adapters.journal.shadow import Shadow
from pbx.domain.callback_events import CLOSING, LEDGER
from pbx.domain.decisions import Remembered
from pbx.domain.errors import JournalError
from pbx.domain.events import AgentChanged, CallbackEvent, Event, RecordingErased
from pbx.domain.ids import AgentId, CallId, LegId, PopId, RecordingId, derive
from pbx.domain.kept_places import KeptPlace
from pbx.ports.journal import Forgot, JournalMeter, LiveCall
from pbx.wire import pair as wire
from pbx.wire.codec import decode_event, encode_event
from pbx.wire.messages import (
    ConfigEntry,
    EventEnvelope,
    ForgetNumber,
    NameNumbers,
    NumbersNamed,
)

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 2.0
COMMIT_EVERY_S = 0.010
"""The least time between two commits: one at a time they were a quarter of the controller's work at 70 calls/s, at five
milliseconds still an eighth."""
NOTE_WITHIN_S = 0.025
"""The longest that an event nobody acts on waits for a commit of its own."""
UNSENT_IN_MEMORY = 4096
"""As many of the newest rows the outbox takes from memory; a link that keeps up never reads the disk."""
SETTLE_EVERY_S = 5.0
"""How often what the events also say (the agents' last states) and how far they were sent goes to its own rows."""

OWED_AT_MOST = 100_000
"""Events that wait in memory for a disk that refuses (some 60 MB, minutes of a busy POP); later ones are lost, and an
alarm says so."""
TRY_AGAIN_S = 1.0
"""How often a disk that refused is asked again. Commits in between are refused at once."""

LAST_AGENT_KEPT_S = 365 * 86_400.0
"""Longer than that no queue remembers who served a caller last."""

_EVENTS_AND_REST = """
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY,
  call_id TEXT,
  kind TEXT NOT NULL,
  at REAL NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS erased ON events (seq) WHERE kind = 'RecordingErased';
CREATE TABLE IF NOT EXISTS config (key TEXT PRIMARY KEY, entry BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS config_history (
  n INTEGER PRIMARY KEY,
  after_seq INTEGER NOT NULL,
  at REAL NOT NULL,
  key TEXT,
  entry BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS agents (agent_id TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tenures (
  agent_id TEXT PRIMARY KEY,
  ours INTEGER NOT NULL,
  number INTEGER NOT NULL,
  claimant TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_agents (
  key TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL,
  at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS callbacks (
  seq INTEGER PRIMARY KEY,
  callback_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""

SCHEMA = _EVENTS_AND_REST + forgetting.SCHEMA + lineage.SCHEMA

_AGENT = msgspec.json.Decoder(AgentChanged)
_ERASED = msgspec.json.Decoder(RecordingErased)
_ENTRY = msgspec.json.Decoder(ConfigEntry)

Row = tuple[str | None, str, float, bytes]
Numbered = tuple[int, str | None, str, float, bytes]


def _nobody() -> None:
    """Nobody has asked to hear of commits."""


class SqliteJournal:
    """Implements ``pbx.ports.journal.Journal``. Not for use from more than one thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0", "foreign_keys=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(SCHEMA)
        live.begin(self._db)
        self._db.execute("DELETE FROM last_agents WHERE at < ?", (time.time() - LAST_AGENT_KEPT_S,))
        made = derive(time.time(), "journal", str(path), time.monotonic_ns())
        facts = (
            ("journal_id", made),
            ("sent", "0"),
            ("settled", "0"),
            ("again", "0"),
            ("secret", secrets.token_hex(32)),
        )
        self._db.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)
        self._sent = int(self._fact("sent"))
        again = self._fact("again")
        self._last: int = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        if lineage.take_over(self._db, self._last):
            log.warning("this host takes over: the journal is a copy of the other host's, up to event %d", self._last)
        self._lineage = lineage.read(self._db)
        self._journal_id = self._lineage[-1][1]
        self._sending = self._journal_id if again == "0" else f"{self._journal_id}.{again}"
        self.shadow = Shadow(self._behind)
        """What the standby of this host has of it, if there is one."""
        history.begin(self._db, self._last, self.config())
        self._pending: list[Row] = []
        self._newest: deque[Numbered] = deque(maxlen=UNSENT_IN_MEMORY)
        self._unsettled = self._changed_after(int(self._fact("settled")))
        self._unsettled_served: dict[str, Remembered] = {}
        self._callbacks: list[tuple[type[Event], str, bytes]] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._noted = 0
        self._owed: list[Row] = []
        self._owed_config: list[Callable[[], None]] = []
        self._try_again_at = -math.inf
        self._next_flush: asyncio.TimerHandle | None = None
        self._flushed_at = self._settled_at = -math.inf
        self._heard: Callable[[], None] = _nobody
        self._told: list[Callable[[CallId | None, Sequence[Event]], None]] = []
        self.meter = JournalMeter()
        self._stop = threading.Event()
        self._checkpointer = threading.Thread(target=self._checkpoint, name="journal-checkpoint", daemon=True)
        self._checkpointer.start()

    def _fact(self, name: str) -> str:
        value: str = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0]
        return value

    @property
    def journal_id(self) -> str:
        return self._journal_id

    def last_at(self) -> float | None:
        """The time of the newest event; None: there is none."""
        row = self._db.execute("SELECT at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    # --- events -------------------------------------------------------------------------------------------------

    @property
    def sending(self) -> str:
        return self._sending

    def on_written(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def on_events(self, told: Callable[[CallId | None, Sequence[Event]], None]) -> None:
        self._told.append(told)

    def append(self, call_id: CallId | None, events: Sequence[Event]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        self._take(call_id, events)
        if not self._waiters:
            # At once when it is quiet; together with what comes in the next moment when it is not.
            self._flush_at(loop, max(loop.time(), self._flushed_at + COMMIT_EVERY_S))
        done: asyncio.Future[None] = loop.create_future()
        self._waiters.append(done)
        return done

    def note(self, call_id: CallId | None, events: Sequence[Event]) -> None:
        if not self._pending:
            loop = asyncio.get_running_loop()
            self._flush_at(loop, loop.time() + NOTE_WITHIN_S)
        self._noted += self._take(call_id, events)

    def _take(self, call_id: CallId | None, events: Sequence[Event]) -> int:
        for told in self._told:
            told(call_id, events)
        before = len(self._pending)
        for event in events:
            data = encode_event(event)
            self._pending.append((call_id, type(event).__name__, event.at, data))
            if isinstance(event, AgentChanged):
                self._unsettled[event.agent_id] = data
            elif isinstance(event, CallbackEvent):
                self._callbacks.append((type(event), event.callback_id, data))
        return len(self._pending) - before

    def _flush_at(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._next_flush is not None:
            self._next_flush.cancel()
        self._next_flush = loop.call_at(when, self._flush_now, loop)

    def _flush_now(self, loop: asyncio.AbstractEventLoop) -> None:
        self._flushed_at = loop.time()
        self._flush()

    def _flush(self, *, closing: bool = False) -> None:
        rows, self._pending = [*self._owed, *self._pending] if self._owed else self._pending, []
        waiters, self._waiters = self._waiters, []
        noted, self._noted = self._noted, 0
        if self._owed and self._flushed_at < self._try_again_at and not closing:
            self._owe(rows, waiters, 0, f"{len(self._owed)} events before it wait for room")
            self._try_again_later()
            return
        numbered = [(seq, *row) for seq, row in enumerate(rows, self._last + 1)]
        began = time.perf_counter()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", numbered)
            live.note(self._db, numbered)
            for kind, callback_id, data in self._callbacks:
                self._keep_callback(kind, callback_id, data)
            settle = closing or self._flushed_at - self._settled_at >= SETTLE_EVERY_S
            if settle:
                self._settle(self._last + len(rows))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.meter.refused += 1
            self._try_again_at = self._flushed_at + TRY_AGAIN_S
            self._owe(rows, waiters, noted, str(error))
            if closing:
                log.error("ALARM %d events are lost: the disk refuses the journal to the end", len(rows))
            else:
                self._try_again_later()
            return
        self.meter.commits.observe(time.perf_counter() - began)
        if self._owed:
            log.warning("the journal is written again: %d events that waited are in it", len(self._owed))
            self._owed = []
        self._callbacks.clear()
        self._last += len(rows)
        if self._owed_config:
            self._write_owed_config()
        self._newest.extend(numbered)
        if settle:
            self._unsettled.clear()
            if self._unsettled_served:
                served = self._unsettled_served.values()
                self.shadow.told(wire.Served([(one.key, one.agent_id, one.at) for one in served]))
            self._unsettled_served.clear()
            self._settled_at = self._flushed_at
        self.shadow.committed(numbered, waiters)
        if settle:
            self.shadow.told(wire.Sent(self._sent))
        self._heard()

    def _behind(self) -> None:
        """The standby has more than before, or counts no more: there may be something to send."""
        self._heard()

    def _owe(self, rows: list[Row], waiters: list[asyncio.Future[None]], noted: int, why: str) -> None:
        """The disk refused: who waits is told, and the rows are written before all others when it does no more."""
        if (lost := len(rows) - OWED_AT_MOST) > 0:
            log.error("ALARM %d events are lost: the journal is refused for too long", lost)
        self._owed = rows[:OWED_AT_MOST]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(JournalError(f"{self._path.name} could not be written: {why}"))
        if noted:
            log.error("ALARM journal refused %d events that nobody waits for: %s", noted, why)

    def _try_again_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._flush_at(loop, max(loop.time(), self._try_again_at))

    def _settle(self, up_to_seq: int) -> None:
        """Within the transaction that writes event ``up_to_seq``: rows that say what events before it do."""
        self._db.executemany("INSERT OR REPLACE INTO agents VALUES (?, ?)", self._unsettled.items())
        if self._unsettled_served:
            served = self._unsettled_served.values()
            kept = [(one.key, one.agent_id, one.at) for one in served if one.agent_id is not None]
            self._db.executemany("INSERT OR REPLACE INTO last_agents VALUES (?, ?, ?)", kept)
            gone = [(one.key,) for one in served if one.agent_id is None]
            self._db.executemany("DELETE FROM last_agents WHERE key = ?", gone)
        facts = ((str(self._sent), "sent"), (str(up_to_seq), "settled"))
        self._db.executemany("UPDATE facts SET value = ? WHERE name = ?", facts)

    def _keep_callback(self, kind: type[Event], callback_id: str, data: bytes) -> None:
        """Within the transaction that writes the event: what a restart must know of the callbacks still owed."""
        if kind in CLOSING:
            self._db.execute("DELETE FROM callbacks WHERE callback_id = ?", (callback_id,))
        elif kind in LEDGER:
            row = (callback_id, kind.__name__, data)
            self._db.execute("INSERT INTO callbacks (callback_id, kind, data) VALUES (?, ?, ?)", row)

    def _changed_after(self, seq: int) -> dict[str, bytes]:
        rows = self._db.execute("SELECT data FROM events WHERE seq > ? AND kind = 'AgentChanged' ORDER BY seq", (seq,))
        return {_AGENT.decode(data).agent_id: data for (data,) in rows}

    def read_call(self, call_id: CallId) -> list[EventEnvelope]:
        if self._pending:
            self._flush()
        rows = self._db.execute("SELECT * FROM events WHERE call_id = ? ORDER BY seq", (call_id,))
        return [_envelope(row) for row in rows]

    def knows_leg(self, leg_id: LegId) -> bool:
        if self._pending:
            self._flush()
        return live.knows_leg(self._db, leg_id)

    def live_calls(self) -> list[LiveCall]:
        return live.calls(self._db)

    def changed_after(self, seq: int) -> int | None:
        return live.changed_after(self._db, seq)

    def config_before(self, change: int) -> dict[str, ConfigEntry]:
        now: dict[str, bytes | None] = dict(self._db.execute("SELECT key, entry FROM config").fetchall())
        return self._read_config((now | live.former_config(self._db, change)).items())

    def call_of_recording(self, recording_id: RecordingId) -> CallId | None:
        found = "kind IN ('RecordingStarted', 'RecordingEnded') AND instr(CAST(data AS TEXT), ?)"
        row = self._db.execute(f"SELECT call_id FROM events WHERE {found} LIMIT 1", (recording_id,)).fetchone()  # noqa: S608
        return None if row is None else CallId(row[0])

    def erased_recordings(self) -> list[RecordingId]:
        rows = self._db.execute("SELECT data FROM events WHERE kind = 'RecordingErased' ORDER BY seq")
        return [_ERASED.decode(data).recording_id for (data,) in rows]

    async def forget(self, asked: ForgetNumber, called: Callable[[str], str] | None = None) -> Forgot:
        if self._pending:
            self._flush()
        found = await asyncio.to_thread(forgetting.run, self._path, asked, called)
        self._newest.clear()  # what is not sent yet is read anew, as it is now
        self.shadow.told(wire.Forgotten(msgspec.json.encode(asked)))
        return found

    async def name(self, asked: NameNumbers, called: Callable[[str], str]) -> NumbersNamed:
        if self._pending:
            self._flush()
        return await asyncio.to_thread(naming.run, self._path, self.journal_id, asked, called)

    def agents(self) -> list[AgentChanged]:
        """The last known status and state of every agent that ever changed."""
        known: dict[str, bytes] = dict(self._db.execute("SELECT agent_id, data FROM agents").fetchall())
        return [_AGENT.decode(data) for data in (known | self._unsettled).values()]

    def keep_tenure(self, agent_id: AgentId, ours: bool, number: int, claimant: PopId) -> None:
        try:
            self._db.execute("INSERT OR REPLACE INTO tenures VALUES (?, ?, ?, ?)", (agent_id, ours, number, claimant))
        except sqlite3.Error as error:
            raise JournalError(f"{self._path.name} could not be written: {error}") from error
        self.shadow.told(wire.TenureKept(agent_id, ours, number, claimant))

    def tenures(self) -> list[tuple[AgentId, bool, int, PopId]]:
        rows = self._db.execute("SELECT agent_id, ours, number, claimant FROM tenures")
        return [(AgentId(agent), bool(ours), number, PopId(claimant)) for agent, ours, number, claimant in rows]

    # --- last agents ------------------------------------------------------------------------------------------------

    def secret(self) -> bytes:
        return bytes.fromhex(self._fact("secret"))

    def remember(self, served: Remembered) -> None:
        self._unsettled_served[served.key] = served

    def remembered(self) -> list[Remembered]:
        rows = self._db.execute("SELECT key, agent_id, at FROM last_agents ORDER BY at")
        return [Remembered(key, AgentId(agent_id), at) for key, agent_id, at in rows]

    def kept_places(self, since: float) -> list[KeptPlace]:
        return live.kept_places(self._db, since)

    def callbacks(self) -> list[CallbackEvent]:
        rows = self._db.execute("SELECT kind, data FROM callbacks ORDER BY seq")
        events = (decode_event(kind, data) for kind, data in rows)
        return [event for event in events if isinstance(event, CallbackEvent)]

    # --- outbox -------------------------------------------------------------------------------------------------

    def unsent(self, limit: int) -> list[EventEnvelope]:
        newest, after = self._newest, self._sent
        # Nothing that the standby does not have, and nothing of two identities at once.
        border = lineage.border_after(self._lineage, after + 1)
        limit = min(limit, self.shadow.upto(self._last) - after, limit if border is None else border - after - 1)
        if limit <= 0:
            return []
        while newest and newest[0][0] <= after:
            newest.popleft()
        if newest and newest[0][0] == after + 1:
            return [_envelope(row) for row in islice(newest, limit)]
        rows = self._db.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (self._sent, limit))
        return [_envelope(row) for row in rows]

    def mark_sent(self, up_to_seq: int) -> None:
        """On disk within 5 s of events: what a crash sends again, the centre knows by its number."""
        self._sent = max(self._sent, up_to_seq)

    def origin(self, seq: int) -> str:
        return lineage.identity_of(self._lineage, seq)

    def unsent_count(self) -> int:
        return self._last - self._sent

    def writable(self) -> bool:
        try:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('tried', ?)", (str(time.time()),))
        except sqlite3.Error:
            return False
        return True

    # --- configuration ------------------------------------------------------------------------------------------

    def note_config(self, at: float, key: str, entry: ConfigEntry | None) -> None:
        after = self._last + len(self._owed) + len(self._pending)
        self._write_config(lambda: history.note(self._db, after, at, key, entry))

    def put_config(self, key: str, entry: ConfigEntry) -> None:
        data, after = msgspec.json.encode(entry), self._last + len(self._owed) + len(self._pending)

        def write() -> None:
            live.keep_config(self._db, key, data, after)
            self._db.execute("INSERT OR REPLACE INTO config VALUES (?, ?)", (key, data))

        self._write_config(write)
        self.shadow.told(wire.ConfigKept(key, data))

    def delete_config(self, key: str) -> None:
        after = self._last + len(self._owed) + len(self._pending)

        def write() -> None:
            live.keep_config(self._db, key, None, after)
            self._db.execute("DELETE FROM config WHERE key = ?", (key,))

        self._write_config(write)
        self.shadow.told(wire.ConfigKept(key, None))

    def _write_config(self, write: Callable[[], None]) -> None:
        """Now; or, where the disk refuses, after those that it has refused before. The change is in force meanwhile."""
        self._owed_config.append(write)
        if len(self._owed_config) == 1 and not self._write_owed_config():
            log.error(
                "ALARM the disk refused a change of the configuration; it is in force, and written when there is room"
            )

    def _write_owed_config(self) -> bool:
        while self._owed_config:
            try:
                self._owed_config[0]()
            except sqlite3.Error:
                self._try_again_at = asyncio.get_running_loop().time() + TRY_AGAIN_S
                self._try_again_later()
                return False
            del self._owed_config[0]
        return True

    def config(self) -> dict[str, ConfigEntry]:
        """An entry that cannot be read (written by another version) is left out and named in the log."""
        return self._read_config(self._db.execute("SELECT key, entry FROM config ORDER BY key").fetchall())

    @staticmethod
    def _read_config(rows: Iterable[tuple[str, bytes | None]]) -> dict[str, ConfigEntry]:
        found: dict[str, ConfigEntry] = {}
        for key, data in rows:
            if data is None:
                continue
            try:
                found[key] = _ENTRY.decode(data)
            except msgspec.ValidationError as error:
                log.error("configuration %s on this disk cannot be read (%s); it waits for the centre", key, error)
        return found

    # --- for the standby --------------------------------------------------------------------------------------------

    @property
    def lineage(self) -> wire.Lineage:
        return self._lineage

    @property
    def last(self) -> int:
        return self._last

    def rows_after(self, seq: int, limit: int) -> list[wire.Row]:
        return self._db.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)).fetchall()

    def tables(self) -> wire.Tables:
        """What memory still holds of them goes along."""
        kept = self._db.execute("SELECT key, agent_id, at FROM last_agents")
        served: dict[str, tuple[str, str, float]] = {row[0]: row for row in kept}
        for key, one in self._unsettled_served.items():
            served.pop(key, None)
            if one.agent_id is not None:
                served[key] = (key, one.agent_id, one.at)
        tenures = self._db.execute("SELECT agent_id, ours, number, claimant FROM tenures")
        return wire.Tables(
            self._lineage,
            self._sent,
            dict(self._db.execute("SELECT key, entry FROM config").fetchall()),
            [(agent_id, bool(ours), number, claimant) for agent_id, ours, number, claimant in tenures],
            list(served.values()),
        )

    def write_copy(self, target: Path) -> None:
        try:
            source, copied = sqlite3.connect(self._path), sqlite3.connect(target)
            try:
                source.backup(copied)
            finally:
                copied.close()
                source.close()
        except sqlite3.Error as error:
            raise JournalError(f"{self._path.name} could not be copied: {error}") from error

    # --- housekeeping -------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        """PASSIVE never waits for the writer and never makes it wait."""
        db = sqlite3.connect(self._path, isolation_level=None)
        try:
            while not self._stop.wait(CHECKPOINT_EVERY_S):
                try:
                    db.execute("PRAGMA wal_checkpoint(PASSIVE)")
                except sqlite3.Error as error:
                    log.error("journal checkpoint failed: %s", error)
        finally:
            db.close()

    def close(self) -> None:
        if self._next_flush is not None:
            self._next_flush.cancel()
        self._flush(closing=True)
        self.shadow.alone()
        self._stop.set()
        self._checkpointer.join(timeout=10)
        self._db.close()


def _envelope(row: Numbered) -> EventEnvelope:
    seq, call_id, kind, at, data = row
    return EventEnvelope(seq=seq, call_id=call_id, kind=kind, at=at, data=msgspec.Raw(data))
