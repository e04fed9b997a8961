"""Who may be called back, and when, by the packs."""

from __future__ import annotations

from datetime import date

import pytest

from dialplans.calling import callable_number, windows

USUAL = "08:00-21:00"


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+4917012345678", "DE", "+4917012345678"),
        ("017012345678", "DE", "+4917012345678"),
        ("004917012345678", "DE", "+4917012345678"),
        ("+12125550100", "DE", "+12125550100"),  # whole, from the signalling or the API
        ("0012125550100", "DE", None),  # keyed in: not of the DID's country
        ("0900123456", "DE", None),
        ("+49900123456", "DE", None),
        ("+882161234567", "DE", None),
        ("110", "DE", None),
        ("112", "DE", None),
        ("+49110", "DE", None),
        ("", "DE", None),
        ("withheld", "DE", None),
        ("017012345678", "XX", None),
    ],
)
def test_which_numbers_may_be_called(text: str, country: str, number: str | None) -> None:
    assert callable_number(text, country) == number


def test_a_country_with_a_rule() -> None:
    """Australia: not on Sundays and public holidays, and shorter on Saturdays."""
    found = windows("+61291234567", USUAL)
    assert found.zones == ("Australia/Sydney",)
    assert found.weekly == (*[((540, 1200),)] * 5, ((540, 1020),), ())
    assert found.holiday == ()
    assert date(2026, 12, 25) in found.holidays


def test_a_country_without_a_rule_has_the_usual_window_every_day() -> None:
    found = windows("+4917012345678", USUAL)
    assert found.zones == ("Europe/Berlin",)
    assert (*found.weekly, found.holiday) == (((480, 1260),),) * 8


def test_states_with_rules_of_their_own_narrow_the_countrys() -> None:
    """Which state a number's owner is in, nobody can tell."""
    found = windows("+12125550100", USUAL)
    assert found.zones == ("America/New_York",)
    for day in found.weekly:
        assert all(begin >= 8 * 60 and end <= 20 * 60 for begin, end in day)


def test_a_number_of_no_one_zone_has_all_of_them() -> None:
    assert len(windows("+18005550100", USUAL).zones) > 1


def test_a_country_without_a_pack() -> None:
    found = windows("+351212345678", "09:00-18:00")
    assert found.zones == ("Europe/Lisbon",)
    assert found.weekly == (((540, 1080),),) * 7
