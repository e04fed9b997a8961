"""Failures are counted, locks grow, what is kept is bounded. The clock is the test's."""

from __future__ import annotations

import pytest

from orchestrator.domain.problems import TooMany
from orchestrator.services.throttle import BUCKETS, Gate, Limit, Throttle, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _locked_s(throttle: Throttle, key: str) -> float:
    try:
        throttle.check(key)
    except TooMany as problem:
        return problem.retry_after_s
    return 0.0


def test_too_many_failures_lock_and_each_lock_is_longer(clock: Clock) -> None:
    throttle = Throttle(Limit(failures=3, window_s=300, lock_s=60, longest_s=200), clock)
    locks = []
    for _ in range(4):
        for _ in range(2):
            throttle.failed("ada")
            assert _locked_s(throttle, "ada") == 0
        throttle.failed("ada")
        locks.append(_locked_s(throttle, "ada"))
        assert _locked_s(throttle, "bob") == 0
        clock.now += locks[-1]
        assert _locked_s(throttle, "ada") == 0
    assert locks == [60, 120, 200, 200]
    clock.now += 86_401
    for _ in range(3):
        throttle.failed("ada")
    assert _locked_s(throttle, "ada") == 60


def test_failures_far_apart_and_slips_before_a_success_do_not_lock(clock: Clock) -> None:
    throttle = Throttle(Limit(failures=3, window_s=300), clock)
    for _ in range(10):
        throttle.failed("ada")
        clock.now += 151
    assert _locked_s(throttle, "ada") == 0
    for _ in range(10):
        throttle.failed("bob")
        throttle.failed("bob")
        throttle.succeeded("bob")
    assert _locked_s(throttle, "bob") == 0


def test_a_flood_of_names_neither_grows_without_end_nor_frees_who_is_locked(clock: Clock) -> None:
    throttle = Throttle(Limit(failures=3), clock)
    for _ in range(3):
        throttle.failed("ada")
    for n in range(3 * BUCKETS):
        throttle.failed(f"name-{n}")
    assert len(throttle) <= BUCKETS
    assert _locked_s(throttle, "ada") == 60


def test_a_subscriber_is_an_address_or_a_prefix() -> None:
    assert network_of("198.51.100.7") == network_of("::ffff:198.51.100.7") == "198.51.100.7"
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("not an address") == "not an address"


def test_one_account_from_many_places_and_many_accounts_from_one_place_both_lock(clock: Clock) -> None:
    gate = Gate(clock)
    for n in range(5):
        gate.may_log_in("ada", f"198.51.100.{n}")
        gate.log_in_failed("Ada", f"198.51.100.{n}")
    with pytest.raises(TooMany):
        gate.may_log_in("ada", "203.0.113.1")
    gate.may_log_in("bob", "198.51.100.1")
    gate = Gate(clock)
    for n in range(20):
        gate.may_log_in(f"user{n}", "198.51.100.1")
        gate.log_in_failed(f"user{n}", "198.51.100.1")
    with pytest.raises(TooMany):
        gate.may_log_in("somebody", "198.51.100.1")
    gate.may_log_in("somebody", "198.51.100.2")


def test_guessed_tokens_lock_their_place_and_an_old_one_said_again_does_not(clock: Clock) -> None:
    gate = Gate(clock)
    for _ in range(1000):
        gate.bad_bearer("cp_revoked", "198.51.100.1")
    for n in range(29):
        gate.bad_bearer(f"cp_{n}", "198.51.100.1")
    with pytest.raises(TooMany):
        gate.bad_bearer("cp_more", "198.51.100.1")
    gate.bad_bearer("cp_more", "198.51.100.2")
