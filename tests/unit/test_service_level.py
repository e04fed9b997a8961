"""The figures of a queue, by hand."""

from __future__ import annotations

import pytest

from pbx.domain.service_level import Contact, End, figures, occupancy


def test_figures() -> None:
    contacts = [
        Contact(0.0, End.ANSWERED),
        Contact(20.0, End.ANSWERED),
        Contact(40.0, End.ANSWERED),
        Contact(4.9, End.ABANDONED),
        Contact(5.0, End.ABANDONED),
        Contact(90.0, End.GIVEN_UP),
        Contact(0.0, End.REFUSED),
    ]
    found = figures(contacts)
    assert (found.offered, found.answered, found.abandoned, found.short_abandons, found.refused) == (6, 3, 2, 1, 1)
    assert found.service_level == pytest.approx(2 / 5)
    assert found.asa_s == pytest.approx(20.0)
    assert found.abandon_share == pytest.approx(1 / 5)
    assert found.longest_wait_s == 90.0


def test_nothing_to_take_a_figure_of() -> None:
    found = figures([Contact(1.0, End.ABANDONED)])
    assert (found.offered, found.service_level, found.asa_s, found.abandon_share) == (1, None, None, None)
    assert figures([]).longest_wait_s is None


def test_occupancy() -> None:
    assert occupancy(30.0, 120.0) == 0.25
    assert occupancy(0.0, 0.0) is None
