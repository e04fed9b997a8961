"""Where the machine's PostgreSQL is."""

from __future__ import annotations

from pathlib import Path


def binaries() -> Path:
    """The directory of the newest server's programs. Raises LookupError, which says what to install."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise LookupError("PostgreSQL is not installed: apt install postgresql")
    return found[-1].parent
