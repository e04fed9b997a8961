"""Errors and waiting, used by every part of the lab."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

POLL_S = 0.02
T = TypeVar("T")


class LabError(Exception):
    """The lab could not do what was asked; the text says what, and what the programs logged."""


class LabTimeoutError(LabError):
    """A condition did not come true before its deadline."""


def log_tail(path: Path, lines: int = 25) -> str:
    """Last `lines` lines of a log file, headed by its path; says so when there is no such file."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return f"--- {path}: no such log"
    tail = text.splitlines()[-lines:]
    return "\n".join([f"--- {path} (last {len(tail)} lines)", *tail])


def wait_until(
    predicate: Callable[[], T | None],
    deadline_s: float,
    what: str,
    logs: Callable[[], str] | None = None,
) -> T:
    """Return the first true value of `predicate`, asked every 20 ms.

    Raises `LabTimeoutError`, naming `what` and with the text of `logs()`, after `deadline_s` seconds.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            tail = f"\n{logs()}" if logs is not None else ""
            raise LabTimeoutError(f"not within {deadline_s:g} s: {what}{tail}")
        time.sleep(POLL_S)
