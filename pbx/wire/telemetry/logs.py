"""The log: text for a terminal, or one JSON object a line for programs.

A line has ``time`` (UTC, RFC 3339), ``level``, ``logger``, ``message`` and, where they are known, ``call_id``,
``pop_id``, ``error_id``, ``trace_id`` and ``exception``. A call is known after ``enter_call``, by ``extra``, or from a
message that says "call" and its id.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

import orjson

LogFormat = Literal["text", "json"]
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS = ("call_id", "pop_id", "error_id", "trace_id")

_CALL = re.compile(r"\bcall ([0-7][0-9A-HJKMNP-TV-Z]{25})\b")
_call: ContextVar[str | None] = ContextVar("call", default=None)

TraceOf = Callable[[str | None], str | None]
"""The id of the present trace, or of a call's, as hex; None where there is none."""


def enter_call(call_id: str) -> None:
    """What this task logs from here on is about a call."""
    _call.set(call_id)


class JsonFormatter(logging.Formatter):
    """``fixed``: fields of every line."""

    def __init__(self, fixed: Mapping[str, str], trace_of: TraceOf) -> None:
        super().__init__()
        self._fixed, self._trace_of = dict(fixed), trace_of

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {"time": at, "level": record.levelname, "logger": record.name, "message": message}
        line.update(self._fixed)
        line.update({name: value for name in FIELDS if (value := getattr(record, name, None)) is not None})
        call_id = getattr(record, "call_id", None) or _call.get() or _named(message)
        if call_id is not None:
            line["call_id"] = call_id
        if "trace_id" not in line and (trace_id := self._trace_of(call_id)) is not None:
            line["trace_id"] = trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def _named(message: str) -> str | None:
    found = _CALL.search(message)
    return None if found is None else found[1]


class LogCounts(logging.Handler):
    """How many lines of which level there were."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter({"warning": 0, "error": 0})

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.levelname.lower()] += 1


def set_up(level: str, form: LogFormat, fixed: Mapping[str, str], trace_of: TraceOf) -> LogCounts:
    """The root logger writes to stderr, in this form; what it wrote is counted."""
    writer = logging.StreamHandler()
    writer.setFormatter(logging.Formatter(TEXT) if form == "text" else JsonFormatter(fixed, trace_of))
    counts = LogCounts()
    logging.basicConfig(level=level, handlers=[writer, counts])
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # below that it tells of each request that sends traces
    return counts
