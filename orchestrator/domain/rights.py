"""What is asked of the rights of persons: whose data, what is held, what is corrected."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.domain.resources import E164Text, Moment
from orchestrator.domain.strict import Strict

Ulid = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class SubjectSpec(Strict):
    """Whose data. The number is told in the body, never in a path: paths are logged."""

    number: E164Text


class OneOf(Strict):
    """Exactly one of ``number``, ``call_id`` and ``recording_id``."""

    number: E164Text | None = None
    call_id: Ulid | None = None
    """The call with its record and all its recordings."""
    recording_id: Ulid | None = None
    """The recording, and the record of its call."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.number, self.call_id, self.recording_id)) != 1:
            raise PydanticCustomError("number", "give exactly one of number, call_id and recording_id")
        return self


class HoldSpec(OneOf):
    """Exactly one of ``number``, ``call_id`` and ``recording_id``."""

    reason: Reason
    authority: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    """Who demands it: a court, a case number, a department."""
    until: Moment | None = None
    """Null: until it is lifted."""


class MinorSpec(OneOf):
    """Exactly one of ``number``, ``call_id`` and ``recording_id``."""

    why: Reason
    """How it is known."""


class HoldLifted(Strict):
    why: Reason


class CorrectionSpec(Strict):
    """What is right of a call; null takes a former correction back."""

    number: E164Text | None = None
    """Whom the call was with."""
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    note: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
