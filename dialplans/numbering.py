"""Numbers as carriers, callers and agents write them, turned into E.164.

One table of forms per country and area code is the only rule: ``to_e164`` matches it here, the rendered dialplan holds
the same table as extension patterns. Lengths and plan facts come from libphonenumber's metadata. Nothing here raises on
any text except ``check_did``, which refuses with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ValidationResult
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc

from dialplans.pack import CountryPack

WITHHELD = "withheld"
"""The caller asked for privacy. A value of its own, not a missing number."""
UNKNOWN = "unknown"
"""The carrier sent nothing that could be dialled."""

MAX_DIGITS = 15
"""E.164, section 6.2.1."""
MIN_DIGITS = 7
"""Shortest country code and subscriber number taken for a whole number."""
SHORTEST_LOCAL = 3
"""Digits of the shortest local number; anything shorter is a service code."""
PLUS_LOST_MIN = 10
"""Bare digits that begin with the country code are taken for E.164 without its plus only from this length on:
shorter ones are local numbers that happen to begin so (49xxxxx exists in Berlin)."""

E164 = re.compile(rf"\+[1-9][0-9]{{{MIN_DIGITS - 1},{MAX_DIGITS - 1}}}")
OPEN_PLAN = 3
"""More lengths than this in a row make a plan open."""
_NOISE = re.compile(r"[^0-9A-Za-z+*#]")
"""What the dialplan's FILTER() drops too: separators, and all that has no business in a number."""
_PRIVATE = frozenset({"anonymous", "restricted", "private", "withheld"})
_LONGEST = 256
"""Characters; no header that carries a number is longer."""


class NumberRefused(ValueError):
    """A number that cannot be configured. ``number`` as given, ``reason`` for a person."""

    def __init__(self, number: str, reason: str) -> None:
        super().__init__(f"{number!r}: {reason}")
        self.number = number
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a number. ``pattern`` is a media server's extension pattern without its underscore:
    digits and ``+`` stand for themselves, X is 0-9, Z is 1-9, a final dot is one or more of anything, a final
    exclamation mark any number of anything."""

    name: str
    pattern: str
    strip: int
    """Characters to cut off the front."""
    prepend: str

    def apply(self, digits: str) -> str:
        return self.prepend + digits[self.strip :]

    @property
    def regex(self) -> str:
        return _regex(self.pattern)

    @property
    def capture(self) -> str:
        """An anchored regular expression whose only group is what follows ``prepend``."""
        return f"^{_regex(self.pattern[: self.strip])}({_regex(self.pattern[self.strip :])})$"


def _regex(pattern: str) -> str:
    steps = {"X": "[0-9]", "Z": "[1-9]", ".": ".+", "!": ".*", "+": "[+]"}
    return "".join(steps.get(char, char) for char in pattern)


def _metadata(country: str) -> PhoneMetadata:
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None:
        raise ValueError(f"libphonenumber knows no country {country}")
    return metadata


def _lengths(country: str) -> tuple[set[int], set[int], int]:
    """Digits of the country's fixed and mobile numbers, of its toll-free ones, and of its longest mobile number."""
    metadata = _metadata(country)
    mobile, fixed, free = (
        {n for n in desc.possible_length if n > 0} if desc is not None else set[int]()
        for desc in (metadata.mobile, metadata.fixed_line, metadata.toll_free)
    )
    return fixed | mobile, free, max(mobile)


def _of_lengths(name: str, start: str, lengths: set[int], strip: int, prepend: str) -> list[Form]:
    """Forms of ``start`` and further digits, ``lengths`` digits in all (those that E.164 leaves room for)."""
    fitting = sorted(n for n in lengths if len(prepend.lstrip("+")) + n - strip <= MAX_DIGITS)
    if len(fitting) > OPEN_PLAN and fitting[-1] - fitting[0] == len(fitting) - 1:
        # An open plan: one pattern from the shortest on; the upper end is E.164's, which is checked on the result.
        return [Form(name, start + "X" * (fitting[0] - len(start)) + "!", strip, prepend)]
    return [Form(name, start + "X" * (n - len(start)), strip, prepend) for n in fitting]


@lru_cache(maxsize=1024)
def _forms(
    country: str, code: str, trunk: str | None, international: tuple[str, ...], area_code: str
) -> tuple[Form, ...]:
    lengths, toll_free, longest_mobile = _lengths(country)
    table = [Form("e164", "+Z.", 0, "")]
    table += [Form("international", f"{prefix}Z.", len(prefix), "+") for prefix in international]
    if trunk == "0":
        table.append(Form("national", "0Z.", 1, f"+{code}"))
    elif trunk is not None:
        # This trunk prefix could also begin a local number, so only whole lengths count.
        table += _of_lengths("national", trunk, {n + len(trunk) for n in lengths | toll_free}, len(trunk), f"+{code}")
    if code != trunk:
        # Without a trunk prefix a national number may begin with the country code itself (Italian mobiles, 39x).
        shortest = PLUS_LOST_MIN if trunk is not None else max(PLUS_LOST_MIN, longest_mobile + 1)
        lost = {n + len(code) for n in lengths if n + len(code) >= shortest}
        table += _of_lengths("plus lost", code, lost, 0, "+")
    first = "Z" if trunk == "0" else "X"
    local = {n - len(area_code) for n in lengths if n - len(area_code) >= SHORTEST_LOCAL} if area_code else set()
    table += _of_lengths("local", first, local, 0, f"+{code}{area_code}")
    table += _of_lengths("bare national", first, (lengths | toll_free) - local, 0, f"+{code}")
    return tuple(table)


def forms(pack: CountryPack, area_code: str = "") -> tuple[Form, ...]:
    """Every form of a number sent in the pack's country, most specific first. ``area_code`` completes local numbers."""
    plan = pack.numbering
    code = str(plan.e164_country_code)
    return _forms(pack.iso_alpha2, code, plan.trunk_prefix, plan.international_prefixes, area_code)


@lru_cache(maxsize=256)
def _compiled(table: tuple[Form, ...]) -> tuple[tuple[re.Pattern[str], Form], ...]:
    return tuple((re.compile(form.regex), form) for form in table)


def _user_and_context(text: str) -> tuple[str, str]:
    """The user part of a SIP or tel URI (or bare text) without separators, and its phone-context."""
    text = text.strip()[:_LONGEST]
    if "<" in text:
        text = text.split("<", 1)[1].split(">", 1)[0]
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips", "tel"):
        text = rest
    user, *parameters = text.split("@", 1)[0].split(";")
    context = ""
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "phone-context":
            context = re.sub(r"[^0-9+]", "", value)
    return _NOISE.sub("", user), context


def to_e164(text: str, pack: CountryPack, area_code: str = "") -> str | None:
    """E.164 of a number as a carrier sent it, None when it is none. Never raises.

    ``;phone-context=+4930`` completes a number that is not global by itself (RFC 3966 section 5.1.5)."""
    number, context = _user_and_context(text)
    table = forms(pack, area_code)
    if re.fullmatch(r"\+[1-9][0-9]*", context) and re.fullmatch(r"[1-9][0-9]*", number):
        result = context + number
        return result if E164.fullmatch(result) else None
    for pattern, form in _compiled(table):
        if pattern.fullmatch(number):
            result = form.apply(number)
            return result if E164.fullmatch(result) else None
    return None


def cli(text: str, pack: CountryPack, area_code: str = "", *, private: bool = False) -> str:
    """The caller's number: E.164, ``withheld`` or ``unknown``. ``private``: the signalling asked for privacy."""
    user, _ = _user_and_context(text)
    if private or user.lower() in _PRIVATE:
        return WITHHELD
    return to_e164(text, pack, area_code) or UNKNOWN


@lru_cache(maxsize=65536)
def country_of(e164: str) -> str | None:
    """ISO 3166-1 alpha-2 of the country an E.164 number belongs to, None when it belongs to none or to none known.

    A country code shared by several countries (+1, +7, +44) is decided by the number's range; a number outside every
    range is nobody's. Never raises."""
    if not E164.fullmatch(e164):
        return None
    for size in (1, 2, 3):
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(e164[1 : 1 + size]))
        if regions is not None and len(regions) == 1:
            return None if regions[0] == "001" else regions[0]
        if regions is not None:
            break
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(e164))
    except NumberParseException:
        return None


_IMPOSSIBLE = {
    ValidationResult.INVALID_COUNTRY_CODE: "no country has this code",
    ValidationResult.TOO_SHORT: "too short for its country",
    ValidationResult.TOO_LONG: "too long for its country",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "a local number without its area code",
    ValidationResult.INVALID_LENGTH: "no number of its country has this length",
}
_PREMIUM = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST})


def check_did(number: str, country: str | None = None) -> str:
    """``number`` if it can be a DID: E.164, of a length its country uses, of ``country`` where one is given.

    Accepted are *possible* numbers, also in ranges libphonenumber does not know: carriers open ranges before the
    metadata follows. Refused, with the reason: not E.164, an impossible length, another country, premium and
    shared-cost ranges (callers would pay for waiting)."""
    if not E164.fullmatch(number):
        raise NumberRefused(number, "is not E.164 (a plus, the country code, 7 to 15 digits in all, nothing else)")
    try:
        parsed = phonenumbers.parse(number)
    except NumberParseException as error:
        raise NumberRefused(number, f"is not a phone number: {error}") from error
    verdict = phonenumbers.is_possible_number_with_reason(parsed)
    if verdict != ValidationResult.IS_POSSIBLE:
        raise NumberRefused(number, f"is impossible: {_IMPOSSIBLE.get(verdict, 'wrong length')}")
    if country is not None and parsed.country_code != phonenumbers.country_code_for_region(country):
        raise NumberRefused(number, f"is not a number of {country}")
    if phonenumbers.number_type(parsed) in _PREMIUM:
        raise NumberRefused(number, "is a premium or shared-cost number")
    return number


@dataclass(frozen=True, slots=True)
class Range:
    """National (significant) numbers behind one country code, as POSIX extended expressions without anchors."""

    code: str
    barred: str | None
    """Premium, shared-cost and personal numbers."""
    known: str
    """All that the country's plan has room for: coarser than what is in use, which is too long for a dialplan."""


@lru_cache(maxsize=1)
def ranges() -> tuple[Range, ...]:
    """Of every country code that is one country's or some countries'."""
    found = []
    for code, countries in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items(), key=lambda item: str(item[0])):
        if countries == ("001",):
            continue
        plans = [_metadata(country) for country in countries]
        dear = [desc for plan in plans for desc in (plan.premium_rate, plan.shared_cost, plan.personal_number)]
        known = _posix([plan.general_desc for plan in plans])
        if known is not None:
            found.append(Range(str(code), _posix(dear), known))
    return tuple(found)


def _posix(descriptions: Iterable[PhoneNumberDesc | None]) -> str | None:
    patterns = {desc.national_number_pattern for desc in descriptions if desc is not None} - {None, ""}
    if not patterns:
        return None
    joined = "|".join(sorted(map(str, patterns))).replace("(?:", "(").replace(r"\d", "[0-9]")
    if re.search(r"\\|\(\?", joined):
        raise ValueError(f"not a POSIX expression: {joined}")
    return joined
