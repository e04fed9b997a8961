"""A person as the centre knows one: a telephone number, and all ways in which it may be written."""

from __future__ import annotations

import re

import phonenumbers

from orchestrator.domain.problems import one
from pbx.domain.forgetting import digest

_DIGITS = re.compile(r"[^0-9]")
SUBJECT_HASH = "hmac-sha256:"


def forms(number: str) -> tuple[str, ...]:
    """``number`` (E.164) as it may stand in what callers key in and lookups bring: with plus, 00, nothing before the
    country code, and as at home. Raises Invalid for what is no number of any country."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise one("number", "is not a telephone number in E.164") from None
    digits = number.removeprefix("+")
    home = _DIGITS.sub("", phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL))
    return tuple(dict.fromkeys((number, digits, "00" + digits, home)))


def core(number: str) -> str:
    """The digits that every form ends with: what to look for first."""
    return phonenumbers.national_significant_number(phonenumbers.parse(number)).lstrip("0")


def digests(key: bytes, number: str) -> list[str]:
    return [digest(key, form) for form in forms(number)]


def named_in(text: str, number: str) -> bool:
    """Whether a text names the number, however it is written there."""
    return core(number) in _DIGITS.sub("", text)
