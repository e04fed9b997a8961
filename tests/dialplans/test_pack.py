"""Country packs: all of them are whole, bad ones are refused with the field named, regimes follow from the facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from phonenumbers import country_code_for_region

from dialplans.pack import COUNTRIES_DIR, PackError, countries, load_pack, packs, parse_pack
from dialplans.page import html_page, rows
from dialplans.regimes import regimes_by_place
from pbx.domain.consent import regime_of


def german() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COUNTRIES_DIR / "de.yml").read_text())
    return loaded


def test_all_36_countries_have_a_pack_that_agrees_with_libphonenumber() -> None:
    assert len(countries()) == 36
    for iso2, pack in packs().items():
        assert pack.iso_alpha2 == iso2
        assert pack.numbering.e164_country_code == country_code_for_region(iso2)
        assert pack.numbering.emergency_numbers


def test_regimes_are_words_the_consent_core_knows() -> None:
    words = regimes_by_place()
    for word in words.values():
        regime_of(word)
    assert words["DE"] == "opt_in"
    assert words["FR"] == "notice"
    assert words["US"] == words["CH"] == "opt_out"


@pytest.mark.parametrize(
    ("engine_default", "confidence", "regime"),
    [
        ("one-party", "high", "none"),
        ("one-party", "low", "notice"),
        ("one-party-with-notice", "medium", "notice"),
        ("one-party-with-notice", "low", "opt_out"),
        ("all-party", "high", "opt_out"),
        ("all-party", "low", "opt_in"),
        ("explicit-opt-in", "high", "opt_in"),
        ("explicit-opt-in", "low", "opt_in"),
    ],
)
def test_low_confidence_counts_one_step_stricter(engine_default: str, confidence: str, regime: str) -> None:
    data = german()
    data["recording"]["engine_default"] = engine_default
    data["recording"]["regime"]["confidence"] = confidence
    assert parse_pack(yaml.safe_dump(data), "de.yml").regime == regime


def test_states_have_regimes_of_their_own() -> None:
    us = load_pack("US")
    assert us.regime_in("OR") == "none"
    assert us.regime_in("CA") == "opt_out"
    assert us.regime_in("TX") == us.regime


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for part in path[:-1]:
            data = data[part]
        del data[path[-1]]

    return change


def with_value(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for part in path[:-1]:
            data = data[part]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (without("recording", "regime", "source"), r"recording\.regime\.source: Field required"),
        (with_value("", "recording", "regime", "source"), r"recording\.regime\.source"),
        (without("data_protection", "residency", "confidence"), r"data_protection\.residency\.confidence"),
        (without("outbound", "hours", "null_reason"), r"outbound\.hours: .*null_reason"),
        (with_value(None, "data_protection", "residency", "value"), r"data_protection\.residency\.value"),
        (with_value("two-party", "recording", "engine_default"), r"recording\.engine_default"),
        (with_value("0x", "numbering", "trunk_prefix"), r"numbering\.trunk_prefix"),
        (with_value("?", "recording", "regmie"), r"recording\.regmie: Extra inputs"),
        (with_value("nowhere", "data_protection", "breach_hours", "url"), r"data_protection\.breach_hours\.url"),
    ],
)
def test_a_pack_at_fault_is_refused_with_the_field_named(change: Callable[[dict[str, Any]], None], field: str) -> None:
    data = german()
    change(data)
    with pytest.raises(PackError, match=rf"^countries/de\.yml: .*{field}"):
        parse_pack(yaml.safe_dump(data), "countries/de.yml")


@pytest.mark.parametrize("text", ["", "[", "just text", "{}", "- 1"])
def test_what_is_no_pack_is_refused(text: str) -> None:
    with pytest.raises(PackError, match="where"):
        parse_pack(text, "where")


@pytest.mark.parametrize("iso2", ["XX", "", "../de", "DEU", "d e"])
def test_an_unknown_country_is_refused(iso2: str) -> None:
    with pytest.raises(PackError, match="country"):
        load_pack(iso2)


@pytest.mark.parametrize("iso2", countries())
def test_the_page_shows_every_fact_with_its_source(iso2: str) -> None:
    pack = load_pack(iso2)
    shown = {(section, row[0]): row for section, found in rows(pack) for row in found}
    regime = shown["recording", "regime"]
    assert pack.recording.regime.source in regime[3]
    assert pack.recording.regime.confidence in regime[2]
    page = html_page(pack)
    assert pack.name in page
    assert "<script" not in page
