"""Sending again what the centre has acknowledged, for a centre whose database came back from a backup."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pbx.domain.errors import BadValue

_MARK = """
UPDATE facts SET value = (SELECT coalesce(min(seq) - 1, :sent) FROM events WHERE at >= :since AND seq <= :sent)
WHERE name = 'sent'
"""


def send_again(path: Path, since: float) -> int:
    """Let the outbox begin anew with the first event that happened at ``since`` (UTC, seconds since 1970) or later; the
    centre passes over what it has. The number of events that it will send again.

    Raises BadValue: there is no journal, or its controller runs and would go on where it is."""
    if not path.is_file():
        raise BadValue("journal", "there is none: name the controller's journal.sqlite")
    db = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        # An open journal is shared by whoever writes it: alone here means that no controller runs.
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")
        [before] = db.execute("SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'sent'").fetchone()
        db.execute(_MARK, {"sent": before, "since": since})
        [after] = db.execute("SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'sent'").fetchone()
        if after < before:
            db.execute("INSERT OR IGNORE INTO facts VALUES ('again', '0')")
            db.execute("UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'again'")
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise BadValue("journal", f"{error}: stop the controller first, and be a user that may write it") from error
    finally:
        db.close()
    return int(before - after)
