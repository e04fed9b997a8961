"""What the centre configured when, as far as routing reads it: for a replay."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

import msgspec

from pbx.wire.messages import AgentConfig, ConfigEntry, QueueConfig

_HISTORY = "INSERT INTO config_history (after_seq, at, key, entry) VALUES (?, ?, ?, ?)"


def for_routing(entry: ConfigEntry) -> bytes | None:
    """What a replay of routing needs of an entry; None where that is nothing."""
    match entry.entity:
        case AgentConfig() as agent:
            return msgspec.json.encode(msgspec.structs.replace(agent, name="", ha1=""))
        case QueueConfig() as queue:
            return msgspec.json.encode(queue)
        case _:
            return None


def begin(db: sqlite3.Connection, after_seq: int, config: Mapping[str, ConfigEntry]) -> None:
    """A row without a key says that a controller started, with what the rows before it left in force."""
    last = "SELECT key, entry, max(n) FROM config_history WHERE key IS NOT NULL GROUP BY key"
    kept = {key: data for key, data, _ in db.execute(last)}
    now = {key: for_routing(entry) for key, entry in config.items()}
    changed: list[tuple[str | None, bytes | None]] = [
        (key, data) for key, data in now.items() if data is not None and kept.get(key) != data
    ]
    changed += [(key, None) for key, data in kept.items() if data is not None and now.get(key) is None]
    at = time.time()
    rows = [(after_seq, at, key, data) for key, data in (*changed, (None, None))]
    db.executemany(_HISTORY, rows)


def note(db: sqlite3.Connection, after_seq: int, at: float, key: str, entry: ConfigEntry | None) -> None:
    """``entry``: None when the centre deleted it."""
    data = None if entry is None else for_routing(entry)
    if data is not None or (entry is None and key.startswith(("queue.", "agent."))):
        db.execute(_HISTORY, (after_seq, at, key, data))
