"""Hours and days of time zones, across clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.local_time import midnight, stretches, weekday_of_hour
from orchestrator.services.reports import Asked, By, day_bounds, keys_in, local_key

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe",
         "America/Sao_Paulo", "Pacific/Apia", "UTC")  # fmt: skip


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_stretches_end_where_the_clock_is_changed() -> None:
    found = stretches(BERLIN, at("2026-01-01T00:00+01:00"), at("2027-01-01T00:00+01:00"))
    spring, autumn = at("2026-03-29T01:00+00:00"), at("2026-10-25T01:00+00:00")
    assert [(one.until, one.offset_s) for one in found[:2]] == [(spring, 3600), (autumn, 7200)]
    assert found[2].offset_s == 3600


def test_the_day_of_the_change_has_23_or_25_hours() -> None:
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 10, 26), 24)):
        start, end = midnight(BERLIN, day), midnight(BERLIN, day + timedelta(days=1))
        keys = keys_in(Asked(start, end, BERLIN, By.HOUR))
        assert len(keys) == hours
        assert len({key[0] for key in keys}) == hours, "the hour that comes twice is two"
        assert len(keys_in(Asked(start, end, BERLIN, By.DAY))) == 1
        assert day_bounds(Asked(start, end, BERLIN, By.DAY), (day - date(1970, 1, 1)).days) == (start, end)


def test_a_day_that_begins_at_one() -> None:
    """Clocks in São Paulo went from 0:00 to 1:00 on 4 November 2018."""
    zone = ZoneInfo("America/Sao_Paulo")
    assert midnight(zone, date(2018, 11, 4)) == at("2018-11-04T03:00+00:00")
    assert midnight(zone, date(2018, 11, 5)) == at("2018-11-05T02:00+00:00")


@pytest.mark.parametrize("name", ZONES)
@given(start=st.integers(1_100_000_000 // 900, 1_900_000_000 // 900), length=st.integers(1, 4 * 900))
def test_every_quarter_has_the_hour_and_day_that_the_zone_says(name: str, start: int, length: int) -> None:
    zone = ZoneInfo(name)
    begin, end = start * 900, (start + length) * 900
    days, hours = (Asked(begin, end, zone, by) for by in (By.DAY, By.HOUR))
    day_keys, hour_keys = set(keys_in(days)), set(keys_in(hours))
    for quarter in {begin, end - 900, (begin + end) // 2 // 900 * 900}:
        local = datetime.fromtimestamp(quarter, zone)
        assert local_key(days, quarter) == (local.date() - date(1970, 1, 1)).days
        assert local_key(days, quarter) in day_keys
        hour_start, offset = local_key(hours, quarter)
        assert (hour_start, offset) in hour_keys
        naive = local.replace(tzinfo=None)
        assert datetime.fromtimestamp(hour_start + offset, UTC).replace(tzinfo=None) == naive.replace(minute=0)
        week = weekday_of_hour(local_key(Asked(begin, end, zone, By.WEEKDAY_HOUR), quarter))
        assert week == (local.weekday(), local.hour)
