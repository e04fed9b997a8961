"""The centre's part of a call's trace: when its events went into the database, and its record was made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pbx.wire.telemetry.call_place import place_of

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces

Times = tuple[float, float]


def send(traces: Traces, events: Mapping[tuple[str, str], int], ingested: Times, projected: Times) -> None:
    """``events``: (POP, call) -> how many of it were new; times in seconds since the epoch."""
    for (pop_id, call_id), count in events.items():
        root = place_of(call_id)
        if root is None or not traces.chosen(root.trace_id):
            continue
        place, below = (place_of(call_id, f"{name} {ingested[0]}") for name in ("ingest", "record"))
        if place is not None and below is not None:
            told: dict[str, str | int | float | bool] = {"pop.id": pop_id, "events": count}
            traces.add(place, root, "ingest", *ingested, told, kind="consumer")
            traces.add(below, place, "record", *projected, {"pop.id": pop_id})
