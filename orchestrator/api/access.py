"""What a route needs of its caller, and whether the caller has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from orchestrator.domain.grants import Role, current
from orchestrator.domain.problems import Forbidden, one

ADMINS = frozenset({Role.ADMIN})
ENGINEERS = ADMINS | {Role.ENGINEER}
SUPERVISORS = ADMINS | {Role.SUPERVISOR}
COMPLIANCE = ADMINS | {Role.COMPLIANCE}
STAFF = frozenset(Role) - {Role.AGENT}
"""Everybody but agents."""
LEADERS = SUPERVISORS | {Role.ENGINEER}
LISTENERS = SUPERVISORS | {Role.COMPLIANCE}
TALKERS = SUPERVISORS | {Role.AGENT}
"""Who works with live calls: agents with their own."""
EVERYBODY = frozenset(Role)

PURPOSE_LENGTH = 500
PURPOSE_PARAMETERS: tuple[dict[str, Any], ...] = (
    {
        "name": "X-Purpose",
        "in": "header",
        "required": False,
        "description": "Why; kept in the audit log. This or the parameter ``purpose`` is needed.",
        "schema": {"type": "string", "minLength": 1, "maxLength": PURPOSE_LENGTH},
    },
    {
        "name": "purpose",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": PURPOSE_LENGTH},
    },
)


class Undeclared(Exception):
    """A route says neither who may use it nor that it is public."""


@dataclass(frozen=True, slots=True)
class Needs:
    roles: frozenset[Role]
    whole: bool
    recorded: bool
    purpose: bool


def enter(request: web.Request, needs: Needs, action: str) -> None:
    """From here on, only those of the caller's grants count that the route asks for. Raises Forbidden when there are
    none, Invalid where the purpose is missing."""
    caller = current()
    caller.action, caller.recorded = action, needs.recorded
    if not caller.enter(needs.roles, whole=needs.whole):
        limits = " for all units and regions" if needs.whole else ""
        raise Forbidden(f"needs the role {' or '.join(sorted(needs.roles))}{limits}")
    if not caller.linked:
        caller.purpose = _purpose(request, needs)


def _purpose(request: web.Request, needs: Needs) -> str | None:
    asked = request.query.get("purpose") if needs.purpose else None
    if asked is not None and not 0 < len(asked) <= PURPOSE_LENGTH:
        raise one("purpose", f"is empty, or longer than {PURPOSE_LENGTH} characters")
    given = request.headers.get("X-Purpose") or (request.query.get("purpose") if needs.purpose else None)
    given = None if given is None else given.encode("utf-8", "replace").decode().strip()
    if needs.purpose and not given:
        raise one("X-Purpose", "is missing: say why in this header, or in the parameter purpose")
    if given and (len(given) > PURPOSE_LENGTH or "\0" in given):
        raise one("X-Purpose", f"is longer than {PURPOSE_LENGTH} characters, or holds the character NUL")
    return given or None
