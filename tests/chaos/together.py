"""What must be true of several POPs that share a queue, besides what ``checker.check`` says of each: judged from their
journals, the wire and the centre's tables together. Nothing of the product is imported here either."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.checker import CLEARED_S, SETTLED_S, Dialog, Event, Evidence

PASSED_S = 3.0
"""A proposal of which nothing is heard is void after 2 s; the call it was for comes next then."""


def check_together(
    pops: Mapping[str, Evidence], rows: Sequence[Event], calm: Sequence[tuple[float, float]]
) -> list[str]:
    """All that is wrong. ``pops``: by id; ``rows``: all call records of the centre; ``calm``: when no fault was on,
    and every POP knew the same router."""
    return [*_one_record(pops, rows), *_one_conversation(pops), *_in_order(pops, calm)]


def _one_record(pops: Mapping[str, Evidence], rows: Sequence[Event]) -> Iterator[str]:
    """Each call is one POP's, and has one record, which says so."""
    homes: dict[str, set[str]] = defaultdict(set)
    for pop_id, evidence in pops.items():
        for event in evidence.events:
            if event["call"] is not None:
                homes[event["call"]].add(pop_id)
    for call, found in homes.items():
        if len(found) > 1:
            yield f"call {call} is in the journals of {' and '.join(sorted(found))}"
    records = Counter(row["call_id"] for row in rows)
    for row in rows:
        call = row["call_id"]
        if call not in homes:
            yield f"record {call} at the centre is of no call of any POP"
        elif row["pop_id"] not in homes[call]:
            yield f"record {call} at the centre is said to be of {row['pop_id']}, and is not"
    for call in homes:
        if records[call] != 1:
            yield f"call {call} has {records[call]} records at the centre"


def _one_conversation(pops: Mapping[str, Evidence]) -> Iterator[str]:
    """On the wire, whichever POP rings it: a phone has one call at a time. Of each POP alone the other check knows."""
    phones: dict[str, list[tuple[str, Dialog]]] = defaultdict(list)
    for pop_id, evidence in pops.items():
        for dialog in evidence.dialogs:
            if dialog.source == evidence.pop and not dialog.called.startswith("+"):
                phones[dialog.called].append((pop_id, dialog))
    for phone, found in phones.items():
        for pop_id, one in found:
            for other_id, other in found:
                if other_id <= pop_id or other.began_at > _over(pops[pop_id], one):
                    continue
                if one.began_at <= _over(pops[other_id], other):
                    yield f"phone {phone} is in calls of {pop_id} and of {other_id} at {other.began_at:.3f}"


def _over(evidence: Evidence, dialog: Dialog) -> float:
    died = min((at for at in evidence.deaths if at >= dialog.began_at), default=float("inf"))
    return min(dialog.ended_at if dialog.ended_at is not None else float("inf"), died)


@dataclass(slots=True)
class _Wait:
    queue: str
    entered_at: float
    since: float
    offered: bool = False


def _in_order(pops: Mapping[str, Evidence], calm: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Whichever POP they came to, who waited longest is offered first, while a router serves all. One may be passed for
    as long as a proposal takes that was made for it and lost."""
    events = sorted((event for one in pops.values() for event in one.events), key=lambda event: event["at"])
    waits: dict[str, _Wait] = {}
    passed: list[tuple[str, str, float]] = []
    served: dict[str, list[float]] = defaultdict(list)
    legs: dict[str, str | None] = {}
    for event in events:
        call, kind, at = event["call"], event["kind"], event["at"]
        legs.setdefault(call, event.get("leg_id"))  # the first event is of the caller's
        if kind == "QueueJoined":
            waits[call] = _Wait(event["queue_id"], event["asked"]["entered_at"], at)
        elif kind == "WaitAdopted" and event["call_id"] in waits:
            waits[event["call_id"]].since = at
        elif kind == "OfferMade":
            served[call].append(at)
            if (mine := waits.get(call)) is None:
                continue
            if any(begin <= at <= end for begin, end in calm):
                passed += [
                    (other, call, at)
                    for other, its in waits.items()
                    if its.queue == mine.queue and its.entered_at < mine.entered_at
                    if not its.offered and its.since < at - 2 * SETTLED_S and other != call
                ]
            mine.offered = True
        elif kind == "OfferEnded" and call in waits:
            if event["outcome"] == "answered":
                del waits[call]
            else:
                waits[call].offered, waits[call].since = False, at + CLEARED_S
        elif kind in ("CallEnded", "WaitEnded", "QueueRefused") or (
            kind == "LegEnded" and event["leg_id"] == legs[call]
        ):
            served[call].append(at)
            waits.pop(call, None)
    for other, call, at in passed:
        if not any(at <= when <= at + PASSED_S for when in served[other]):
            yield f"call {call} is offered at {at:.3f} before {other}, which waited longer at another POP or the same"
