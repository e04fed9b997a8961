"""Regimes and grants: the strictest rules, and what is not proven is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.consent import ConsentEvidence, RecordingGrant, Regime, RegimeTable, grant, regime_of
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
