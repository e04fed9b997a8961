"""In which state each call is by the last word of its POP's journal, which is followed as it grows."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

STATES = (
    "ivr",
    "consent",
    "waiting",
    "ringing",
    "talking",
    "hold",
    "consulting",
    "conference",
    "parked",
    "callback",
    "wrap_up",
)
_BY_KIND = {
    "LegOffered": "ivr",
    "QueueJoined": "waiting",
    "OfferMade": "ringing",
    "TalkStarted": "talking",
    "HoldStarted": "hold",
    "HoldEnded": "talking",
    "ConsultationStarted": "consulting",
    "ConferenceStarted": "conference",
    "ConsultationEnded": "talking",
    "CallParked": "parked",
    "CallbackDialled": "callback",
    "CallbackReached": "ivr",
}


class States:
    """``look`` reads what is new. ``calls``: call -> state; ``agents``: those in wrap-up; ``with_agent``: call -> who
    talks in it; ``since``: call -> when its state began, seconds since the epoch by the POP's clock."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._seq = journal, 0
        self.calls: dict[str, str] = {}
        self.since: dict[str, float] = {}
        self.with_agent: dict[str, str] = {}
        self.wrap_up: set[str] = set()
        self.not_ready: set[str] = set()

    def begin(self, seq: int) -> None:
        """What was before is nobody's business."""
        self._seq = seq

    def look(self) -> Counter[str]:
        """How many calls, or agents, are in which state now."""
        with closing(sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True)) as db:
            query = "SELECT seq, call_id, kind, at, data FROM events WHERE seq > ? ORDER BY seq"
            rows = db.execute(query, (self._seq,)).fetchall()
        for seq, call, kind, at, data in rows:
            self._seq = seq
            self.heard({**json.loads(data), "call": call, "kind": kind, "at": at})
        return self.count()

    def count(self) -> Counter[str]:
        return Counter(self.calls.values()) + Counter({"wrap_up": len(self.wrap_up)})

    def heard(self, event: dict[str, Any]) -> None:
        call, kind = event["call"], event["kind"]
        if kind == "AgentChanged":
            for agents, among in ((self.wrap_up, event["state"] == "WRAP_UP"), (self.not_ready, _rona(event))):
                agents.discard(event["agent_id"])
                if among:
                    agents.add(event["agent_id"])
        elif kind == "CallEnded":
            for known in (self.calls, self.since, self.with_agent):
                known.pop(call, None)
        elif (state := _state(event)) is not None:
            self.calls[call], self.since[call] = state, event["at"]
            if kind == "TalkStarted":
                self.with_agent[call] = event["agent_id"]


def _rona(event: dict[str, Any]) -> bool:
    return bool(event["status"] == "NOT_READY" and event["reason"] == "RONA")


def _state(event: dict[str, Any]) -> str | None:
    """What an event says of its call; None: nothing new."""
    if event["kind"] == "NodeEntered":
        return "consent" if event["node"] == "consent" else None
    if event["kind"] == "OfferEnded":
        return None if event["outcome"] == "answered" else "waiting"
    return _BY_KIND.get(event["kind"])


def states(events: list[dict[str, Any]]) -> Counter[str]:
    """The same of a journal that has been read."""
    known = States(Path())
    for event in events:
        known.heard(event)
    return known.count()
