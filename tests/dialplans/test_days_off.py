"""Public holidays of countries and of their parts."""

from __future__ import annotations

from datetime import date

import pytest

from dialplans.days_off import public_holidays


def test_a_part_of_a_country_has_more() -> None:
    epiphany = date(2026, 1, 6)
    assert epiphany in public_holidays("DE-BY")
    assert epiphany not in public_holidays("DE")


def test_any_year() -> None:
    germany = public_holidays("DE")
    assert all(date(year, 10, 3) in germany for year in (2026, 2027, 2040))


@pytest.mark.parametrize("place", ["XX", "DE-XX", ""])
def test_unknown_places(place: str) -> None:
    with pytest.raises(KeyError):
        public_holidays(place)
