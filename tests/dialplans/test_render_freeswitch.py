"""Rendering for FreeSWITCH: XML that parses, what is special in it, accounts without passwords."""

from __future__ import annotations

import re
from hashlib import md5
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from dialplans.pack import countries, load_pack
from dialplans.render import render
from dialplans.schema import Pop, Trunk
from tests.dialplans.pops import BERLIN, in_country


def files_of(pop: Pop, **change: Any) -> dict[str, Element]:
    files = render(load_pack(pop.country), pop.model_copy(update=change), "freeswitch")
    return {name: fromstring(data) for name, data in files.items()}  # noqa: S314 (rendered here)


@pytest.mark.parametrize("iso2", countries())
def test_every_country_renders_its_own_plan(iso2: str) -> None:
    pack = load_pack(iso2)
    plan = files_of(in_country(iso2))["dialplan.xml"]
    data = {action.get("data", "") for action in plan.iter("action")}
    assert any(text.startswith(f"callplane_did=+{pack.numbering.e164_country_code}") for text in data)
    emergency = plan.find(".//extension[@name='emergency']/condition")
    assert emergency is not None
    for number in pack.numbering.emergency_numbers:
        assert re.fullmatch(emergency.attrib["expression"], number)
    for condition in plan.iter("condition"):
        re.compile(condition.get("expression", "").removeprefix("/").removesuffix("/i"))
    assert not any("None" in text for text in data)


def test_what_is_special_in_xml_stays_a_value() -> None:
    password = "<&'>"
    params = files_of(BERLIN, esl_password=password)["event_socket.xml"].iter("param")
    assert password in {param.get("value") for param in params}


def test_a_trunk_is_known_by_its_networks_or_by_its_hash() -> None:
    trunks = [
        Trunk(name="a", addresses=["198.18.0.3", "198.18.1.0/24", "2001:db8::3"], host="198.18.0.3:5080"),
        Trunk(name="b", username="customer-7", password="not a guess", codecs=["ulaw"]),
    ]
    directory = files_of(BERLIN, trunks=trunks)["directory.xml"]
    users = {user.attrib["id"]: user for user in directory.iter("user")}
    assert users["a"].get("cidr") == "198.18.0.3/32,198.18.1.0/24,2001:db8::3/128"
    assert users["b"].get("cidr") is None
    hashes = [param.get("value") for param in users["customer-7"].iter("param") if param.get("name") == "a1-hash"]
    assert hashes == [md5(b"customer-7:callplane:not a guess").hexdigest()]  # noqa: S324
    values = {param.get("name"): param.get("value") for param in users["a"].iter("param")}
    assert values["dial-string"] == (
        "{absolute_codec_string='PCMA,PCMU'}sofia/callplane/${callplane_number}@198.18.0.3:5080"
    )
    assert b"not a guess" not in b"".join(
        render(load_pack("DE"), BERLIN.model_copy(update={"trunks": trunks}), "freeswitch").values()
    )


def test_the_country_says_in_which_order_codecs_are_offered() -> None:
    def offered(country: str, **change: Any) -> str | None:
        sofia = files_of(in_country(country), **change)["sofia.xml"]
        return next(p.get("value") for p in sofia.iter("param") if p.get("name") == "inbound-codec-prefs")

    assert offered("DE") == "PCMA,PCMU"
    assert offered("US") == "PCMU,PCMA"
    assert offered("US", opus=True) == "opus,PCMU,PCMA"
