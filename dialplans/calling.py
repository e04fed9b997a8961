"""Calling people back: which numbers may be called, and when, by the pack of the number's country."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import date

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, timezone

from dialplans.days_off import public_holidays
from dialplans.numbering import E164, country_of, to_e164
from dialplans.pack import CountryPack, Hours, PackError, load_pack

_ORDINARY = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
        PhoneNumberType.UAN,
        PhoneNumberType.TOLL_FREE,
    }
)
"""Nobody is called back at a number that costs extra, whoever left it."""

Minutes = tuple[int, int]
"""Since midnight; the second up to 1440."""


@dataclass(frozen=True, slots=True)
class Windows:
    """When a number may be called. The number may be in any of ``zones``."""

    zones: tuple[str, ...]
    weekly: tuple[tuple[Minutes, ...], ...]
    """Monday first."""
    holiday: tuple[Minutes, ...]
    holidays: Container[date]


def _pack(country: str | None) -> CountryPack | None:
    try:
        return None if country is None else load_pack(country)
    except PackError:
        return None


def callable_number(text: str, country: str) -> str | None:
    """E.164 of an ordinary number, given as such or as dialled in ``country``; None for any other. What is not given as
    E.164 must be a number of ``country``. Never raises."""
    pack = _pack(country)
    is_whole = E164.fullmatch(text) is not None
    number = text if is_whole else None if pack is None else to_e164(text, pack)
    owner = None if number is None else country_of(number)
    if number is None or owner is None or (not is_whole and owner != country):
        return None
    try:
        parsed = phonenumbers.parse(number)
    except NumberParseException:
        return None
    return number if phonenumbers.number_type(parsed) in _ORDINARY else None


def windows(number: str, usual: str) -> Windows:
    """The country's rule, or ``usual`` (``HH:MM-HH:MM``) on every day where its pack has none. A number of a state with
    rules of its own is called when country and every such state allow it: which state it is in, nobody can tell."""
    country = country_of(number)
    pack = _pack(country)
    zones = [zone for zone in timezone.time_zones_for_number(phonenumbers.parse(number)) if "/" in zone]
    if pack is not None:
        zones = zones or [pack.timezone]
    hours = None if pack is None else pack.outbound.hours.value
    states = (
        None if pack is None or pack.outbound.hours_subdivisions is None else pack.outbound.hours_subdivisions.value
    )
    everyday = (_minutes(usual),)
    rules = [hour for hour in (hours, *(states or {}).values()) if hour is not None]
    days = [_days(rule) for rule in rules] or [(everyday,) * 8]
    weekly = tuple(_common([day[n] for day in days]) for n in range(8))
    return Windows(tuple(zones) or ("UTC",), weekly[:7], weekly[7], _holidays(country))


def _days(hours: Hours) -> tuple[tuple[Minutes, ...], ...]:
    """Monday to Sunday, then public holidays."""
    read = [tuple(map(_minutes, day)) for day in (hours.mon_fri, hours.sat, hours.sun, hours.public_holiday)]
    return (*[read[0]] * 5, *read[1:])


def _minutes(window: str) -> Minutes:
    begin, end = ((int(clock[:2]) * 60 + int(clock[3:])) for clock in window.split("-"))
    return begin, end


def _common(days: list[tuple[Minutes, ...]]) -> tuple[Minutes, ...]:
    """What all of them allow."""
    common = days[0]
    for other in days[1:]:
        pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in common for b in other)
        common = tuple(pair for pair in pairs if pair[0] < pair[1])
    return common


def _holidays(country: str | None) -> Container[date]:
    try:
        return frozenset[date]() if country is None else public_holidays(country)
    except KeyError:
        return frozenset()
