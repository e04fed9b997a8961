"""How a POP calls outside: which numbers it may, and over which trunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pbx.domain.e164 import E164, UNKNOWN, Cli, CliKind
from pbx.domain.errors import BadValue


@dataclass(frozen=True, slots=True)
class OutsideNumber:
    number: E164
    kind: str
    """``fixed``, ``mobile``, ``toll_free`` and the like."""


def nobody(text: str) -> OutsideNumber:
    raise BadValue("number", "nothing may be called from here")


@dataclass(frozen=True, slots=True)
class Dialling:
    number_of: Callable[[str], OutsideNumber] = nobody
    """What a number as somebody wrote it calls. Pure; raises BadValue with the reason."""
    trunk: str | None = None
    """None: the one by which the caller came; nobody is called who has not called."""


def shown(cli: Cli, did: E164, show_caller: bool) -> Cli:
    """What the outside number is shown: the DID that was called, or the caller's own number. A caller who withholds it
    stays withheld; one whose number is not known is shown as the DID."""
    if not show_caller or cli == UNKNOWN:
        return Cli(CliKind.NUMBER, did)
    return cli
