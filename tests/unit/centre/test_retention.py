"""For how long what is kept: the shortest lawful time, with the rule that decided."""

from __future__ import annotations

import pytest

from orchestrator.domain.retention import DEFAULTS, Policy, Rule, laws_of, limit

LAWS = {"FR": (Rule(180, "law of FR", "CNIL"),), "BR": (Rule(90, "law of BR", "SAC", at_least=True),)}


def policy(policy_id: str, days: float, country: str | None = None, queue_id: str | None = None) -> Policy:
    return Policy(policy_id, "recording", country, queue_id, days, "why")


@pytest.mark.parametrize(
    ("policies", "country", "queue_id", "caller", "days", "source"),
    [
        ([], "DE", None, None, 180, "default"),
        ([policy("all", 365)], "DE", None, None, 365, "policy all"),
        ([policy("all", 365)], "FR", None, None, 180, "law of FR"),
        ([policy("all", 365)], "DE", None, "FR", 180, "law of FR"),
        ([policy("all", 365), policy("de", 30, "DE")], "DE", None, None, 30, "policy de"),
        ([policy("all", 365), policy("de", 30, "DE")], "PL", None, None, 365, "policy all"),
        ([policy("sales", 7, None, "sales"), policy("all", 365)], "DE", "sales", None, 7, "policy sales"),
        ([policy("sales", 7, None, "sales")], "DE", "billing", None, 180, "default"),
        ([policy("br", 30, "BR")], "BR", None, None, 90, "law of BR"),
        ([policy("br", 120, "BR")], "BR", None, None, 120, "policy br"),
        ([], None, None, None, 180, "default"),
    ],
)
def test_the_shortest_lawful_time_counts(
    policies: list[Policy], country: str | None, queue_id: str | None, caller: str | None, days: float, source: str
) -> None:
    found = limit(policies, "recording", country, queue_id, caller, laws=lambda place: LAWS.get(place, ()))
    assert (found.days, found.rule.source) == (days, source)
    assert found.rule in found.looked_at


def test_laws_are_the_country_packs() -> None:
    assert [(rule.days, rule.at_least) for rule in laws_of("FR")] == [(180, False)]
    assert (90, True) in [(rule.days, rule.at_least) for rule in laws_of("BR")]
    assert (730, True) in [(rule.days, rule.at_least) for rule in laws_of("VN")]
    assert laws_of("DE") == []
    assert laws_of("ZZ") == ()


@pytest.mark.parametrize("kind", ["cdr", "consent_evidence"])
def test_laws_of_recordings_say_nothing_of_other_kinds(kind: str) -> None:
    assert limit([], kind, "FR", None).looked_at == (Rule(DEFAULTS[kind][0], "default", DEFAULTS[kind][1]),)
