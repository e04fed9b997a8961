"""Which numbers may be called from where, and why not the others."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialplans.dialling import MayNotDial, Refusal, check, outside
from dialplans.numbering import E164
from dialplans.pack import countries, load_pack


@pytest.mark.parametrize(
    ("country", "text", "number", "kind"),
    [
        ("DE", "+49305550999", "+49305550999", "fixed"),
        ("DE", "030 555-0999", "+49305550999", "fixed"),
        ("DE", "(030) 5550999", "+49305550999", "fixed"),
        ("DE", "0049305550999", "+49305550999", "fixed"),
        ("DE", "+4915112345678", "+4915112345678", "mobile"),
        ("US", "4155550100", "+14155550100", "fixed_or_mobile"),
        ("US", "14155550100", "+14155550100", "fixed_or_mobile"),
        ("US", "8005550100", "+18005550100", "toll_free"),
        ("GB", "02079460018", "+442079460018", "fixed"),
        ("IT", "0612345678", "+390612345678", "fixed"),
        ("IT", "3931234567", "+393931234567", "mobile"),  # begins like the country code
        ("FR", "0142685300", "+33142685300", "fixed"),
        ("RU", "84951234567", "+74951234567", "fixed"),
        ("IN", "01123456789", "+911123456789", "fixed"),  # Delhi begins like an emergency number
        ("PL", "221234567", "+48221234567", "fixed"),
    ],
)
def test_what_may_be_called(country: str, text: str, number: str, kind: str) -> None:
    found = outside(text, load_pack(country))
    assert (found.number, found.kind) == (number, kind)


@pytest.mark.parametrize(
    ("country", "text", "refusal"),
    [
        ("DE", "112", Refusal.EMERGENCY),
        ("DE", "110", Refusal.EMERGENCY),
        ("US", "911", Refusal.EMERGENCY),
        ("GB", "999", Refusal.EMERGENCY),
        ("CH", "144", Refusal.EMERGENCY),
        ("DE", "116117", Refusal.SHORT),
        ("DE", "+49116117", Refusal.SHORT),
        ("DE", "11833", Refusal.SHORT),
        ("US", "411", Refusal.SHORT),
        ("FR", "3615", Refusal.SHORT),
        ("DE", "09001123456", Refusal.PREMIUM),
        ("DE", "+499001123456", Refusal.PREMIUM),
        ("DE", "01805123456", Refusal.PREMIUM),
        ("GB", "07012345678", Refusal.PREMIUM),
        ("IT", "899123456", Refusal.PREMIUM),
        ("US", "9005551234", Refusal.PREMIUM),
        ("DE", "+870773111632", Refusal.PREMIUM),
        ("DE", "+979123456789", Refusal.PREMIUM),
        ("DE", "+491234567", Refusal.UNKNOWN_RANGE),
        ("DE", "+999123456789", Refusal.UNKNOWN_RANGE),
        ("US", "5550100", Refusal.UNKNOWN_RANGE),
        ("DE", "5550100", Refusal.AMBIGUOUS),
        ("GB", "2079460018", Refusal.AMBIGUOUS),
        ("DE", "+14155550100", Refusal.NOT_ALLOWED),
        ("US", "+18765550100", Refusal.NOT_ALLOWED),  # Jamaica, of the same country code
        ("RU", "+77012345678", Refusal.NOT_ALLOWED),  # Kazakhstan
        ("DE", "*11", Refusal.NOT_A_NUMBER),
        ("DE", "030abc", Refusal.NOT_A_NUMBER),
        ("DE", "", Refusal.NOT_A_NUMBER),
        ("DE", "++49305550999", Refusal.NOT_A_NUMBER),
    ],
)
def test_what_is_refused_and_why(country: str, text: str, refusal: Refusal) -> None:
    with pytest.raises(MayNotDial) as refused:
        outside(text, load_pack(country))
    assert refused.value.refusal is refusal
    assert not text or text not in str(refused.value)


def test_an_area_code_makes_a_local_number_one() -> None:
    assert outside("5550100", load_pack("DE"), area_code="30").number == "+49305550100"
    assert outside("5550100", load_pack("US"), area_code="415").number == "+14155550100"


def test_prefixes_are_the_whole_permission() -> None:
    germany = load_pack("DE")
    assert outside("+14155550100", germany, prefixes=("+1415",)).number == "+14155550100"
    for text in ("+12125550100", "030 5550999"):
        with pytest.raises(MayNotDial) as refused:
            outside(text, germany, prefixes=("+1415",))
        assert refused.value.refusal is Refusal.NOT_ALLOWED
    with pytest.raises(MayNotDial) as refused:
        outside("09001123456", germany, prefixes=("+",))
    assert refused.value.refusal is Refusal.PREMIUM


@given(st.text(alphabet="+0123456789 ()-/.*#abc\u0661", max_size=24), st.sampled_from(countries()))
def test_any_text_is_a_checked_number_or_refused(text: str, country: str) -> None:
    with contextlib.suppress(MayNotDial):
        found = outside(text, load_pack(country), prefixes=("+",))
        assert E164.fullmatch(found.number)
        assert check(found.number) == found


@pytest.mark.parametrize("country", countries())
def test_no_emergency_number_is_ever_called(country: str) -> None:
    pack = load_pack(country)
    for number in pack.numbering.emergency_numbers:
        for written in (number, f"0{number}", f"+{pack.numbering.e164_country_code}{number}"):
            with pytest.raises(MayNotDial):
                outside(written, pack, prefixes=("+",))
