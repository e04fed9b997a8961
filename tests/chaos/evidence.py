"""Puts together what the checker reads: the journal's rows, the centre's tables, SIP from captures, files on disk."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tests.chaos.checker import Dialog, Event

_ETHERNET, _IPV4, _UDP = 14, 0x0800, 17
_USER = re.compile(rb"sips?:([^@;>]+)@")


def journal(path: Path) -> list[Event]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT seq, call_id, kind, at, data FROM events ORDER BY seq").fetchall()
    return [
        {**json.loads(data), "seq": seq, "call": call, "kind": kind, "at": at} for seq, call, kind, at, data in rows
    ]


def of_callers(events: list[Event], prefixes: tuple[str, ...], since: int) -> list[Event]:
    """What of the journal after ``since`` is of calls of callers with such numbers, or of no call."""
    calls = {
        event["call"]
        for event in events
        if event["seq"] > since
        and event["kind"] == "LegOffered"
        and str(event["cli"].get("number") or "").startswith(prefixes)
    }
    return [event for event in events if event["seq"] > since and (event["call"] is None or event["call"] in calls)]


@dataclass(frozen=True, slots=True)
class _Message:
    at: float
    source: str
    target: str
    first: bytes
    headers: dict[bytes, bytes]


def _messages(path: Path) -> Iterator[_Message]:
    """SIP over UDP in a capture of tcpdump (pcap, microseconds, Ethernet)."""
    data, at = path.read_bytes(), 24
    while at + 16 <= len(data):
        seconds, micro, length = struct.unpack_from("<III", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if len(frame) < _ETHERNET + 28 or struct.unpack_from("!H", frame, 12)[0] != _IPV4 or frame[23] != _UDP:
            continue
        ip = frame[_ETHERNET:]
        payload = ip[(ip[0] & 15) * 4 + 8 :]
        head = payload.partition(b"\r\n\r\n")[0].split(b"\r\n")
        if b"SIP/2.0" not in head[0]:
            continue
        pairs = (line.partition(b":") for line in head[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        source, target = (".".join(map(str, ip[begin : begin + 4])) for begin in (12, 16))
        yield _Message(seconds + micro / 1e6, source, target, head[0], headers)


def _user(text: bytes) -> str:
    found = _USER.search(text)
    return found[1].decode(errors="replace") if found else ""


def dialogs(*captures: Path) -> list[Dialog]:
    """Every INVITE that begins a dialog. A repeated one (lost packets) is the same."""
    found: dict[str, Dialog] = {}
    for capture in captures:
        for message in sorted(_messages(capture), key=lambda one: one.at):
            call_id = message.headers.get(b"call-id", b"").decode(errors="replace")
            word, _, rest = message.first.partition(b" ")
            dialog = found.get(call_id)
            if word == b"INVITE":
                if dialog is None:
                    caller = _user(message.headers.get(b"from", b""))
                    ends = (message.source, message.target)
                    found[call_id] = Dialog(call_id, *ends, caller, _user(rest), message.at)
                continue
            if dialog is None:
                continue
            if word in (b"BYE", b"CANCEL"):
                found[call_id] = replace(dialog, ended_at=dialog.ended_at or message.at)
            elif word == b"SIP/2.0" and message.headers.get(b"cseq", b"").endswith(b"INVITE"):
                status = int(rest[:3])
                if 200 <= status < 300:
                    found[call_id] = replace(dialog, answered_at=dialog.answered_at or message.at)
                elif status >= 300 and dialog.answered_at is None and status not in (401, 407):
                    found[call_id] = replace(dialog, ended_at=dialog.ended_at or message.at)
    return list(found.values())
