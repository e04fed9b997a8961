"""Signature, back-off, and how much a failing target is asked."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest

from orchestrator.domain.webhook_pacing import (
    FAILING,
    GIVE_UP_S,
    JITTER,
    LONGEST_PROBE_S,
    LONGEST_S,
    MOST_ASKED_S,
    Target,
    next_attempt,
)
from orchestrator.domain.webhook_signature import key_of, new_secret, sign


def test_the_reference_vector_of_standard_webhooks() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_make_two_signatures() -> None:
    one, two = key_of(new_secret()), key_of(new_secret())
    signed = {n: sign(keys, "m", 1, b"{}")["webhook-signature"] for n, keys in enumerate(([one], [two], [two, one]))}
    assert signed[2] == f"{signed[1]} {signed[0]}"


@pytest.mark.parametrize(
    "secret",
    [
        "a secret of my own",
        "whsec_",
        "whsec_äöü",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_" + base64.b64encode(b"x" * 32).decode().rstrip("="),
    ],
)
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError):
        key_of(secret)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_attempts_spread_over_a_day_and_end(chance: float) -> None:
    at, waits, attempts = 1000.0, list[float](), 1
    while (then := next_attempt(attempts, 1000.0, at, chance)) is not None:
        waits.append(then - at)
        at, attempts = then, attempts + 1
    assert at == 1000.0 + GIVE_UP_S
    assert 9 <= attempts <= 12
    assert waits[0] == pytest.approx(5 * (1 + JITTER * (2 * chance - 1)))
    assert all(later > earlier for earlier, later in pairwise(waits[:7]))
    assert max(waits) <= LONGEST_S * (1 + JITTER)


def test_what_fails_together_is_tried_apart() -> None:
    assert len({next_attempt(3, 0.0, 0.0, n / 10) for n in range(11)}) == 11


def test_a_wish_to_wait_is_granted_within_limits() -> None:
    assert next_attempt(1, 0.0, 10.0, 0.5, asked_s=120.0) == 130.0
    assert next_attempt(1, 0.0, 10.0, 0.5, asked_s=1e9) == 10.0 + MOST_ASKED_S
    assert next_attempt(8, 0.0, 10.0, 0.5, asked_s=1.0) == 10.0 + LONGEST_S


def test_a_failing_target_is_tried_by_one_request_now_and_then() -> None:
    target = Target(4)
    for _ in range(FAILING - 1):
        target.failed(0.0, 0.5)
    assert target.may_have(1, 0.0) == 3
    target.failed(0.0, 0.5)
    assert target.failing
    assert [target.may_have(0, at) for at in (0.0, 4.9, 5.0)] == [0, 0, 1]
    assert target.may_have(1, 5.0) == 0
    for _ in range(30):
        target.failed(100.0, 1.0)
    assert target.not_before == 100.0 + LONGEST_PROBE_S * (1 + JITTER)
    assert target.answered()
    assert (target.failing, target.may_have(0, 0.0)) == (False, 4)
    assert not target.answered()
