"""Public holidays by place, from the ``holidays`` package."""

from __future__ import annotations

from collections.abc import Container
from datetime import date


def public_holidays(place: str) -> Container[date]:
    """The public holidays of a country, ``DE``, or of a part of it, ``DE-BY``; each year's are worked out when they are
    first asked for. Raises KeyError for a place whose holidays are not known."""
    import holidays  # when somebody has some: it takes its time

    country, _, part = place.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        raise KeyError(place) from None
