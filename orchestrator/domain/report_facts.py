"""What a call counts for in reports: the rules, as a function from its record to rows of measures.

* A call counts once, in the first queue in which it waited, in the quarter of an hour in which it began to wait there,
  however often it is handed on; what it leads to later counts in that same quarter. A call that never waited for an
  agent counts nowhere; one that was refused counts as refused.
* Its wait ends with the first answer, by an agent or an outside number, or with the call. Who gives up after a first
  answer was answered.
* Each agent's part of the conversation is one handled, for that agent and the queue it came from, with its talk and its
  wrap-up; holds and consultations are part of the talk. It counts when it is over.
* The agent of an answered call is the one who answered first.
* A callback is no offered call (its promise belongs to the call in which it was asked for), but its talk is handled.
* Survey answers count for whom the caller talked to last.
* First contacts: see ``service_level``. The number is compared as the POP sends it, hashed or not; without one a call
  is no first contact.
* The country is that of the number that was dialled.

All times are whole milliseconds, so that sums come out the same in whatever order they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import phonenumbers

from pbx.domain.cdr import Cdr, TalkRecord
from pbx.domain.forgetting import ERASED
from pbx.domain.service_level import BUSY, CSAT_DIGITS, CSAT_QUESTION, REPEAT_S, SATISFIED, Contact, End, Tally

QUARTER_S = 900
"""Offsets of all time zones in force are multiples of it: hours and days of any zone are made of whole quarters."""
DAY_S = 86400

MEASURES = (
    "offered",
    "answered",
    "in_time",
    "abandoned",
    "short_abandons",
    "refused",
    "wait_ms",
    "handled",
    "talk_ms",
    "wrap_ms",
    "transferred",
    "csat_answers",
    "csat_satisfied",
    "first_contacts",
    "resolved",
)
"""Of calls."""
AGENT_MEASURES = ("ready_ms", "busy_ms", "not_ready_ms", "on_call_ms", "wrap_state_ms")
"""Of agents' time, whatever it was for. ``ready_ms``: waiting for a call; ``busy_ms`` holds the last two."""
DIMENSIONS = ("queue_id", "agent_id", "did", "country")
NEIGHBOURS = 20
LONGEST_MS = 31 * DAY_S * 1000 // 2
"""Of one conversation, wait or wrap-up."""
LONGEST_INTERVAL_S = 31 * DAY_S
"""An agent's interval that is longer counts nothing: somebody forgot it, or a clock was set."""

Fact = dict[str, Any]
"""A row of ``report_facts``."""
Wraps = Mapping[str, int]
"""Agent -> milliseconds of wrap-up after the call."""


def quarter(at: float) -> int:
    return int(at // QUARTER_S) * QUARTER_S


def contact_of(cdr: Cdr) -> Contact | None:
    """How the call's wait ended; None while it lasts, for a call that never waited, and for a callback."""
    if cdr.direction != "inbound":
        return None
    if cdr.entered_at is None:
        return None if cdr.refused_by is None else Contact(0.0, End.REFUSED)
    answers = [talk.started_at for talk in cdr.talks[:1]]
    answers += [one.answered_at for one in cdr.forwards if one.answered_at is not None]
    if answers:
        return Contact(min(answers) - cdr.entered_at, End.ANSWERED)
    if cdr.ended_at is None:
        return None
    return Contact(cdr.ended_at - cdr.entered_at, End.ABANDONED if cdr.abandoned else End.GIVEN_UP)


def facts_of(pop_id: str, cdr: Cdr, wraps: Wraps) -> list[Fact]:
    """The call's rows, first contacts apart, which depend on other calls."""
    contact, at = contact_of(cdr), cdr.entered_at if cdr.entered_at is not None else cdr.offered_at
    if at is None or (contact is None and not cdr.talks):
        return []
    number = cdr.cli if cdr.cli not in (None, "withheld", "unknown", ERASED) else None
    base: Fact = {
        "call_id": cdr.call_id,
        "pop_id": pop_id,
        "start_at": quarter(at),
        "entered_at": at,
        "did": cdr.did,
        "country": country_of(cdr.did),
        "number": number,
        "inbound": cdr.direction == "inbound",
        **dict.fromkeys(MEASURES, 0),
    }
    first = cdr.talks[0].agent_id if cdr.talks else None
    rows = [{**base, "n": 0, "queue_id": cdr.entered_queue_id or cdr.refused_by, "agent_id": first}]
    if contact is not None:
        tally = Tally()
        tally.add(contact)
        rows[0].update((name, getattr(tally, name)) for name in MEASURES[:6])
        rows[0]["wait_ms"] = _length_ms(0.0, tally.answered_wait_s)
    for place, talk in enumerate(cdr.talks):
        if place or talk.queue_id != rows[0]["queue_id"]:
            rows.append({**base, "n": place + 1, "queue_id": talk.queue_id, "agent_id": talk.agent_id, "number": None})
        _handled(rows[-1], talk)
    rows = with_wraps(rows, wraps)
    _surveyed(rows[-1], cdr)
    return rows


def _handled(row: Fact, talk: TalkRecord) -> None:
    if talk.ended_at is not None:
        row["handled"], row["talk_ms"] = 1, _length_ms(talk.started_at, talk.ended_at)
        row["transferred"] = int(talk.ended == "transferred")


def with_wraps(rows: Sequence[Fact], wraps: Wraps) -> list[Fact]:
    """Copies of a call's rows, in order, with its wrap-ups; whoever had the caller twice has it with the last part."""
    copies = [{**row, "wrap_ms": 0} for row in rows]
    last = {row["agent_id"]: row for row in copies}
    for agent_id, wrap_ms in wraps.items():
        if agent_id in last:
            last[agent_id]["wrap_ms"] = min(wrap_ms, LONGEST_MS)
    return copies


def _surveyed(row: Fact, cdr: Cdr) -> None:
    digits = [one.digit for one in cdr.survey if one.question == CSAT_QUESTION and one.digit in CSAT_DIGITS]
    row["csat_answers"], row["csat_satisfied"] = len(digits), sum(digit in SATISFIED for digit in digits)


def _length_ms(began_at: float, ended_at: float) -> int:
    """A POP whose clock was set meanwhile must not make a length that no column holds."""
    return min(max(0, round(ended_at * 1000) - round(began_at * 1000)), LONGEST_MS)


@lru_cache(maxsize=10_000)
def country_of(did: str | None) -> str | None:
    """ISO 3166-1 alpha-2; None for numbers of no country."""
    if did is None:
        return None
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(did))
    except phonenumbers.NumberParseException:
        return None


def mark_first_contacts(history: Sequence[Fact], first: int, last: int) -> None:
    """Set ``first_contacts`` and ``resolved`` of the rows from ``first`` to ``last`` of ``history``: rows 0 of the
    calls of one number, in order. The ``NEIGHBOURS`` before and after each are looked at."""
    for place in range(max(first, 0), min(last + 1, len(history))):
        row = history[place]
        at = row["entered_at"]
        before = history[max(0, place - NEIGHBOURS) : place]
        known = any(one["answered"] and at - one["entered_at"] <= REPEAT_S for one in before)
        row["first_contacts"] = int(bool(row["answered"]) and not known)
        after = history[place + 1 : place + 1 + NEIGHBOURS]
        again = any(one["inbound"] and one["entered_at"] - at <= REPEAT_S for one in after)
        row["resolved"] = int(row["first_contacts"] and not again)


def time_measures(status: str, state: str) -> tuple[str, ...]:
    """Which of ``AGENT_MEASURES`` an agent's time in this status and state counts for."""
    if state in BUSY:
        more = {"ON_CALL": ("on_call_ms",), "WRAP_UP": ("wrap_state_ms",)}.get(state, ())
        return ("busy_ms", *more)
    return {"AVAILABLE": ("ready_ms",), "NOT_READY": ("not_ready_ms",)}.get(status, ())


def by_quarter(began_ms: int, ended_ms: int) -> list[tuple[int, int]]:
    """An interval cut at quarters of an hour: (start of the quarter in s, milliseconds in it)."""
    parts, at, step = [], began_ms, QUARTER_S * 1000
    while at < ended_ms:
        edge = min((at // step + 1) * step, ended_ms)
        parts.append((at // step * QUARTER_S, edge - at))
        at = edge
    return parts
