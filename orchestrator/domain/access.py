"""Secrets that the centre hands out once and keeps only as hashes."""

from __future__ import annotations

import hashlib
import secrets

SIP_REALM = "callplane"
SIP_PASSWORD_CHARACTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # noqa: S105
"""People type these into phones: nothing that looks like something else, and nothing that a configuration reads as its
own (sipp takes a password that begins with ``0x`` for hexadecimal)."""


def new_token() -> str:
    """32 random bytes; as strong as the hash under which it is kept, so that one is enough and no salt is needed."""
    return "cp_" + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def limited_token_hash(token: str) -> str:
    """Of a token that may not do everything, or not for ever."""
    return hashlib.sha256(b"limited:" + token.encode()).hexdigest()


def new_sip_password() -> str:
    """20 characters, 116 bits: HA1 is plain MD5, so the password has to carry the strength."""
    return "".join(secrets.choice(SIP_PASSWORD_CHARACTERS) for _ in range(20))


def ha1(phone_id: str, password: str) -> str:
    """Hex MD5 of ``user:realm:password`` (RFC 2617, 3.2.2.2), which is what the media servers compare."""
    text = f"{phone_id}:{SIP_REALM}:{password}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
