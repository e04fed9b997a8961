"""Links by which a browser's player reads one recording: it can send no header, so the link says who asks and why.

A link is sealed under the centre's secrets key for one path. It lends no rights: whoever made it must have a good token
and the grants at each request, which is audited like any other.
"""

from __future__ import annotations

import base64
import binascii
import time

import msgspec

from orchestrator.domain.grants import Caller
from orchestrator.services.secret_box import BadKey, SecretBox

LONGER_S = 600.0
"""How much longer than the recording a link is good for."""
LONGEST = 4096


class Link(msgspec.Struct, frozen=True):
    token_id: str
    name: str
    purpose: str
    expires_at: float

    def caller(self) -> Caller:
        """Who made it, with no grants."""
        return Caller(self.token_id, self.name, (), purpose=self.purpose, linked=True)


def make(box: SecretBox, path: str, caller: Caller, duration_ms: int, now: float | None = None) -> tuple[str, float]:
    """The link's text for ``path``, and when it ends."""
    expires_at = (time.time() if now is None else now) + duration_ms / 1000 + LONGER_S
    link = Link(caller.caller_id, caller.name, caller.purpose or "", expires_at)
    sealed = box.seal(msgspec.json.encode(link).decode(), _about(path))
    return base64.urlsafe_b64encode(sealed).decode().rstrip("="), expires_at


def read(box: SecretBox, path: str, text: str) -> Link | None:
    """What a link says, if it was made here and for this path; it may have expired."""
    if len(text) > LONGEST:
        return None
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(box.open(sealed, _about(path)), type=Link)
    except (BadKey, ValueError, binascii.Error, msgspec.MsgspecError):
        return None


def _about(path: str) -> str:
    return f"recording link {path}"
