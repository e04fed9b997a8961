"""For schemathesis: how the bodies are written that it does not know."""

from __future__ import annotations

from typing import Any

import schemathesis

from dialplans.uploads import KINDS


@schemathesis.serializer(*KINDS)
def sound(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
