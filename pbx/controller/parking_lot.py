"""Slots for parked calls. Which are taken the calls say themselves: there is no list that could go stale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pbx.controller.call_actor import CallActor
from pbx.domain.errors import BadValue
from pbx.domain.parking import ParkStep


@dataclass(frozen=True, slots=True)
class ParkingLot:
    first: int = 701
    count: int = 20
    timeout_s: float = 120.0

    def choose(self, wanted: int | None, taken: set[int]) -> int:
        """A free slot. Raises BadValue where the wanted one is not to be had, or none is."""
        slots = range(self.first, self.first + self.count)
        if wanted is not None:
            if wanted not in slots:
                raise BadValue("slot", f"must be {slots.start} to {slots.stop - 1}" if slots else "there are none")
            if wanted in taken:
                raise BadValue("slot", "is taken")
            return wanted
        free = next((slot for slot in slots if slot not in taken), None)
        if free is None:
            raise BadValue("slot", "none is free")
        return free


def slot_of(actor: CallActor) -> int | None:
    """Where this call is parked; None where it is not."""
    step = actor.call.step
    return step.slot if isinstance(step, ParkStep) else None


def parked_in(slot: int, calls: Iterable[CallActor]) -> CallActor | None:
    return next((actor for actor in calls if slot_of(actor) == slot), None)
