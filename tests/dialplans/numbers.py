"""Numbers and INVITEs that the dialplan of either engine has to read alike."""

from __future__ import annotations

import random

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from dialplans.pack import CountryPack

NUMBERS = [
    *("0305550100", "+49305550100", "0049305550100", "49305550100", "5550100", "4955010", "015112345678"),
    *("0014155550100", "+14155550100", "112", "00", "0", "+", "++49305550100", "+0123456789", "0" + "1" * 20),
    *("5550100;phone-context=+4930", "5550100;phone-context=+4940", "0305550100;phone-context=+49"),
    *("5550100;phone-context=carrier.example", "+49305550100;npdi;rn=+4912", "5550100;x=1;y=2"),
    *("030-5550100", "+49 (30) 5550100", "030abc", "+4930abc", "030)5550100", "030]5550100", '0305550100"'),
    # Each of these would be something else if it reached the dialplan as it is.
    *("0305550100,s,1", "0305550100:s", "030${EPOCH}", "030$[1+1]", "030&PJSIP", "030?a:b", "+4930${SHELL(id)}"),
]


def some_numbers(count: int) -> list[str]:
    rng = random.Random(20)
    starts = ["", "+", "0", "00", "49", "+49", "0049", "049", "030", "5"]
    return [rng.choice(starts) + "".join(rng.choices("0123456789", k=rng.randint(1, 14))) for _ in range(count)]


def called_and_callers() -> list[tuple[str, str]]:
    """Some 190 pairs of a called number and its caller's."""
    callers = [*(number for number in NUMBERS if ";" not in number), *some_numbers(150)]
    called = [*NUMBERS, *some_numbers(150)]
    return [(number, callers[index * 7 % len(callers)]) for index, number in enumerate(called)]


TRUSTED = "P-Asserted-Identity: <sip:+4989111222@carrier.example>\n"
HIDDEN = '"Anonymous" <sip:anonymous@anonymous.invalid>'

INVITES = [
    ("sip:0305550100@{pop}", None, "", "+493012345678"),
    ("sip:+49305550100@{pop};user=phone", None, "", "+493012345678"),
    ("sip:5550100;phone-context=+4930@{pop};user=phone", None, "", "+493012345678"),
    ("tel:+49305550100", None, "", "+493012345678"),
    ("sip:0305550100@{pop}", HIDDEN, "", "withheld"),
    ("sip:0305550100@{pop}", HIDDEN, TRUSTED + "Privacy: id\n", "withheld"),
    ("sip:0305550100@{pop}", HIDDEN, TRUSTED, "+4989111222"),
    ("sip:0305550100@{pop}", None, "P-Asserted-Identity: <tel:+4989111222>\n", "+4989111222"),
    ("sip:0305550100@{pop}", "<sip:carrier.example>", "", "unknown"),
    ("sip:0305550100@{pop}", '"${SHELL(id)}" <sip:%24%7bEPOCH%7d@x>', "", "unknown"),
    ("sip:0305550100@{pop}", "<sip:030%2cs%2c1@x>", "", "unknown"),
]
"""Request URI, From: (None: an ordinary one), more headers, the caller as handed over. The DID is +49305550100."""

NO_NUMBERS = [("support", 404), ("0", 484), ("0305550100%2cs%2c1", 484), ("+49305550100555501005555", 484)]
"""User part of a called number that is none, and the status that refuses it."""

DIALLED = [
    ("112", "112"),
    ("110", "110"),
    ("08912345678", "+498912345678"),
    ("5550177", "+49305550177"),
    ("0014155550100", "+14155550100"),
    ("+41445550100", "+41445550100"),
    ("0800123456", "+49800123456"),
    ("01371234567", "+491371234567"),
]
"""What an agent dials, and what the carrier is asked for."""

SHOWN = {"+": "+49305550100", "+1": "+14155550199"}
"""What the POP of these tests shows to whom its agents dial."""


def shown(dialled: str) -> str:
    return SHOWN["+1" if dialled.startswith("+1") else "+"]


ALLOWED = ["+49137"]
"""What it allows although it is barred."""

NOT_DIALLED = [
    # Premium in France and Britain, no country's code, too short for its country.
    *(("0033899123456", 21), ("+449098790000", 21), ("+9991234567", 21), ("+3314268", 21)),
    *(("09001123456", 21), ("+499001123456", 21), ("+870773111632", 21), ("0088216123456", 21), ("+979123456789", 21)),
    ("0", 28),
    ("030&PJSIP", 28),
    ("030abc", 28),
]
"""What an agent may not dial, and the Q.850 cause."""


def asserted_calls(pack: CountryPack) -> list[tuple[tuple[str, str, str], tuple[str, str]]]:
    """Calls as carriers of the pack's country send them beside plain ones: called number with and without
    phone-context, asserted identity, Privacy; and the DID and caller that are handed over."""
    example = phonenumbers.example_number_for_type(pack.iso_alpha2, PhoneNumberType.MOBILE)
    assert example is not None
    number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
    significant = phonenumbers.national_significant_number(example)
    national = (pack.numbering.trunk_prefix or "") + significant
    abroad = pack.numbering.international_prefixes[0] + number[1:]
    context = f"{significant};phone-context=+{example.country_code}"
    return [
        ((national, national, "none"), (number, number)),
        ((context, number, "none"), (number, number)),
        ((abroad, abroad, "id"), (number, "withheld")),
        ((number, "anonymous", "none"), (number, "withheld")),
    ]
