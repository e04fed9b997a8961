"""Rendering: golden files, the same bytes each time, and nothing that could break a line gets in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dialplans.pack import countries, load_pack
from dialplans.render import RenderError, emergency_abroad, render, shown_to
from dialplans.schema import Engine, Place, Pop, Trunk
from tests.dialplans.golden import GOLDEN_DIR, golden
from tests.dialplans.pops import BARE, BERLIN, in_country


def test_the_dialplan_is_the_golden_one() -> None:
    kept = {path.name: path.read_bytes() for path in GOLDEN_DIR.iterdir()}
    assert golden() == kept, "regenerate with: python -m tests.dialplans.golden"


def test_the_same_input_gives_the_same_bytes() -> None:
    again = Pop.model_validate(BERLIN.model_dump())
    first = render(load_pack("DE"), BERLIN)
    assert first == render(load_pack("DE"), again)
    assert list(first) == sorted(first)


@pytest.mark.parametrize("iso2", countries())
def test_every_country_renders_its_own_plan(iso2: str) -> None:
    pack = load_pack(iso2)
    text = render(pack, in_country(iso2))["extensions.conf"].decode()
    assert f"Set(CALLPLANE_DID=+{pack.numbering.e164_country_code}" in text
    for number in pack.numbering.emergency_numbers:
        assert f"exten => {number},1,Goto(callplane-emergency,{number},1)" in text
    assert max(len(line) for line in text.splitlines()) < 2048
    assert "None" not in text


def test_a_pop_without_trunk_dials_nowhere() -> None:
    text = render(load_pack("US"), BARE)["extensions.conf"].decode()
    assert "Dial(" not in text
    text = render(load_pack("US"), BARE, "freeswitch")["dialplan.xml"].decode()
    assert 'application="bridge"' not in text


def test_the_fallback_speaks_the_language_asked_for() -> None:
    english = BERLIN.model_copy(update={"overflow_prompt_language": "en"})
    assert b"/prompts/en/fallback" in render(load_pack("DE"), english)["extensions.conf"]
    assert b"/prompts/de/fallback" in render(load_pack("DE"), BERLIN)["extensions.conf"]


BREAKING = ["a\nb", "a\r", "a]", "a;b", "${SHELL(id)}", "$[1]", 'a"', "a\\", "a\u2028b", "a\x00"]


@pytest.mark.parametrize("value", BREAKING)
@pytest.mark.parametrize("field", ["ari_password", "ami_password", "sip_address", "ari_user", "bind_address"])
def test_a_value_that_would_break_a_line_is_refused(field: str, value: str) -> None:
    with pytest.raises(RenderError, match=rf"^pop\.{field}: "):
        render(load_pack("DE"), BERLIN.model_copy(update={field: value}))


@pytest.mark.parametrize("value", BREAKING)
def test_a_trunk_value_that_would_break_a_line_is_refused(value: str) -> None:
    trunk = BERLIN.trunks[0].model_copy(update={"host": value})
    with pytest.raises(RenderError, match=r"^pop\.trunks\.0\.host: "):
        render(load_pack("DE"), BERLIN.model_copy(update={"trunks": [trunk]}))


def test_an_ipv6_host_is_no_broken_line() -> None:
    trunk = BERLIN.trunks[0].model_copy(update={"host": "[2001:db8::1]:5060"})
    assert render(load_pack("DE"), BERLIN.model_copy(update={"trunks": [trunk]}))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"country": "FR"}, "pop.country"),
        ({"area_code": "030"}, "pop.area_code"),
        ({"area_code": "x"}, "pop.area_code"),
        ({"prompt_dir": "relative"}, "pop.prompt_dir"),
        ({"prompt_dir": "/a,b"}, "pop.prompt_dir"),
        ({"recording_dir": "/a b"}, "pop.recording_dir"),
        ({"overflow_number": "0305550199"}, "pop.overflow_number"),
        ({"overflow_number": "+9990000000"}, "pop.overflow_number"),
        ({"overflow_number": "+4930,1"}, "pop.overflow_number"),
        ({"trunks": []}, "pop.overflow_number"),
        ({"trunks": [BERLIN.trunks[0], BERLIN.trunks[0]]}, "pop.trunks"),
        ({"overflow_prompt_language": "de/../x"}, "pop.overflow_prompt_language"),
        ({"emergency_sites": {"kiel": Place(trunk="none", cli="+4943112345")}}, "pop.emergency_sites.kiel.trunk"),
        (
            {"emergency_sites": {"x": Place(trunk="carrier-b", cli="+4943112345", country="ZZ")}},
            "pop.emergency_sites.x.country",
        ),
        ({"emergency_sites": {"a,b": Place(trunk="carrier-a", cli="+4943112345")}}, "pop.emergency_sites"),
    ],
)
def test_a_pop_that_contradicts_itself_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RenderError) as refused:
        render(load_pack("DE"), BERLIN.model_copy(update=change))
    assert refused.value.field == field


def test_a_trunk_name_cannot_hold_dialplan() -> None:
    with pytest.raises(ValidationError):
        Pop.model_validate(BERLIN.model_dump() | {"trunks": [{"name": "a,1", "addresses": ["x"], "host": "x"}]})


def _pjsip(*trunks: Trunk) -> str:
    pop = BERLIN.model_copy(update={"trunks": list(trunks)})
    return render(load_pack("DE"), pop)["pjsip.conf"].decode()


def test_a_trunk_with_a_password_is_identified_by_its_user_and_may_register() -> None:
    text = _pjsip(Trunk(name="customer", username="customer-7", password="not a guess"))
    assert "[customer-7]\ntype = endpoint\ncontext = from-trunk\n" in text
    assert "auth = customer-7\nidentify_by = username,auth_username\n" in text
    assert "[customer-7]\ntype = aor\nmax_contacts = 1\n" in text
    assert "username = customer-7\npassword = not a guess\nrealm = callplane\n" in text
    assert "set_var = CALLPLANE_TRUNK=customer\n" in text
    assert text.count("type = identify") == 1  # the POP's own


def test_a_trunk_with_a_password_and_a_host_is_called_there() -> None:
    text = _pjsip(Trunk(name="carrier-c", username="c", password="not a guess", host="198.18.0.5"))
    assert "[c]\ntype = aor\ncontact = sip:198.18.0.5\nqualify" in text
    assert "max_contacts" not in text


def test_a_trunk_with_an_address_is_asked_for_no_password() -> None:
    text = _pjsip(*BERLIN.trunks)
    assert text.count("type = identify") == 3  # the POP's own is one
    assert "type = auth" not in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"username": "u"}, "belong together"),
        ({"password": "not a guess"}, "belong together"),
        ({"username": "u", "password": "not a guess"}, "either addresses or"),
        ({"addresses": []}, "addresses: needed"),
        ({"host": None}, "host: needed"),
        ({"username": "a]", "password": "not a guess", "addresses": []}, "username"),
    ],
)
def test_a_trunk_is_identified_in_one_way(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Trunk.model_validate(BERLIN.trunks[0].model_dump() | change)


def test_two_trunks_cannot_share_an_endpoint() -> None:
    other = Trunk(name="x", username="carrier-a", password="not a guess")
    with pytest.raises(RenderError, match=r"^pop\.trunks: a trunk's username"):
        _pjsip(BERLIN.trunks[0], other)


@pytest.mark.parametrize("engine", ["asterisk", "freeswitch"])
def test_no_path_of_this_machine_gets_in(engine: Engine) -> None:
    for data in render(load_pack("DE"), BERLIN, engine).values():
        assert str(Path(__file__).parents[2]).encode() not in data


def test_the_pop_says_for_which_engine() -> None:
    pop = BERLIN.model_copy(update={"engine": "freeswitch"})
    assert render(load_pack("DE"), pop) == render(load_pack("DE"), BERLIN, "freeswitch")
    assert "extensions.conf" in render(load_pack("DE"), BERLIN)


@pytest.mark.parametrize(
    ("engine", "change", "field"),
    [
        ("asterisk", {"ari_password": ""}, "pop.ari_password"),
        ("asterisk", {"ami_password": ""}, "pop.ami_password"),
        ("freeswitch", {"esl_password": ""}, "pop.esl_password"),
        ("freeswitch", {"esl_host": "controller.example"}, "pop.esl_host"),
        ("freeswitch", {"esl_networks": ["10.0.0.0/8", "10.0.0.0/33"]}, "pop.esl_networks.1"),
        ("freeswitch", {"phone_dir": "phones"}, "pop.phone_dir"),
        ("freeswitch", {"trunks": [Trunk(name="a", addresses=["a.example"], host="x")]}, "pop.trunks.0.addresses"),
        (
            "freeswitch",
            {"trunks": [Trunk(name="a", addresses=["::1"], host="x", codecs=["g722", "gsm"])]},
            "pop.trunks.0.codecs",
        ),
    ],
)
def test_what_an_engine_needs_is_asked_for(engine: Engine, change: dict[str, Any], field: str) -> None:
    with pytest.raises(RenderError) as refused:
        render(load_pack("DE"), BERLIN.model_copy(update=change), engine)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("0033", "+49305550100"),
        ("+0", "+49305550100"),
        ("+33", "0305550100"),
        ("+33", "+33,1)"),
        ("+33\n", "+49305550100"),
    ],
)
def test_what_numbers_are_shown_is_e164(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match="cli_by_destination"):
        Pop.model_validate({**BERLIN.model_dump(), "cli_by_destination": {field: value}})


@pytest.mark.parametrize(
    ("number", "cli"),
    [
        ("+498912345", "+49895550100"),
        ("+4930123456", "+49305550100"),
        ("+33142685301", "+33142685300"),
        ("+1", "+49305550100"),
    ],
)
def test_the_longest_prefix_says_what_a_number_is_shown(number: str, cli: str) -> None:
    assert shown_to(number, BERLIN) == cli
    assert shown_to(number, BARE) is None


@pytest.mark.parametrize("engine", ["asterisk", "freeswitch"])
def test_emergency_calls_go_from_the_agents_place_first_and_from_no_other_that_is_not_named(engine: Engine) -> None:
    """``tests/e2e/test_outbound.py`` dials one."""
    places = {"kiel": Place(trunk="carrier-b", cli="+4943112345")}
    file = "extensions.conf" if engine == "asterisk" else "dialplan.xml"
    without = render(load_pack("DE"), BERLIN, engine)[file].decode()
    with_kiel = render(load_pack("DE"), BERLIN.model_copy(update={"emergency_sites": places}), engine)[file].decode()
    assert "kiel" not in without
    assert with_kiel.index("kiel") < with_kiel.index("+4943112345") < with_kiel.rindex("carrier-a")


def test_a_sites_emergency_numbers_are_its_countrys_as_well() -> None:
    places = {
        "kiel": Place(trunk="carrier-b", cli="+4943112345"),
        "warsaw": Place(trunk="carrier-b", cli="+48225550100"),
        "basel": Place(trunk="carrier-b", cli="+4976212345", country="CH"),
    }
    pop = BERLIN.model_copy(update={"emergency_sites": places})
    found = emergency_abroad(load_pack("DE"), pop)
    assert found == {number: ["basel"] for number in ("117", "118", "144")} | {
        number: ["warsaw"] for number in ("997", "998", "999")
    }
    assert emergency_abroad(load_pack("PL"), pop.model_copy(update={"country": "PL"}))["110"] == ["kiel"]
