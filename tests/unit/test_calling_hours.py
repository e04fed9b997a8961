"""The moment from which a number may be called."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from pbx.config import PopSettings
from pbx.domain.calling_hours import CallingHours
from pbx.domain.opening_hours import Interval

NINE_TO_EIGHT = (Interval(9 * 60, 20 * 60),)
WORKDAYS = CallingHours(
    zones=(ZoneInfo("Europe/Berlin"),),
    weekly=(*[NINE_TO_EIGHT] * 5, (), ()),
    holiday=(Interval(10 * 60, 12 * 60),),
    holidays=frozenset({date(2026, 12, 25)}),
)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-18 10:00", "2026-11-18 10:00"),
        ("2026-11-18 08:00", "2026-11-18 08:00"),
        ("2026-11-18 07:59", "2026-11-18 08:00"),
        ("2026-11-18 19:00", "2026-11-19 08:00"),  # the end is no longer in it
        ("2026-11-20 19:30", "2026-11-23 08:00"),  # Friday evening: on Monday
        ("2026-12-24 22:00", "2026-12-25 09:00"),  # a holiday has its own
        ("2026-12-25 11:00", "2026-12-28 08:00"),
        ("2026-10-23 19:00", "2026-10-26 08:00"),  # the clock was put back in between
        ("2026-03-27 20:00", "2026-03-30 07:00"),  # and here put on
    ],
)
def test_next_open(now: str, opens: str) -> None:
    assert WORKDAYS.next_open(at(now)) == at(opens)


def test_all_zones_must_allow_it() -> None:
    zones = (ZoneInfo("America/New_York"), ZoneInfo("America/Los_Angeles"))
    hours = CallingHours(zones=zones, weekly=(NINE_TO_EIGHT,) * 7, holiday=(), holidays=frozenset())
    assert hours.next_open(at("2026-11-18 15:00")) == at("2026-11-18 17:00")
    assert hours.next_open(at("2026-11-19 02:00")) == at("2026-11-19 17:00")  # eight in the evening in New York
    assert hours.next_open(at("2026-11-18 20:00")) == at("2026-11-18 20:00")


def test_never() -> None:
    hours = CallingHours(zones=WORKDAYS.zones, weekly=((),) * 7, holiday=(), holidays=frozenset())
    assert hours.next_open(at("2026-11-18 10:00")) is None


@pytest.mark.parametrize("hours", ["21:00-08:00", "08:00-08:00", "8-21", "08:00-24:30", ""])
def test_a_setting_that_is_no_window_is_refused(hours: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="callback_hours"):
        PopSettings(
            id="fra-1",
            country="DE",
            state_dir=tmp_path,
            prompt_dir=tmp_path,
            recording_dir=tmp_path,
            callback_hours=hours,
        )
