"""Who may do what: roles, scoped to business units and regions.

A route names the roles that may use it. Of a caller's grants those of these roles count, and what the caller sees and
changes there is what they cover together. What belongs to no unit is covered by grants for all units alone, and so it
is with regions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    ADMIN = "admin"
    ENGINEER = "engineer"
    SUPERVISOR = "supervisor"
    COMPLIANCE = "compliance"
    AGENT = "agent"

    @property
    def purpose(self) -> str:
        """What people of this role do."""
        return _PURPOSES[self]


_PURPOSES = {
    Role.ADMIN: "Everything: users, tokens and what all other roles may, but for an agent's own phone.",
    Role.ENGINEER: "Sets up and changes POPs, trunks, DIDs, flows, queues, agents, schedules, prompts and webhooks.",
    Role.SUPERVISOR: "Leads agents: live calls, supervision, callbacks, reports, recordings of the own units.",
    Role.COMPLIANCE: "Answers for the law: recordings, consent policies, retention, holds, exports, erasures, audit.",
    Role.AGENT: "Works with the own calls and state, and nothing else.",
}


@dataclass(frozen=True, slots=True)
class Grant:
    role: Role
    units: frozenset[str] | None = None
    """None: all, and what belongs to none."""
    regions: frozenset[str] | None = None
    agent_id: str | None = None
    """Of role agent, whose scope is this agent alone."""

    @property
    def whole(self) -> bool:
        """Without any limit."""
        return self.units is None and self.regions is None and self.agent_id is None

    def covers_unit(self, unit_id: str | None) -> bool:
        return self.agent_id is None and (self.units is None or unit_id in self.units)

    def covers_region(self, region: str | None) -> bool:
        return self.agent_id is None and (self.regions is None or region in self.regions)

    def to_json(self) -> dict[str, Any]:
        return {
            "role": self.role.value,
            "units": None if self.units is None else sorted(self.units),
            "regions": None if self.regions is None else sorted(self.regions),
            "agent_id": self.agent_id,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Grant:
        units, regions = value.get("units"), value.get("regions")
        return cls(
            Role(value["role"]),
            None if units is None else frozenset(units),
            None if regions is None else frozenset(regions),
            value.get("agent_id"),
        )


EVERYTHING = (Grant(Role.ADMIN),)


@dataclass(slots=True)
class Caller:
    """Who causes what happens now: a request's user or token, or a part of the centre itself."""

    caller_id: str
    name: str
    grants: tuple[Grant, ...]
    """Inside a route, those that count there."""
    held: tuple[Grant, ...] = ()
    """All of them, once inside."""
    source: str = ""
    """Address that the request came from."""
    action: str = ""
    """The route's operation."""
    thing: str = ""
    """The path that was asked for, below ``/api/v1``."""
    purpose: str | None = None
    linked: bool = False
    """Comes by a sealed link, which says the purpose."""
    user_id: str | None = None
    """Of a user's session."""
    expires_at: float | None = None
    """Seconds since the epoch; of a token."""
    recorded: bool = False
    """What this caller changes goes into the audit log."""
    noting: Callable[[str], Awaitable[None]] | None = None
    """Writes a row of the audit log with this outcome."""
    entries: list[str] = field(default_factory=list)
    """Outcomes of the audit log's rows that were written for this request."""

    async def note(self, outcome: str) -> None:
        if self.recorded and self.noting is not None:
            await self.noting(outcome)

    @property
    def whole(self) -> bool:
        return any(grant.whole for grant in self.grants)

    def enter(self, roles: Collection[Role], *, whole: bool) -> bool:
        """Let only the grants of these roles count, with ``whole`` only those without limits; False: none is left."""
        self.held = self.held or self.grants
        self.grants = tuple(g for g in self.held if g.role in roles and (g.whole or not whole))
        return bool(self.grants)


CENTRE = Caller("centre", "centre", EVERYTHING)
_current: ContextVar[Caller] = ContextVar("caller", default=CENTRE)


def current() -> Caller:
    """The centre itself, outside requests."""
    return _current.get()


@contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    """``caller`` is the cause of what is done in the block, and of tasks begun there."""
    token = _current.set(caller)
    try:
        yield caller
    finally:
        _current.reset(token)
