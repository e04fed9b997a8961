"""What can be wrong with a request, in the words of the API. ``error_id`` is stable: programs may rely on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pbx.domain.errors import CallplaneError


@dataclass(frozen=True, slots=True)
class FieldError:
    """``field`` is the path in the request's body (``graph.nodes.menu.queue``), ``reason`` completes it."""

    field: str
    reason: str
    row: int | None = None
    """Line of an imported file, from 1."""


class Problem(CallplaneError):
    error_id = "problem"

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class Invalid(Problem):
    """The request breaks a rule; nothing was changed."""

    error_id = "invalid"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{e.field}: {e.reason}" for e in errors), errors)


class NotFound(Problem):
    def __init__(self, noun: str, key: str) -> None:
        super().__init__(f"there is no {noun} {key}")
        self.error_id = f"unknown_{noun}"


class Exists(Problem):
    def __init__(self, noun: str, field: str) -> None:
        super().__init__(f"this {noun} exists already", [FieldError(field, "is taken")])
        self.error_id = f"{noun}_exists"


class InUse(Problem):
    def __init__(self, noun: str, key: str, users: Sequence[str]) -> None:
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        super().__init__(f"{noun} {key} is in use by {shown}")
        self.error_id = f"{noun}_in_use"


class Conflict(Problem):
    """Everything is there, but not where or as it would have to be; nothing was changed."""

    def __init__(self, error_id: str, detail: str) -> None:
        super().__init__(detail)
        self.error_id = error_id


class Stale(Problem):
    """What was to be changed is another by now than the one that was read; nothing was changed."""

    error_id = "stale"

    def __init__(self) -> None:
        super().__init__("it has been changed since it was read: read it again and decide anew")


class KeyReused(Problem):
    error_id = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("another request was made with this Idempotency-Key")


class NotReadable(Problem):
    """The body is of a kind that this route does not read."""

    error_id = "unsupported_media_type"


class Unauthorized(Problem):
    error_id = "unauthorized"


class Forbidden(Problem):
    """Known, but without the role or the scope for this."""

    error_id = "forbidden"


class TooMany(Problem):
    """Too many failures; not before ``retry_after_s`` seconds from now."""

    error_id = "too_many_failures"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReady(Problem):
    """The centre does not do all of its work; ``errors`` names the parts."""

    error_id = "not_ready"


class ProviderUnreachable(Problem):
    """Of identities; nothing was changed."""

    error_id = "provider_unreachable"


class PopUnreachable(Problem):
    """The POP, or the bus between, did not take the command. It was not carried out."""

    error_id = "pop_unreachable"


class PopTimeout(Problem):
    """No reply before the deadline: nobody knows whether the POP carried the command out."""

    error_id = "pop_timeout"


class PopRefused(Problem):
    """The POP understood and refused; ``error_id`` is the POP's own word, in the spelling of this API."""

    def __init__(self, error_id: str, detail: str) -> None:
        super().__init__(detail or error_id)
        self.error_id = error_id.replace("-", "_")


def one(field: str, reason: str) -> Invalid:
    return Invalid([FieldError(field, reason)])
