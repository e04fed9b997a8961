"""Numbers in every form carriers send, and text that is no number at all."""

from __future__ import annotations

import contextlib
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from dialplans.dialling import MayNotDial, placed
from dialplans.numbering import (
    E164,
    PLUS_LOST_MIN,
    NumberRefused,
    check_did,
    cli,
    country_of,
    forms,
    ranges,
    to_e164,
)
from dialplans.pack import countries, load_pack

BERLIN = "30"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0305550100", "+49305550100"),
        ("+49305550100", "+49305550100"),
        ("0049305550100", "+49305550100"),
        ("49305550100", "+49305550100"),
        ("5550100", "+49305550100"),
        ("4955010", "+49304955010"),  # a Berlin number that begins like the country code
        ("030 555 01-00", "+49305550100"),
        ("+49 (30) 5550100", "+49305550100"),
        ("tel:+49-30-5550100", "+49305550100"),
        ("sip:0305550100@198.18.0.2;user=phone", "+49305550100"),
        ("<sip:+49305550100@pop>", "+49305550100"),
        ("tel:5550100;phone-context=+4930", "+49305550100"),
        ("5550100;phone-context=+4940", "+49405550100"),
        ("0305550100;phone-context=+49", "+49305550100"),
        ("5550100;phone-context=carrier.example", "+49305550100"),
        ("+49305550100;npdi;rn=+4912", "+49305550100"),
        ("+14155550100", "+14155550100"),
        ("0014155550100", "+14155550100"),
        ("015112345678", "+4915112345678"),
        ("", None),
        ("anonymous", None),
        ("+", None),
        ("0", None),
        ("00", None),
        ("+0123456789", None),
        ("+1234567890123456", None),
        ("030abc", None),
        ("++49305550100", None),
    ],
)
def test_forms_of_german_numbers(text: str, number: str | None) -> None:
    assert to_e164(text, load_pack("DE"), BERLIN) == number


def test_without_an_area_code_a_local_number_is_taken_as_national() -> None:
    assert to_e164("305550100", load_pack("DE")) == "+49305550100"


@pytest.mark.parametrize(
    ("country", "area_code", "text", "number"),
    [
        ("US", "415", "5550100", "+14155550100"),
        ("US", "415", "2125550100", "+12125550100"),
        ("US", "415", "12125550100", "+12125550100"),
        ("US", "415", "01149305550100", "+49305550100"),
        ("GB", "20", "79460018", "+442079460018"),
        ("GB", "20", "02079460018", "+442079460018"),
        ("RU", "495", "84951234567", "+74951234567"),
        ("RU", "495", "74951234567", "+74951234567"),
        ("RU", "495", "8123456", "+74958123456"),
        ("RU", "495", "81049305550100", "+49305550100"),
        ("IT", "", "0612345678", "+390612345678"),
        ("IT", "", "3931234567", "+393931234567"),  # a mobile that begins with the country code
        ("IT", "", "393931234567", "+393931234567"),
        ("IN", "11", "9123456789", "+919123456789"),
        ("IN", "11", "919123456789", "+919123456789"),
        ("AU", "2", "001149305550100", "+49305550100"),
        ("NG", "1", "00949305550100", "+49305550100"),
        ("SG", "", "61234567", "+6561234567"),
    ],
)
def test_forms_elsewhere(country: str, area_code: str, text: str, number: str) -> None:
    assert to_e164(text, load_pack(country), area_code) == number


@pytest.mark.parametrize("iso2", countries())
@pytest.mark.parametrize("kind", [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
def test_every_country_reads_its_own_numbers_in_every_form(iso2: str, kind: int) -> None:
    example = phonenumbers.example_number_for_type(iso2, kind)
    assert example is not None
    pack = load_pack(iso2)
    number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
    national = phonenumbers.national_significant_number(example)
    trunk = pack.numbering.trunk_prefix or ""
    # The country's own habit of writing it is not always what is dialled (Colombia, Argentina's 15): the prefix is.
    written = [number, f"00{number[1:]}", f"{pack.numbering.international_prefixes[0]}{number[1:]}"]
    if len(number) > PLUS_LOST_MIN:  # shorter ones cannot be told from national numbers
        written.append(number[1:])
    written += [trunk + national, f"tel:{number}", f"sip:{number};user=phone@carrier", f"{number[:4]} {number[4:]}"]
    for text in written:
        assert to_e164(text, pack) == number, text
    assert country_of(number) == iso2
    assert check_did(number, iso2) == number


@pytest.mark.parametrize(
    ("text", "private", "expected"),
    [
        ("03012345678", False, "+493012345678"),
        ("03012345678", True, "withheld"),
        ("anonymous", False, "withheld"),
        ("sip:Anonymous@anonymous.invalid", False, "withheld"),
        ("Restricted", False, "withheld"),
        ("", False, "unknown"),
        ("unavailable", False, "unknown"),
        ("SHOP", False, "unknown"),
        ("30", False, "unknown"),
    ],
)
def test_the_caller_is_a_number_or_withheld_or_unknown(text: str, private: bool, expected: str) -> None:
    assert cli(text, load_pack("DE"), BERLIN, private=private) == expected


texts = st.one_of(st.text(), st.text("0123456789+ -.;:=@<>()abc", max_size=40))


@given(texts, st.sampled_from(countries()), st.sampled_from(["", "30", "415", "2"]))
def test_no_text_ever_raises_and_results_are_e164(text: str, country: str, area_code: str) -> None:
    pack = load_pack(country)
    number = to_e164(text, pack, area_code)
    assert number is None or E164.fullmatch(number)
    caller = cli(text, pack, area_code)
    assert caller in ("withheld", "unknown") or E164.fullmatch(caller)
    assert country_of(text) is None or E164.fullmatch(text)
    with contextlib.suppress(NumberRefused):
        assert check_did(text) == text


@given(st.from_regex(E164, fullmatch=True), st.sampled_from(countries()))
def test_e164_stays_what_it_is_everywhere(number: str, country: str) -> None:
    assert to_e164(number, load_pack(country), "30") == number


def test_country_of() -> None:
    assert country_of("+14155550100") == "US"
    assert country_of("+16135550100") == "CA"
    assert country_of("+77012345678") == "KZ"
    assert country_of("+441481222222") == "GG"
    assert country_of("+80012345678") is None
    assert country_of("+9990000000") is None
    assert country_of("withheld") is None


@pytest.mark.parametrize(
    ("number", "country", "reason"),
    [
        ("0305550100", "DE", "not E.164"),
        ("+49 30 5550100", "DE", "not E.164"),
        ("+49305550100\n", "DE", "not E.164"),
        ("", "DE", "not E.164"),
        ("+14155550100", "DE", "not a number of DE"),
        ("+1415555010", "US", "too short"),
        ("+141555501000", "US", "too long"),
        ("+9990000000", None, "not a phone number"),
        ("+499001123456", "DE", "premium"),
        ("+491805123456", "DE", "premium or shared-cost"),
    ],
)
def test_a_did_that_cannot_be_is_refused_with_the_reason(number: str, country: str | None, reason: str) -> None:
    with pytest.raises(NumberRefused, match=reason) as refused:
        check_did(number, country)
    assert refused.value.number == number


def test_numbers_in_ranges_nobody_assigned_are_accepted_as_dids() -> None:
    assert check_did("+49305550100", "DE") == "+49305550100"
    unassigned = "+12005550100"
    assert not phonenumbers.is_valid_number(phonenumbers.parse(unassigned))
    assert check_did(unassigned, "US") == unassigned


@pytest.mark.parametrize("iso2", countries())
def test_forms_are_what_the_media_server_understands(iso2: str) -> None:
    for form in forms(load_pack(iso2), "30"):
        assert re.fullmatch(r"[0-9XZ+]+[.!]?", form.pattern)


def _barred_alone(number: str) -> bool:
    """As both dialplans decide without a controller."""
    for one in ranges():
        if number.startswith(f"+{one.code}"):
            national = number[1 + len(one.code) :]
            dear = one.barred is not None and re.fullmatch(one.barred, national) is not None
            return dear or re.fullmatch(one.known, national) is None
    return not number.startswith("+800")


KINDS = {
    PhoneNumberType.FIXED_LINE: False,
    PhoneNumberType.MOBILE: False,
    PhoneNumberType.TOLL_FREE: False,
    PhoneNumberType.VOIP: False,
    PhoneNumberType.PREMIUM_RATE: True,
    PhoneNumberType.SHARED_COST: True,
    PhoneNumberType.PERSONAL_NUMBER: True,
}


def test_premium_numbers_of_all_countries_are_barred_with_and_without_a_controller() -> None:
    """libphonenumber's example of each kind in each country; ordinary ones pass."""
    seen: dict[bool, int] = {False: 0, True: 0}
    for country in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind, barred in KINDS.items():
            example = phonenumbers.example_number_for_type(country, kind)
            if example is None or phonenumbers.number_type(example) != kind:
                continue
            number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            if not E164.fullmatch(number):
                continue
            seen[barred] += 1
            assert _barred_alone(number) is barred, (country, kind, number)
            if barred:
                with pytest.raises(MayNotDial):
                    placed(number)
            else:
                assert placed(number)[1] is None
    assert seen[True] > 200 < seen[False]


@pytest.mark.parametrize("number", ["+88213123456", "+97901234567", "+9991234567", "+491"])
def test_what_is_no_countrys_or_has_no_room_in_a_plan_is_barred(number: str) -> None:
    assert _barred_alone(number)


def test_ranges_are_what_both_media_servers_understand() -> None:
    for one in ranges():
        for expression in filter(None, (one.barred, one.known)):
            assert not re.search(r"\\|\(\?|\s|\"", expression)
            assert len(expression) < 3000, "the dialplan's line is limited"
