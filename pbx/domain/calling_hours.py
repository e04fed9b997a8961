"""When a number may be called: windows of its country in its own local time."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pbx.domain.opening_hours import DAY_MINUTES, Interval

LOOK_AHEAD_DAYS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingHours:
    """A number that may be in any of several ``zones`` is called when all of them allow it."""

    zones: tuple[ZoneInfo, ...]
    weekly: tuple[tuple[Interval, ...], ...]
    """Monday first; no interval goes over midnight."""
    holiday: tuple[Interval, ...]
    holidays: Container[date]

    def next_open(self, now: float) -> float | None:
        """``now`` when it may be called now, else the first moment at which it may; None: not within a month."""
        at, agreed = now, 0
        while agreed < len(self.zones):
            opens = self._opens(self.zones[agreed], at, now)
            if opens is None:
                return None
            agreed = agreed + 1 if opens == at else 0
            at = opens
        return at

    def _opens(self, zone: ZoneInfo, at: float, now: float) -> float | None:
        if at > now + LOOK_AHEAD_DAYS * 86_400:
            return None
        today = datetime.fromtimestamp(at, UTC).astimezone(zone).date()
        for day in (today + timedelta(days=n) for n in range(LOOK_AHEAD_DAYS)):
            windows = self.holiday if day in self.holidays else self.weekly[day.weekday()]
            for window in windows:
                if at < _instant(day, window.end, zone):
                    return max(at, _instant(day, window.begin, zone))
        return None


def _instant(day: date, minutes: int, zone: ZoneInfo) -> float:
    days, rest = divmod(minutes, DAY_MINUTES)
    local = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), zone)
    return local.astimezone(UTC).timestamp()
