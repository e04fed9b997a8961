"""What the API answers about units, users, tokens and the audit log."""

from __future__ import annotations

from typing import Any

from orchestrator.adapters.db.access_models import AuditRow, UnitRow, UserRow
from orchestrator.adapters.db.models import TokenRow
from orchestrator.api.answer import Answer
from orchestrator.api.schemas import At
from orchestrator.domain.access_resources import GrantSpec
from orchestrator.domain.grants import Caller
from orchestrator.domain.resources import UnitSpec
from orchestrator.services import tokens


class Unit(UnitSpec):
    created_at: At


def unit_of(row: UnitRow) -> Unit:
    return Unit.model_validate({name: getattr(row, name) for name in Unit.model_fields})


class RoleRoute(Answer):
    method: str
    path: str
    summary: str
    everything: bool
    """Only with a grant for all units and regions."""
    purpose: bool
    """The caller has to say why."""


class RoleAnswer(Answer):
    role: str
    purpose: str
    limited_by: list[str]
    """What a grant of this role can be limited to."""
    routes: list[RoleRoute]


class User(Answer):
    user_id: str
    login: str
    """Of a provider's user ``oidc:`` and a hash."""
    name: str
    grants: list[GrantSpec]
    disabled: bool
    created_at: At


def user_of(row: UserRow) -> User:
    return User.model_validate({name: getattr(row, name) for name in User.model_fields})


class Session(Answer):
    token: str
    """A bearer token, shown this once."""
    expires_at: At


class Me(Answer):
    name: str
    user_id: str | None
    """null: the token is a program's."""
    grants: list[GrantSpec]


def me_of(caller: Caller) -> Me:
    return Me.model_validate(
        {"name": caller.name, "user_id": caller.user_id, "grants": [grant.to_json() for grant in caller.held]}
    )


class Token(Answer):
    token_id: str
    name: str
    role: str
    """The leading one of its grants; ``session``: a user's, whose grants hold."""
    grants: list[GrantSpec]
    user_id: str | None
    expires_at: At | None
    created_at: At


class TokenCreated(Token):
    token: str
    """Shown this once; only its hash is kept."""


def token_fields(row: TokenRow) -> dict[str, Any]:
    grants = [] if row.user_id is not None else [grant.to_json() for grant in tokens.grants_of(row)]
    return {**{name: getattr(row, name) for name in Token.model_fields}, "grants": grants}


class AuditEntry(Answer):
    seq: int
    at: At
    caller_id: str
    caller: str
    source: str
    """Address that the request came from."""
    action: str
    """The route's ``operationId``; ``login``, ``token_create`` of the command line."""
    thing: str
    """The path below ``/api/v1``."""
    purpose: str | None
    outcome: str
    """``done``; ``read``: a recording was given out; ``asked``: a POP was asked to; else the ``error_id`` of the
    refusal."""
    changes: list[str]
    """What was written: ``changed agents/01J... name,skills``."""
    hash: str


def audit_entry_of(row: AuditRow) -> AuditEntry:
    return AuditEntry.model_validate({name: getattr(row, name) for name in AuditEntry.model_fields})
