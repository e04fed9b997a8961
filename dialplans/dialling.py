"""Whether a call may go out to a number, and as which: the gate before every call that nobody dials by hand.

A number from a flow, a queue or an API is dialled on the operator's bill, perhaps for a caller who keyed it in. So what
is in doubt is refused with its reason; ``numbering.to_e164``, which reads what carriers send, guesses where it must.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import phonenumbers
from phonenumbers import PhoneNumberType, ShortNumberCost, shortnumberinfo

from dialplans.numbering import E164, forms
from dialplans.pack import CountryPack

_SEPARATORS = re.compile(r"[ ()./\u00a0-]")
_LONGEST = 40
"""Characters, separators included."""


class Refusal(Enum):
    NOT_A_NUMBER = "not_a_number"
    EMERGENCY = "emergency"
    SHORT = "short"
    """Service codes, national helplines and directories: they mean something else in every country, or cost extra."""
    PREMIUM = "premium"
    """Premium, shared-cost and personal numbers, satellite and international networks but +800."""
    UNKNOWN_RANGE = "unknown_range"
    """No country has given the number to anybody, as far as libphonenumber knows."""
    AMBIGUOUS = "ambiguous"
    """It could be two numbers; with plus and country code it is one."""
    NOT_ALLOWED = "not_allowed"
    """A number like any other, and not among those this place may call."""


_SAYS = {
    Refusal.NOT_A_NUMBER: "is not a phone number: write it with plus and country code, or as it is dialled at home",
    Refusal.EMERGENCY: "is an emergency number",
    Refusal.SHORT: "is a short number, which only phones may dial",
    Refusal.PREMIUM: "is a premium, shared-cost, personal or satellite number",
    Refusal.UNKNOWN_RANGE: "is in no range known to be in use",
    Refusal.AMBIGUOUS: "could be two numbers: write it with plus and country code",
    Refusal.NOT_ALLOWED: "is not among the numbers that may be called from here",
}


class MayNotDial(ValueError):
    """``refusal`` for programs, ``reason`` for people; the number is not in the text, which may come to a log."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(_SAYS[refusal])
        self.refusal, self.reason = refusal, _SAYS[refusal]


@dataclass(frozen=True, slots=True)
class Outside:
    """A number that may be called. ``kind``: ``fixed``, ``mobile``, ``fixed_or_mobile``, ``toll_free``, ``voip`` or
    ``uan`` (one number of a company with many places)."""

    number: str
    """E.164."""
    kind: str


_KINDS = {
    PhoneNumberType.FIXED_LINE: "fixed",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.UAN: "uan",
}
_DEAR = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.PERSONAL_NUMBER})
_NOWHERE = "001"
"""libphonenumber's region of networks that are no country's."""


def check(number: str) -> Outside:
    """A number in E.164, whoever calls it. Raises MayNotDial."""
    if not E164.fullmatch(number):
        raise MayNotDial(Refusal.NOT_A_NUMBER)
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise MayNotDial(Refusal.UNKNOWN_RANGE) from None
    code = parsed.country_code or 0
    region = phonenumbers.region_code_for_country_code(code)
    national = phonenumbers.national_significant_number(parsed)
    for country in phonenumbers.region_codes_for_country_code(code):
        _refuse_short(national, country)
    kind = phonenumbers.number_type(parsed)
    if kind in _DEAR or (region == _NOWHERE and kind != PhoneNumberType.TOLL_FREE):
        raise MayNotDial(Refusal.PREMIUM)
    if kind not in _KINDS:
        raise MayNotDial(Refusal.UNKNOWN_RANGE)
    return Outside(number, _KINDS[kind])


def placed(number: str, allowed: Sequence[str] = ()) -> tuple[Outside, str | None]:
    """A number in E.164 that an agent calls, wherever it is, and the beginning in ``allowed`` by which it is called all
    the same where it would be barred: premium numbers, short ones that may cost extra, ranges nobody knows. Raises
    MayNotDial."""
    try:
        return check(number), None
    except MayNotDial as error:
        kind = _BARRED.get(error.refusal)
        if kind is None:
            raise
        prefix = max((one for one in allowed if number.startswith(one)), key=len, default=None)
        if prefix is None and not (error.refusal is Refusal.SHORT and _costs_nothing_extra(number)):
            raise
        return Outside(number, kind), prefix


_BARRED = {Refusal.PREMIUM: "premium", Refusal.SHORT: "short", Refusal.UNKNOWN_RANGE: "unknown"}
"""What may be allowed, as the kind that the record names."""


def _costs_nothing_extra(number: str) -> bool:
    parsed = phonenumbers.parse(number)
    cheap = (ShortNumberCost.TOLL_FREE, ShortNumberCost.STANDARD_RATE)
    countries = phonenumbers.region_codes_for_country_code(parsed.country_code or 0)
    return any(shortnumberinfo.expected_cost_for_region(parsed, country) in cheap for country in countries)


def _refuse_short(digits: str, country: str) -> None:
    short = phonenumbers.PhoneNumber(phonenumbers.country_code_for_region(country), int(digits))
    if shortnumberinfo.is_emergency_number(digits, country):
        raise MayNotDial(Refusal.EMERGENCY)
    if len(digits) < 7 and shortnumberinfo.is_valid_short_number_for_region(short, country):
        raise MayNotDial(Refusal.SHORT)


def outside(text: str, pack: CountryPack, *, area_code: str = "", prefixes: Sequence[str] = ()) -> Outside:
    """What ``text``, E.164 or as written in the pack's country, calls from there. Raises MayNotDial.

    ``area_code`` completes local numbers. ``prefixes`` are those of the numbers in E.164 that may be called; without
    any the pack's own country may, and no other, whatever countries share its code."""
    digits = _SEPARATORS.sub("", text.strip()[:_LONGEST])
    if not re.fullmatch(r"\+?[0-9]+", digits):
        raise MayNotDial(Refusal.NOT_A_NUMBER)
    country = pack.iso_alpha2
    if digits in pack.numbering.emergency_numbers:
        raise MayNotDial(Refusal.EMERGENCY)
    if not digits.startswith("+"):
        _refuse_short(digits, country)
    found = _readings(digits, pack, area_code)
    if len(found) != 1:
        raise MayNotDial(Refusal.AMBIGUOUS if found else Refusal.UNKNOWN_RANGE)
    reading = found[0]
    if isinstance(reading, MayNotDial):
        raise reading
    abroad = not reading.number.startswith(tuple(prefixes)) if prefixes else _country(reading.number) != country
    if abroad:
        raise MayNotDial(Refusal.NOT_ALLOWED)
    return reading


def _readings(digits: str, pack: CountryPack, area_code: str) -> list[Outside | MayNotDial]:
    """Everything the digits can mean: numbers in use, and those that are refused for what they are."""
    open_plan = pack.numbering.trunk_prefix == "0"
    seen: dict[str, Outside | MayNotDial] = {}
    for form in forms(pack, area_code):
        if not re.fullmatch(form.regex, digits):
            continue
        number = form.apply(digits)
        try:
            seen[number] = check(number)
        except MayNotDial as error:
            if error.refusal in (Refusal.PREMIUM, Refusal.EMERGENCY, Refusal.SHORT):
                seen[number] = error
            continue
        if form.name == "bare national" and open_plan:
            # At home it is dialled with a zero; without it, it may be a local number of wherever the writer sits.
            seen[f"local:{number}"] = seen[number]
    return list(seen.values())


def _country(number: str) -> str | None:
    return phonenumbers.region_code_for_number(phonenumbers.parse(number))
