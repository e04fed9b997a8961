"""What all answers of the API share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Made ready when the first is given: the centre starts without the many that nobody asks for."""

    model_config = ConfigDict(defer_build=True)
