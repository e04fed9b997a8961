"""Recording rules of all places, two and three at a time: never weaker than any party's; told as they are applied."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from phonenumbers.geodata import GEOCODE_DATA

from dialplans.pack import COUNTRIES_DIR, PackError, load_pack, parse_pack
from dialplans.regimes import places, rule_of
from pbx.bootstrap import regimes
from pbx.consent_cli import html_table, main
from pbx.domain.consent import Regime, regime_of

TABLE = regimes()
PLACES: tuple[str | None, ...] = (*places(), "XX", None)
"""With a country that has no pack, and a withheld number."""


def own(place: str | None) -> Regime:
    """The place's rule as its pack says it, read by another way than the table's."""
    if place is None or place == "XX":
        return Regime.OPT_IN
    pack = load_pack(place[:2])
    return regime_of(pack.regime_in(place[3:]) if "-" in place else pack.regime)


def test_there_are_all_countries_and_the_states_of_three() -> None:
    states = {place[:2] for place in places() if "-" in place}
    assert states == {"US", "AU", "CA"}
    assert len([place for place in places() if "-" not in place]) == 36
    assert len([place for place in places() if place.startswith("US-")]) >= 13


@pytest.mark.parametrize("count", [1, 2, 3])
def test_never_weaker_than_any_party(count: int) -> None:
    for parties in itertools.combinations_with_replacement(PLACES, count):
        result = TABLE.strictest(parties)
        assert result == max(own(place) for place in parties), parties


def test_order_and_company_never_weaken() -> None:
    for one, other in itertools.permutations(PLACES, 2):
        assert TABLE.strictest((one, other)) == TABLE.strictest((other, one)) >= TABLE.strictest((one,))


def test_a_withheld_number_is_as_strict_as_any_place() -> None:
    assert all(TABLE.of(None) >= TABLE.of(place) for place in PLACES)


def test_where_only_the_country_is_known_no_states_law_is_broken() -> None:
    """A state that is stricter than its country is told by its numbers."""
    stricter = {place for place in places() if TABLE.of(place) > TABLE.of(place[:2])}
    assert stricter == {"US-MI"}
    assert set(TABLE.by_prefix.values()) == stricter
    for prefix, place in TABLE.by_prefix.items():
        assert TABLE.placed(f"{prefix}5550123", "US") == place
    assert TABLE.placed("+12125550123", "US") == "US"
    assert TABLE.placed(None, "US") == "US"
    assert TABLE.placed("+13135550123", None) is None


def test_area_codes_are_those_the_numbering_plan_gives_the_state() -> None:
    known = {
        "+" + prefix[:4]
        for prefix, names in GEOCODE_DATA.items()
        if prefix.startswith("1") and len(prefix) >= 4 and re.search("(, MI|^Michigan)$", names.get("en", ""))
    }
    # 679 came in November 2025, after the library's data.
    assert known <= set(TABLE.by_prefix) <= known | {"+1679"}


def test_a_stricter_state_without_area_codes_is_refused() -> None:
    text = (COUNTRIES_DIR / "us.yml").read_text()
    cut = re.sub(r"\n *area_codes: .*", "", text)
    assert cut != text
    with pytest.raises(PackError, match=r"us\.yml: .*recording\.subdivisions\.MI: stricter than the country"):
        parse_pack(cut, "us.yml")


def test_a_state_without_a_rule_has_its_countrys() -> None:
    assert TABLE.of("US-TX") is TABLE.of("US")
    with pytest.raises(PackError, match="TX"):
        rule_of("US-TX")


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


def test_explained(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(
        capsys, "--caller", "+14155550123", "--did", "+4930555100", "--agent-country", "PH", "--agent-country", "US-OR"
    )
    for part in ("StGB s.201", "18 U.S.C. 2511(2)(d)", "RA 4200", "ORS 165.540", "one-party, read as all-party"):
        assert part in text
    assert re.search(r"^opt_in, because of: did\. Nothing is recorded before", text, re.M)


@pytest.mark.parametrize(
    ("words", "regime", "ruled_by"),
    [
        (["--caller", "+33142685300", "--did", "+33142685301"], "notice", ["caller", "did"]),
        (["--caller", "+13135550123", "--did", "+12125550123"], "opt_in", ["caller"]),
        (["--caller", "+12125550123", "--did", "+12125550124"], "opt_out", ["caller", "did"]),
        (["--caller", "withheld", "--did", "+33142685301"], "opt_in", ["caller"]),
        (["--caller", "+80012345678", "--did", "+33142685301"], "opt_in", ["caller"]),
        (["--caller", "+33142685300", "--did", "+33142685301", "--agent-country", "XX"], "opt_in", ["agent-country"]),
        (["--caller", "+33142685300", "--did", "+33142685301", "--floor", "opt_out"], "opt_out", ["the queue's floor"]),
        (
            ["--caller", "+33142685300", "--did", "+33142685301", "--floor", "prohibited"],
            "prohibited",
            ["the queue's floor"],
        ),
    ],
)
def test_explained_as_data(
    capsys: pytest.CaptureFixture[str], words: list[str], regime: str, ruled_by: list[str]
) -> None:
    told = json.loads(explained(capsys, *words, "--json"))
    assert (told["regime"], told["ruled_by"]) == (regime, ruled_by)
    places_told = [party["place"] for party in told["parties"]]
    assert TABLE.strictest(places_told, regime_of(told["floor"])).word == regime


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--caller", "0301234567", "--did", "+4930555100"], "--caller"),
        (["--caller", "withheld", "--did", "Berlin"], "--did"),
        (["--caller", "withheld", "--did", "+4930555100", "--agent-country", "Germany"], "--agent-country"),
        (["--caller", "withheld", "--did", "+4930555100", "--agent-country", "US-"], "--agent-country"),
        (["--caller", "withheld", "--did", "+4930555100", "--floor", "some"], "--floor"),
    ],
)
def test_bad_input_is_refused_by_name(capsys: pytest.CaptureFixture[str], words: list[str], named: str) -> None:
    assert main(["explain", *words]) == 1
    assert capsys.readouterr().err.startswith(f"callplane: {named}: ")


def test_a_state_without_a_rule_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, "--caller", "withheld", "--did", "+4930555100", "--agent-country", "US-TX")
    assert "TX has no rule of its own, so the country's holds" in text


def test_the_table_for_a_lawyer_has_every_pair_and_every_source() -> None:
    page = html_table(TABLE)
    for one, other in itertools.product(places(), repeat=2):
        assert f'title="{one}, {other}: {TABLE.strictest((one, other)).word}"' in page
    assert page.count("<td>") >= len(places())
    assert "Cal. Penal Code 632" in page
