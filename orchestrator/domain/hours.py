"""Opening hours and shifts as users write them; the core's reader decides, and its places are the fields named."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from orchestrator.domain.strict import Strict
from pbx.domain import hours_parse
from pbx.domain.errors import BadValue

Interval = Annotated[str, StringConstraints(max_length=11)]
"""``09:00-17:30``; an end up to the beginning is on the next day."""
Week = Annotated[dict[str, list[Interval]], Field(max_length=7, examples=[{"mon": ["09:00-17:30"]}])]
"""``mon`` to ``sun``; a day that is not there has none."""
Exceptions = Annotated[dict[str, list[Interval]], Field(max_length=400, examples=[{"2026-12-24": ["09:00-12:00"]}])]
"""Days that have these intervals and no others; an empty list: none."""


def _refused(model: str, error: BadValue, value: Any) -> ValidationError:
    place = tuple(int(part) if part.isdigit() else part for part in error.field.split(".")[1:])
    reason = PydanticCustomError("refused", "{reason}", {"reason": error.reason})
    return ValidationError.from_exception_data(model, [InitErrorDetails(type=reason, loc=place, input=value)])


class Shifts(Strict):
    """An agent's working week; no two shifts may overlap."""

    time_zone: Annotated[str, StringConstraints(max_length=64)]
    weekly: Week
    special: Exceptions = Field(default_factory=dict)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            hours_parse.shifts(self.time_zone, self.weekly, self.special)
        except BadValue as error:
            raise _refused("Shifts", error, self.weekly) from None
        return self


class OpeningHours(Strict):
    time_zone: Annotated[str, StringConstraints(max_length=64)]
    weekly: Week
    special: Exceptions = Field(default_factory=dict)
    """Public holidays included."""
    holidays: list[Annotated[str, StringConstraints(max_length=10)]] = Field(default_factory=list, max_length=400)
    """Closed all day, unless ``special`` says otherwise."""
    country: Annotated[str, StringConstraints(max_length=6)] | None = None
    """Whose public holidays count as well: ``DE`` or ``DE-BY``."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            hours_parse.opening_hours(self.time_zone, self.weekly, self.special, self.holidays)
            if self.country is not None:
                hours_parse.place(self.country, "hours.country")
        except BadValue as error:
            raise _refused("OpeningHours", error, self.weekly) from None
        return self
