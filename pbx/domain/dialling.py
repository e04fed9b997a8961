"""How a POP calls outside: which numbers it may, and over which trunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pbx.domain.e164 import E164, UNKNOWN, Cli, CliKind
from pbx.domain.errors import BadValue
from pbx.domain.ids import QueueId

_NO_QUEUE = QueueId("")


@dataclass(frozen=True, slots=True)
class OutsideNumber:
    number: E164
    kind: str
    """``fixed``, ``mobile``, ``toll_free`` and the like."""
    allowed: str | None = None
    """The beginning on the POP's list by which a number may be called that is barred otherwise."""


def nobody(text: str) -> OutsideNumber:
    raise BadValue("number", "nothing may be called from here")


@dataclass(frozen=True, slots=True)
class Dialling:
    number_of: Callable[[str], OutsideNumber] = nobody
    """What a number as somebody wrote it calls. Pure; raises BadValue with the reason."""
    trunk: str | None = None
    """None: the one by which the caller came; nobody is called who has not called."""


def _no_cli(number: E164) -> E164 | None:
    return None


def _nowhere(number: E164) -> str | None:
    return None


def _nothing_spoken(number: E164) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Outbound:
    """How a POP's agents call outside numbers."""

    number_of: Callable[[str], OutsideNumber] = nobody
    """What a number in E.164 calls. Pure; raises BadValue with the reason for one that agents may not call."""
    shown: Callable[[E164], E164 | None] = _no_cli
    """What the number is shown; None: nothing is said of it."""
    country_of: Callable[[E164], str | None] = _nowhere
    """ISO 3166-1 alpha-2."""
    languages_of: Callable[[E164], tuple[str, ...]] = _nothing_spoken
    """Of the number's country, the most spoken first."""
    queue_id: QueueId = _NO_QUEUE
    """Whose recording and wrap-up hold for these calls."""


def shown(cli: Cli, did: E164, show_caller: bool) -> Cli:
    """What the outside number is shown: the DID that was called, or the caller's own number. A caller who withholds it
    stays withheld; one whose number is not known is shown as the DID."""
    if not show_caller or cli == UNKNOWN:
        return Cli(CliKind.NUMBER, did)
    return cli
