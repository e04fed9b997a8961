"""What an ID token must be, or nobody gets in."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from orchestrator.adapters.oidc import checked
from orchestrator.domain.problems import Unauthorized

KEY = RSAKey.generate_key(2048, {"kid": "a"})
OTHER = RSAKey.generate_key(2048, {"kid": "a"})
KEYS: Any = KeySet([KEY]).as_dict(private=False)
ISSUER, CLIENT, NONCE = "https://id.example", "callplane", "n-1"


def claims(**change: Any) -> dict[str, Any]:
    now = int(time.time())
    base = {"iss": ISSUER, "aud": CLIENT, "sub": "ada", "iat": now, "exp": now + 300, "nonce": NONCE}
    return {name: value for name, value in {**base, **change}.items() if value is not None}


def signed(key: Any = KEY, algorithm: str = "RS256", **change: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": "a"}, claims(**change), key, algorithms=[algorithm])


def test_a_good_one_holds() -> None:
    assert checked(signed(), KEYS, ISSUER, CLIENT, NONCE)["sub"] == "ada"
    several = signed(aud=[CLIENT, "other"], azp=CLIENT)
    assert checked(several, KEYS, ISSUER, CLIENT, NONCE)["sub"] == "ada"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other.example"},
        {"aud": "somebody-else"},
        {"aud": [CLIENT, "other"]},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"azp": "other"},
        {"nonce": "n-2"},
        {"nonce": None},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": None},
        {"sub": None},
    ],
)
def test_claims_that_are_not_for_us_do_not(change: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        checked(signed(**change), KEYS, ISSUER, CLIENT, NONCE)


def _keyed_with_what_everybody_has() -> str:
    """The public key taken for a shared secret."""
    parts = ({"alg": "HS256", "kid": "a", "typ": "JWT"}, claims())
    said = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mac = hmac.digest(KEY.as_pem(private=False), said, "sha256")
    return (said + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_signatures_that_prove_nothing_do_not() -> None:
    head, body, _ = signed().split(".")
    none = jwt.encode({"alg": "none"}, claims(), OctKey.generate_key(128), algorithms=["none"])
    for forged in (
        signed(OTHER),
        _keyed_with_what_everybody_has(),
        none,
        f"{head}.{body}.",
        "",
        "a.b.c",
        None,
        17,
    ):
        with pytest.raises(Unauthorized):
            checked(forged, KEYS, ISSUER, CLIENT, NONCE)
    with pytest.raises(Unauthorized):
        checked(signed(), {"keys": []}, ISSUER, CLIENT, NONCE)
    with pytest.raises(Unauthorized):
        checked(signed(), {}, ISSUER, CLIENT, NONCE)
