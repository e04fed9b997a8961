"""Certificates of erasure: what was destroyed, where and when, what was kept and why, signed by the centre (Ed25519,
RFC 8032) over its JSON in one spelling: keys sorted, no blanks, ASCII. The person stands in it as a keyed hash only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERSION = 1
ALGORITHM = "Ed25519"


class BadCertificate(ValueError):
    """It is none, or not what the centre signed. Says why."""


def spelled(body: dict[str, Any]) -> bytes:
    """What is signed."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def public_key(seed: bytes) -> str:
    """Base64 of the 32 bytes that belong to the ``seed`` of 32 bytes."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def key_id(public: str) -> str:
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def signed(seed: bytes, body: dict[str, Any]) -> dict[str, Any]:
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(spelled(body))
    public = public_key(seed)
    return {
        "certificate": body,
        "signature": {
            "algorithm": ALGORITHM,
            "key_id": key_id(public),
            "public_key": public,
            "value": base64.b64encode(signature).decode(),
        },
    }


def verify(document: Any, public: str) -> dict[str, Any]:
    """The body of a certificate that the holder of ``public`` (base64) signed. The key that the document itself names
    proves nothing and is only compared. Raises BadCertificate."""
    try:
        body, signature = document["certificate"], document["signature"]
        value = base64.b64decode(signature["value"], validate=True)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.strip(), validate=True))
        named = signature["public_key"]
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise BadCertificate("is not a certificate of erasure, or the key is none") from None
    if not isinstance(body, dict) or signature.get("algorithm") != ALGORITHM:
        raise BadCertificate("is not a certificate of erasure")
    if named != public.strip():
        raise BadCertificate("was signed with another key than the one given")
    try:
        key.verify(value, spelled(body))
    except InvalidSignature:
        raise BadCertificate("does not say what the centre signed") from None
    if body.get("version") != VERSION:
        raise BadCertificate(f"is of version {body.get('version')}, which this program does not know")
    return body


def text(body: dict[str, Any]) -> str:
    """For people."""
    return "\n".join(_lines(body)) + "\n"


def _lines(body: dict[str, Any]) -> Iterator[str]:
    yield f"CERTIFICATE OF ERASURE {body['erasure_id']}, issue {body['issue']}"
    yield ""
    yield f"Person        {body['subject']} (keyed hash of a telephone number)"
    yield f"Asked for     {body['requested_at']} by {body['requested_by']}: {body['purpose']}"
    yield f"Scope         {_scope(body['scope'])}"
    yield f"Result        {body['result']}, {body['completed_at']}"
    for title, name in (("DESTROYED", "destroyed"), ("REPLACED", "replaced"), ("KEPT", "kept"), ("HELD", "held")):
        if body[name]:
            yield ""
            yield title
            for item in body[name]:
                yield "  " + ", ".join(f"{key} {value}" for key, value in item.items() if value not in (None, ""))
    if body["recipients"]:
        yield ""
        yield "SENT TO OTHERS BEFORE, who are to be told (GDPR Art. 19)"
        for item in body["recipients"]:
            yield f"  {item['url']}: {item['messages']} messages"


def _scope(grants: list[dict[str, Any]]) -> str:
    def one(grant: dict[str, Any]) -> str:
        units = "all units" if grant["units"] is None else "units " + ", ".join(grant["units"])
        regions = "all regions" if grant["regions"] is None else "regions " + ", ".join(grant["regions"])
        return f"{units}, {regions}"

    return "; ".join(dict.fromkeys(map(one, grants)))
