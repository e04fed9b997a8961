"""Figures in words: how a report, on paper or on a screen, names and writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def whole_percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def length(value: float | None) -> str:
    """Minutes and seconds; hours where there are any."""
    if value is None:
        return "–"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("offered", "Offered", number),
    ("answered", "Answered", number),
    ("service_level", "Service level", percent),
    ("asa_s", "ASA", length),
    ("abandon_share", "Abandoned", percent),
    ("handled", "Handled", number),
    ("aht_s", "AHT", length),
    ("fcr", "FCR", percent),
    ("csat", "CSAT", percent),
    ("occupancy", "Occupancy", percent),
)
