"""A person as the centre knows one: a telephone number, and all ways in which it may be written."""

from __future__ import annotations

import re

import phonenumbers

from pbx.domain.forgetting import digest

_DIGITS = re.compile(r"[^0-9]")
SUBJECT_HASH = "hmac-sha256:"


def forms(number: str) -> tuple[str, ...]:
    """``number`` (E.164) as it may stand in what callers key in and lookups bring: with plus, 00, nothing before the
    country code, and, of a number of a known country, as at home."""
    digits = number.removeprefix("+")
    found = [number, digits, "00" + digits]
    if (parsed := _parsed(number)) is not None:
        home = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
        found.append(_DIGITS.sub("", home))
    return tuple(dict.fromkeys(found))


def core(number: str) -> str:
    """The digits that every form ends with: what to look for first."""
    parsed = _parsed(number)
    national = number if parsed is None else phonenumbers.national_significant_number(parsed)
    return national.lstrip("+0")


def _parsed(number: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None


def digests(key: bytes, number: str) -> list[str]:
    return [digest(key, form) for form in forms(number)]


def named_in(text: str, number: str) -> bool:
    """Whether a text names the number, however it is written there."""
    return core(number) in _DIGITS.sub("", text)
