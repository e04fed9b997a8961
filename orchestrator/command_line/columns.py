"""Columns of tables that are more than a field of the item."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from orchestrator.command_line.output import Column

CLOCK_WRONG_S = 2.0
"""What the clocks of a POP and of the centre differ by less is the heartbeat's way, or nobody's trouble."""

Item = dict[str, Any]


def moment(name: str) -> Callable[[Item], str | None]:
    """A time of UTC without its fractions."""

    def shown(item: Item) -> str | None:
        value = item.get(name)
        return None if value is None else f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%SZ}"

    return shown


def at(name: str, title: str | None = None) -> Column:
    return Column(title or name.removesuffix("_at").replace("_", " "), moment(name))


def of(*names: str) -> tuple[Column, ...]:
    """Fields as they are, under their own names."""
    return tuple(Column(name.replace("_", " "), name) for name in names)


def number(name: str, title: str | None = None) -> Column:
    return Column(title or name.replace("_", " "), name, right=True)


def count(name: str, title: str | None = None) -> Column:
    return Column(title or name, lambda item: len(item.get(name) or ()), right=True)


def health(pop: Item) -> str:
    """In words, the worst first."""
    if pop.get("last_seen_at") is None:
        return "never heard of"
    if not pop["connected"]:
        return "away"
    if not pop["engine_up"]:
        return "media server down"
    if pop.get("carries_audio") is False:
        return "no audio"
    found = []
    if errors := pop["config_errors"]:
        found.append(f"{len(errors)} configuration error{'s' * (len(errors) > 1)}")
    if pending := pop["phones_pending"]:
        found.append(f"{pending} phone{'s' * (pending > 1)} to come")
    if (pop["seconds_behind"] or 0) > 10:
        found.append("behind")
    if abs(ahead_s := pop.get("clock_ahead_s") or 0.0) > CLOCK_WRONG_S:
        found.append(f"clock {abs(ahead_s):.0f} s {'fast' if ahead_s > 0 else 'slow'}")
    return ", ".join(found) or "ok"


def engine(pop: Item) -> str | None:
    return None if pop.get("engine_up") is None else "up" if pop["engine_up"] else "down"


def stage(call: Item) -> str:
    """How far a call has come."""
    if call.get("ended_at") is not None:
        return "abandoned" if call.get("abandoned") else str(call.get("end_reason"))
    offers = call.get("offers") or [{"ended_at": ""}]
    parks = call.get("parks") or [{"ended_at": ""}]
    if parks[-1]["ended_at"] is None:
        return f"parked {parks[-1]['slot']}"
    if call.get("talk_started_at") is not None:
        talks = call.get("talks") or [{"ended_at": None}]
        return "talking" if talks[-1]["ended_at"] is None else "after the conversation"
    if offers[-1]["ended_at"] is None:
        return "ringing"
    if call.get("queued_at") is not None:
        return "waiting"
    return "in the flow" if call.get("answered_at") else "arriving"


def who_has_it(call: Item) -> str | None:
    if call.get("ended_at") is None and stage(call) == "ringing":
        return str(call["offers"][-1]["agent_id"])
    found = call.get("agent_id")
    return None if found is None else str(found)


def grants(item: Item) -> list[str]:
    return [_grant(one) for one in item.get("grants") or ()]


def _grant(one: Item) -> str:
    limits = [*(one.get("units") or ()), *(one.get("regions") or ())]
    if one.get("agent_id"):
        limits.append(one["agent_id"])
    return f"{one['role']}({' '.join(limits)})" if limits else str(one["role"])


CALL = (
    Column("call", "call_id"),
    at("offered_at"),
    Column("pop", "pop_id"),
    Column("number", "did"),
    Column("caller", "cli"),
    Column("queue", "queue_id"),
    Column("agent", who_has_it),
    Column("state", stage),
    number("wait_s"),
    number("talk_s"),
)
