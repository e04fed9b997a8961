"""Regimes and grants: the strictest rules, and what is not proven is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.consent import ConsentEvidence, Floor, RecordingGrant, Regime, RegimeTable, grant, regime_of
from pbx.domain.errors import BadValue
from pbx.domain.ids import CallId, LegId

CALL, LEG = CallId("c"), LegId("l")
regimes = st.sampled_from(Regime)
countries = st.sampled_from(["DE", "PL", "US", "XX", None])


@given(table=st.dictionaries(st.sampled_from(["DE", "PL", "US"]), regimes), unknown=regimes, floor=regimes,
       parties=st.lists(countries, max_size=4))  # fmt: skip
def test_never_weaker_than_any_party(
    table: dict[str, Regime], unknown: Regime, floor: Regime, parties: list[str | None]
) -> None:
    rules = RegimeTable(table, unknown)
    result = rules.strictest(parties, floor)
    assert result >= floor
    assert all(result >= rules.of(party) for party in parties)
    assert result in {floor, unknown, *(rules.of(party) for party in parties)}
    if not parties:
        assert result >= unknown


_PLACES = ["DE", "US", "US-CA", None]
floors = st.builds(Floor, regimes, st.dictionaries(st.sampled_from(_PLACES[:-1]), regimes), regimes)


@given(one=floors, other=floors, parties=st.lists(st.sampled_from(_PLACES), max_size=4))
def test_two_floors_together_ask_the_stricter_of_both(one: Floor, other: Floor, parties: list[str | None]) -> None:
    assert one.stricter(other).of(parties) == max(one.of(parties), other.of(parties))


def test_in_a_state_the_stricter_of_its_own_and_its_countrys_floor_holds() -> None:
    floor = Floor(Regime.NOTICE, {"US": Regime.OPT_OUT, "US-CA": Regime.OPT_IN, "US-NY": Regime.NONE}, Regime.OPT_IN)
    asked = {place: floor.of(["DE", place]) for place in ("FR", "US-CA", "US-NY", "US-TX", None)}
    assert asked == {
        "FR": Regime.NOTICE,
        "US-CA": Regime.OPT_IN,
        "US-NY": Regime.OPT_OUT,
        "US-TX": Regime.OPT_OUT,
        None: Regime.OPT_IN,
    }


@given(
    regime=regimes,
    completed=st.booleans(),
    digit=st.none() | st.just("1"),
    asked=st.booleans(),
    under=regimes,
)
def test_grants_fail_closed(regime: Regime, completed: bool, digit: str | None, asked: bool, under: Regime) -> None:
    evidence = ConsentEvidence("consent-notice", "sha", "de", 1000, completed, digit, 1.0, under) if asked else None
    given_ = grant(CALL, LEG, regime, evidence, 2.0)
    lawful = {
        Regime.NONE: True,
        Regime.NOTICE: asked and completed and under >= Regime.NOTICE,
        Regime.OPT_OUT: asked and completed and under >= Regime.OPT_OUT,
        Regime.OPT_IN: asked and completed and under >= Regime.OPT_IN and digit is not None,
        Regime.PROHIBITED: False,
    }[regime]
    assert (given_ is not None) == lawful


def test_nobody_else_makes_a_grant() -> None:
    with pytest.raises(TypeError, match="only"):
        RecordingGrant(CALL, LEG, Regime.NONE, None, 0.0)
    with pytest.raises(TypeError):
        RecordingGrant(CALL, LEG, Regime.NONE, None, 0.0, object())


def test_regime_words() -> None:
    assert regime_of("opt_in") is Regime.OPT_IN
    with pytest.raises(BadValue, match="opt_out") as refused:
        regime_of("maybe", "consent_floor")
    assert refused.value.field == "consent_floor"
