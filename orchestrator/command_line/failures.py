"""What can go wrong with a command, with the process's exit code and what to do next."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OK, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


class Failure(Exception):
    """One line that says why; ``advice`` says what to do next, ``details`` are lines of their own."""

    code = REFUSED

    def __init__(self, reason: str, advice: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.details = details


class Misused(Failure):
    """The command cannot be meant as it was given; nothing was asked."""

    code = USAGE


class Unreachable(Failure):
    """The centre did not answer."""

    code = UNREACHABLE


@dataclass(frozen=True, slots=True)
class About:
    """What a command is about, for advice."""

    noun: str | None = None
    """``callplane NOUN`` lists them."""
    fields: bool = False
    """``callplane NOUN fields`` names what may be set."""


class Refused(Failure):
    """The API refused. ``problem`` is its answer (RFC 9457), empty where it was none."""

    def __init__(self, status: int, body: bytes, retry_after: str | None, about: About) -> None:
        self.status = status
        self.problem = _problem(body)
        self.error_id = str(self.problem.get("error_id", ""))
        errors = [error for error in self.problem.get("errors", ()) if isinstance(error, dict)]
        details = tuple(map(_line, errors))
        title = self.problem.get("title", f"the centre answered {status}")
        detail = str(self.problem.get("detail", ""))
        # The detail of a refused body is its errors in one line: they are told one by one instead.
        reason = f"{title}: {detail}" if detail and not (details and self.error_id == "invalid") else str(title)
        super().__init__(reason, _advice(status, self.error_id, retry_after, about), details)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(error: dict[str, Any]) -> str:
    row = error.get("row")
    field, reason = error.get("field", ""), error.get("reason", "")
    return f"row {row}: {field}: {reason}" if row is not None else f"{field}: {reason}"


_ADVICE = {
    "pop_unreachable": "nothing was done; 'callplane pops' says which POPs are connected",
    "pop_timeout": "nobody knows whether it was done: look before you ask again",
    "draft_stale": "read the draft that is there ('callplane flow draft ID') and give its number as --revision",
    "draft_outdated": "a newer version was published meanwhile: save the draft again, then publish it",
    "stale": "read it again, then decide anew",
    "invalid_cursor": "begin again without --cursor",
}


def _advice(status: int, error_id: str, retry_after: str | None, about: About) -> str:
    if error_id in _ADVICE:
        return _ADVICE[error_id]
    match status:
        case 401:
            return "log in with 'callplane login URL', or give a token as CALLPLANE_TOKEN or CALLPLANE_TOKEN_FILE"
        case 403:
            return "'callplane whoami' shows what your token is good for; an admin can give more"
        case 404 if about.noun is not None and error_id != "no_such_path":
            return f"'callplane {about.noun}' lists those that you may see"
        case 404:
            return "this centre is older or newer than this program"
        case 422 if about.fields:
            return f"'callplane {about.noun} fields' names the fields and what they may hold"
        case 429 if retry_after is not None:
            return f"again in {retry_after} s"
        case 500 | 503:
            return "the centre works on it or is not well: try again, and look at its log"
    return ""
