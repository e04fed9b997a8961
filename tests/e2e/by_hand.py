"""What the centre's tables must hold, worked out from a POP's journal as any other program could: its SQLite file is
read, and nothing of the product's own projections takes part."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

Event = dict[str, Any]
"""An event's fields, with ``kind``, ``seq`` and ``call_id`` of its row."""


def rows(journal: Path) -> list[tuple[Any, ...]]:
    """(seq, call id, kind, at, data as it was written), in order."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        found = db.execute("SELECT seq, call_id, kind, at, data FROM events ORDER BY seq").fetchall()
    return [(*row[:4], row[4].decode() if isinstance(row[4], bytes) else row[4]) for row in found]


def configuration(journal: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        return {key: json.loads(entry) for key, entry in db.execute("SELECT key, entry FROM config")}


def events(found: Iterable[tuple[Any, ...]]) -> list[Event]:
    return [
        {**json.loads(data), "seq": seq, "of_call": call, "kind": kind, "at": at} for seq, call, kind, at, data in found
    ]


def records(found: Iterable[Event]) -> dict[str, Any]:
    """call id -> the fields of its record, for calls that one agent served or that ended before."""
    by_call: dict[str, list[Event]] = defaultdict(list)
    for event in found:
        if event["of_call"] is not None:
            by_call[event["of_call"]].append(event)
    return {call: _record(history) for call, history in by_call.items()}


def _record(history: list[Event]) -> dict[str, Any]:
    def all_of(*kinds: str) -> list[Event]:
        return [event for event in history if event["kind"] in kinds]

    def the(kind: str) -> Event | None:
        found = all_of(kind)
        assert len(found) <= 1
        return found[0] if found else None

    offered, joined, talk, ended = the("LegOffered"), the("QueueJoined"), the("TalkStarted"), the("CallEnded")
    assert offered is not None
    assert ended is not None
    languages = all_of("FlowStarted", "LanguageChosen")
    answered = all_of("LegAnswered")
    return {
        "direction": "inbound",
        "did": offered["did"],
        "cli": offered["cli"]["number"],
        "caller_country": offered["caller_country"],
        "trunk": offered["trunk"],
        "offered_at": offered["at"],
        "answered_at": answered[0]["at"] if answered else None,
        "language": languages[-1]["language"] if languages else None,
        "nodes": [event["node"] for event in all_of("NodeEntered")],
        "queue_id": joined and joined["queue_id"],
        "queued_at": joined and joined["at"],
        "agent_id": talk and talk["agent_id"],
        "talk_started_at": talk and talk["at"],
        "ended_at": ended["ended_at"],
        "end_reason": ended["reason"],
        "cause": ended["cause"],
        "wait_s": joined and (talk["at"] if talk else ended["ended_at"]) - joined["at"],
        "talk_s": talk and ended["ended_at"] - talk["at"],
        "abandoned": joined is not None and talk is None and ended["reason"] == "caller_hung_up",
        "offers": _offers(all_of("OfferMade"), all_of("OfferEnded")),
        "consents": [_consent(event) for event in all_of("ConsentGranted", "ConsentRefused")],
        "recordings": _recordings(all_of("RecordingStarted"), all_of("RecordingEnded")),
    }


def _offers(made: list[Event], over: list[Event]) -> list[dict[str, Any]]:
    ends = {event["offer_id"]: event for event in over}
    return [
        {
            "offer_id": event["offer_id"],
            "agent_id": event["agent_id"],
            "offered_at": event["at"],
            "outcome": ends[event["offer_id"]]["outcome"],
            "ended_at": ends[event["offer_id"]]["at"],
        }
        for event in made
    ]


def _consent(event: Event) -> dict[str, Any]:
    evidence = ("regime", "jurisdictions", "at", "prompt_id", "prompt_sha256", "language", "played_ms", "digit")
    granted = event["kind"] == "ConsentGranted"
    return {"granted": granted, "reason": event.get("reason"), **{name: event[name] for name in evidence}}


def _recordings(begun: list[Event], over: list[Event]) -> list[dict[str, Any]]:
    ends = {event["recording_id"]: event for event in over}
    measured = ("recording_id", "region", "duration_ms", "size_bytes", "sha256", "discarded")
    return [
        {"started_at": event["at"], "kind": "conversation", "pauses": 0}  # nobody pauses one here
        | {name: ends[event["recording_id"]][name] for name in measured}
        for event in begun
    ]


def intervals(found: Iterable[Event]) -> set[tuple[Any, ...]]:
    """Agents' time that is over: (agent, status, state, began, ended), but for changes that took no time."""
    last: dict[str, Event] = {}
    over = set()
    for event in found:
        if event["kind"] == "AgentChanged":
            before = last.get(event["agent_id"])
            if before is not None and event["at"] > before["at"]:
                over.add((event["agent_id"], before["status"], before["state"], before["at"], event["at"]))
            last[event["agent_id"]] = event
    return over


def states(found: Iterable[Event]) -> dict[str, tuple[Any, ...]]:
    """agent -> (status, state, since) of now."""
    changes = (event for event in found if event["kind"] == "AgentChanged")
    return {event["agent_id"]: (event["status"], event["state"], event["at"]) for event in changes}
