"""Users, tokens and grants as they are written."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.domain.grants import Grant, Role
from orchestrator.domain.resources import AgentId, Moment, Name, Slug
from orchestrator.domain.strict import Strict

MAX_GRANTS = 50
Login = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")]
Password = Annotated[SecretStr, Field(min_length=12, max_length=200)]


class GrantSpec(Strict):
    """A role, on everything or within limits. Role ``agent`` has an agent instead, whose calls and status it is for."""

    role: Role
    units: Annotated[list[Slug], Field(min_length=1, max_length=100)] | None = None
    """Business units; null: all, and what belongs to none."""
    regions: Annotated[list[Slug], Field(min_length=1, max_length=100)] | None = None
    """Of POPs; null: all, and POPs without one."""
    agent_id: AgentId | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.agent_id is not None) != (self.role is Role.AGENT):
            raise PydanticCustomError("agent_id", "agent_id goes with role agent, and that role with it")
        if self.agent_id is not None and (self.units is not None or self.regions is not None):
            raise PydanticCustomError("units", "units and regions do not go with role agent")
        return self

    def grant(self) -> Grant:
        return Grant(
            self.role,
            None if self.units is None else frozenset(self.units),
            None if self.regions is None else frozenset(self.regions),
            self.agent_id,
        )


Grants = Annotated[list[GrantSpec], Field(min_length=1, max_length=MAX_GRANTS)]


class ClaimRule(Strict):
    """Whoever's claim has this value, or has it among its values, holds the grants."""

    claim: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    value: str | bool | int
    grants: Grants


class TokenSpec(Strict):
    name: Name
    grants: Grants | None = None
    """null: role admin on everything."""
    expires_at: Moment | None = None
    """null: never."""


class UserChange(Strict):
    name: Name
    grants: Grants
    disabled: bool = Field(default=False, strict=True)
    password: Password | None = None
    """null: as it is."""


class UserSpec(Strict):
    login: Login
    name: Name
    grants: Grants
    password: Password


class LoginSpec(Strict):
    login: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=200)]
