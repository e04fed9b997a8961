"""Who guesses passwords, by the refusals that media servers tell of."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import msgspec
import pytest

from pbx.adapters.asterisk import refusals as by_asterisk
from pbx.adapters.freeswitch import refusals as by_freeswitch
from pbx.adapters.freeswitch.models import ServerEvent
from pbx.domain import guessing
from pbx.domain.guessing import BanRule, Guessing
from pbx.guard import GuardSettings, main

ONE, OTHER, SIX = ip_address("198.51.100.7"), ip_address("198.51.100.8"), ip_address("2001:db8::7")


def test_the_last_of_so_many_refusals_is_the_one() -> None:
    counted = Guessing(BanRule(tries=3, window_s=60))
    assert [counted.refused(ONE, at) for at in (0.0, 1.0, 2.0)] == [False, False, True]
    assert [counted.refused(ONE, at) for at in (3.0, 4.0, 5.0)] == [False, False, True], "then it counts anew"


def test_each_address_has_its_own_count() -> None:
    counted = Guessing(BanRule(tries=2, window_s=60))
    assert not counted.refused(ONE, 0.0)
    assert not counted.refused(OTHER, 0.0)
    assert not counted.refused(SIX, 0.0)
    assert counted.refused(SIX, 1.0)


def test_slow_mistakes_are_no_guessing() -> None:
    counted = Guessing(BanRule(tries=3, window_s=60))
    assert not any(counted.refused(ONE, 31.0 * number) for number in range(20))
    assert [counted.refused(ONE, at) for at in (590.0, 625.0, 640.0)] == [True, False, False]


def test_one_try() -> None:
    assert Guessing(BanRule(tries=1)).refused(ONE, 0.0)


def test_some_may_guess() -> None:
    counted = Guessing(BanRule(tries=1, never=(ip_network("198.51.100.7/32"), ip_network("2001:db8::/32"))))
    assert not counted.refused(ONE, 0.0)
    assert not counted.refused(SIX, 0.0)
    assert counted.refused(OTHER, 0.0)
    assert len(counted) == 0


def test_of_very_many_addresses_the_quietest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "MOST_ADDRESSES", 10)
    counted = Guessing(BanRule(tries=2, window_s=1e9))
    for number in range(100):
        counted.refused(ip_address(number), float(number))
    assert len(counted) == 10
    assert not counted.refused(ip_address(0), 100.0)
    assert counted.refused(ip_address(99), 100.0)


@pytest.mark.parametrize("name", ["ChallengeResponseFailed", "InvalidAccountID", "InvalidPassword"])
def test_asterisk_tells_of_refusals(name: str) -> None:
    event = {"Event": name, "AccountID": "anna", "RemoteAddress": "IPV4/TLS/198.51.100.7/51234"}
    assert by_asterisk.refused_address(event) == ONE
    assert by_asterisk.refused_address(event | {"RemoteAddress": "IPV6/UDP/2001:db8::7/5060"}) == SIX


@pytest.mark.parametrize(
    "event",
    [
        {"Event": "ChallengeSent", "RemoteAddress": "IPV4/UDP/198.51.100.7/5060"},
        {"Event": "SuccessfulAuth", "RemoteAddress": "IPV4/UDP/198.51.100.7/5060"},
        {"Event": "InvalidPassword"},
        {"Event": "InvalidPassword", "RemoteAddress": "IPV4/UDP/nowhere/5060"},
        {"Event": "InvalidPassword", "RemoteAddress": "198.51.100.7"},
        {},
    ],
)
def test_what_asterisk_says_besides(event: dict[str, str]) -> None:
    assert by_asterisk.refused_address(event) is None


def test_freeswitch_tells_of_refusals() -> None:
    said = {"Event-Name": "CUSTOM", "Event-Subclass": "sofia::register_failure", "network-ip": "198.51.100.7"}
    events = [said, said | {"Event-Subclass": "sofia::register_attempt"}, said | {"network-ip": ""}]
    found = [by_freeswitch.refused_address(msgspec.convert(event, ServerEvent)) for event in events]
    assert found == [ONE, None, None]


def test_settings_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CALLPLANE_GUARD_TRIES", "0")
    monkeypatch.setenv("CALLPLANE_GUARD_NEVER", '["198.51.100.7/33"]')
    assert main(["run"]) == 2
    said = capsys.readouterr().err
    assert "CALLPLANE_GUARD_TRIES" in said
    assert "CALLPLANE_GUARD_NEVER" in said


def test_networks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPLANE_GUARD_NEVER", '["198.51.100.0/24", "2001:db8::/32"]')
    assert GuardSettings().never == [ip_network("198.51.100.0/24"), ip_network("2001:db8::/32")]
