"""Opening hours against a clock that is looked at every minute, and on the days on which clocks change."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pbx.domain.opening_hours import DAY_MINUTES, Interval, OpeningHours, State

BERLIN = ZoneInfo("Europe/Berlin")
NEVER: tuple[tuple[Interval, ...], ...] = ((),) * 7
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
"""Sundays on which Berlin's clocks go from 02:00 to 03:00, and from 03:00 back to 02:00."""


def at(hour: int, minute: int = 0) -> int:
    return hour * 60 + minute


def hours(
    *intervals: tuple[int, int],
    day: date | None = None,
    zone: ZoneInfo = BERLIN,
    special: dict[date, tuple[Interval, ...]] | None = None,
    holidays: frozenset[date] = frozenset(),
) -> OpeningHours:
    """Open at ``intervals`` on the weekday of ``day``, or daily."""
    found = tuple(Interval(*interval) for interval in intervals)
    weekly = tuple(found if day is None or day.weekday() == number else () for number in range(7))
    return OpeningHours(zone=zone, weekly=weekly, special=special or {}, holidays=holidays)


def local(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("time", "state"),
    [
        ("2026-11-20 08:59:59", State.CLOSED),
        ("2026-11-20 09:00:00", State.OPEN),
        ("2026-11-20 11:59:59", State.OPEN),
        ("2026-11-20 12:00:00", State.CLOSED),
        ("2026-11-20 13:00:00", State.OPEN),
        ("2026-11-20 23:59:59", State.OPEN),
        ("2026-11-21 00:00:00", State.OPEN),
        ("2026-11-21 01:59:59", State.OPEN),
        ("2026-11-21 02:00:00", State.CLOSED),
        ("2026-11-21 09:00:00", State.CLOSED),
    ],
)
def test_several_intervals_one_over_midnight(time: str, state: State) -> None:
    friday = hours((at(9), at(12)), (at(13), at(2)), day=date(2026, 11, 20))
    assert friday.state(local(time)) is state


def test_the_whole_day() -> None:
    always = hours((0, DAY_MINUTES))
    assert all(always.state(local("2026-10-24 12:00") + minute * 60) is State.OPEN for minute in range(2 * 1440))


def test_holidays_and_special_days() -> None:
    special = {date(2026, 12, 24): (Interval(at(9), at(12)),), date(2026, 12, 31): (), date(2027, 1, 1): ()}
    opening = hours((at(9), at(18)), special=special, holidays=frozenset({date(2026, 12, 25), date(2026, 12, 24)}))
    assert opening.state(local("2026-12-24 11:00")) is State.OPEN  # although a holiday
    assert opening.state(local("2026-12-24 13:00")) is State.CLOSED
    assert opening.state(local("2026-12-25 11:00")) is State.HOLIDAY
    assert opening.state(local("2026-12-26 11:00")) is State.OPEN
    assert opening.state(local("2026-12-26 11:00"), {date(2026, 12, 26)}) is State.HOLIDAY
    assert opening.state(local("2026-12-31 11:00")) is State.CLOSED
    assert opening.state(local("2027-01-01 11:00"), {date(2027, 1, 1)}) is State.CLOSED


def test_a_night_that_begins_before_a_holiday_ends_in_it() -> None:
    nights = hours((at(22), at(2)), holidays=frozenset({date(2026, 12, 25)}))
    assert nights.state(local("2026-12-25 01:00")) is State.OPEN
    assert nights.state(local("2026-12-25 23:00")) is State.HOLIDAY
    assert nights.state(local("2026-12-26 01:00")) is State.CLOSED


@pytest.mark.parametrize(
    ("interval", "minutes"),
    [
        ((at(0), at(24)), 23 * 60),
        ((at(1), at(4)), 120),
        ((at(2), at(3)), 0),
        ((at(2, 30), at(4)), 60),
        ((at(1), at(2, 30)), 60),
        ((at(9), at(17)), 480),
    ],
)
def test_minutes_open_on_the_short_day(interval: tuple[int, int], minutes: int) -> None:
    assert open_minutes(hours(interval, day=SPRING), SPRING) == minutes


@pytest.mark.parametrize(
    ("interval", "minutes"),
    [
        ((at(0), at(24)), 25 * 60),
        ((at(1), at(4)), 240),
        ((at(1), at(2)), 60),
        ((at(2), at(3)), 120),
        ((at(2, 30), at(4)), 150),
        ((at(1), at(2, 30)), 150),
        ((at(9), at(17)), 480),
        ((at(22), at(2)), 240),
    ],
)
def test_minutes_open_on_the_long_day(interval: tuple[int, int], minutes: int) -> None:
    assert open_minutes(hours(interval, day=AUTUMN), AUTUMN) == minutes


def open_minutes(opening: OpeningHours, day: date) -> int:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - 12 * 3600
    return sum(opening.state(start + minute * 60) is State.OPEN for minute in range(60 * 60))


def test_the_hour_that_comes_twice_is_one_opening() -> None:
    """Open until 02:30: the doors do not close at the first 02:30 to open again at the second 02:00."""
    opening = hours((at(1), at(2, 30)), day=AUTUMN)
    states = [opening.state(local("2026-10-25 00:00") + minute * 60) for minute in range(6 * 60)]
    changes = sum(before is not after for before, after in itertools.pairwise(states))
    assert changes == 2
    assert opening.state(local("2026-10-25 02:29", fold=1)) is State.OPEN
    assert opening.state(local("2026-10-25 02:30", fold=1)) is State.CLOSED


ZONES = ["Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
CHANGES = [SPRING, AUTUMN, date(2026, 3, 8), date(2026, 11, 1), date(2026, 4, 24), date(2026, 10, 30), date(2026, 4, 5)]
minute_of_day = st.integers(0, DAY_MINUTES - 1)
intervals = st.tuples(minute_of_day, st.integers(0, DAY_MINUTES)).filter(lambda pair: pair[0] != pair[1])


@pytest.mark.long
@given(
    zone=st.sampled_from(ZONES),
    middle=st.sampled_from(CHANGES),
    week=st.lists(st.lists(intervals, max_size=2), min_size=7, max_size=7),
    holiday=st.integers(-2, 2),
    special=st.tuples(st.integers(-2, 2), st.lists(intervals, max_size=2)),
)
@example(zone="Africa/Cairo", middle=date(2026, 10, 30), week=[[(0, 60), (1410, 30)]] * 7, holiday=2, special=(2, []))
@example(zone="Europe/Berlin", middle=AUTUMN, week=[[(1320, 120), (120, 180)]] * 7, holiday=2, special=(2, []))
def test_as_seen_by_somebody_who_watches_the_clock(
    zone: str,
    middle: date,
    week: list[list[tuple[int, int]]],
    holiday: int,
    special: tuple[int, list[tuple[int, int]]],
) -> None:
    """An interval begins when the clock first shows its begin or later, and ends when it will not show an earlier
    time than its end any more."""
    tz = ZoneInfo(zone)
    days = [middle + timedelta(days=number) for number in range(-2, 3)]
    closed, extra = middle + timedelta(days=holiday), middle + timedelta(days=special[0])
    opening = OpeningHours(
        zone=tz,
        weekly=tuple(tuple(Interval(*pair) for pair in day) for day in week),
        special={extra: tuple(Interval(*pair) for pair in special[1])},
        holidays=frozenset({closed}),
    )
    start = int(datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC).timestamp())
    instants = range(start, start + 4 * 86_400, 60)
    clock = [datetime.fromtimestamp(instant, tz).replace(tzinfo=None) for instant in instants]
    latest_so_far, earliest_to_come = list(clock), list(clock)
    for n in range(1, len(clock)):
        latest_so_far[n] = max(latest_so_far[n], latest_so_far[n - 1])
        earliest_to_come[-n - 1] = min(earliest_to_come[-n - 1], earliest_to_come[-n])
    is_open = [False] * len(clock)
    for day in [days[0] - timedelta(days=2), days[0] - timedelta(days=1), *days]:
        pairs = special[1] if day == extra else [] if day == closed else week[day.weekday()]
        for begin, end in pairs:
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # what clocks show
            first = midnight + timedelta(minutes=begin)
            last = midnight + timedelta(minutes=end if end > begin else end + DAY_MINUTES)
            for n in range(len(clock)):
                is_open[n] |= latest_so_far[n] >= first and earliest_to_come[n] < last
    limits = {n for n in range(1, len(clock)) if is_open[n] is not is_open[n - 1]}
    for n in sorted({*range(0, len(clock), 11), *limits, *(n - 1 for n in limits)}):
        state = opening.state(instants[n])
        assert (state is State.OPEN) == is_open[n], (clock[n], state)
        if not is_open[n]:
            assert (state is State.HOLIDAY) == (clock[n].date() == closed != extra)
