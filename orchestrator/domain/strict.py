"""What all nouns of the API share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown fields are refused: a typing error must not be a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
