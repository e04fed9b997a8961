"""How the media server speaks to a trunk's far end and to an agent's phone: codecs, SIP timers, classes of phones.

What is not set at a trunk or class is the POP's, then its country's (``media.sip_timers`` and ``media.offer_order`` of
the pack), then ``USUAL``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Codec = Literal["alaw", "ulaw", "g722", "g726", "gsm", "opus"]
"""What Debian's Asterisk transcodes and is tested here. It has no encoder for G.729 and iLBC."""
CODECS: tuple[Codec, ...] = get_args(Codec)


def _once(codecs: list[Codec]) -> list[Codec]:
    for index, codec in enumerate(codecs):
        if codec in codecs[:index]:
            raise PydanticCustomError("codecs", "names {codec} twice", {"codec": codec})
    return codecs


Codecs = Annotated[list[Codec], Field(min_length=1, max_length=len(CODECS)), AfterValidator(_once)]
"""Most wanted first."""

SESSION_TIMERS: Mapping[str, str] = {"off": "no", "offered": "yes", "required": "required", "always": "always"}
"""Our words, and PJSIP's."""


class SipTimers(Strict):
    """What may be set; what is left out comes from the next place."""

    session: Literal["off", "offered", "required", "always"] | None = None
    """Session timers (RFC 4028). ``offered``: used where the far end knows them; ``required``: a far end that does not
    is refused with 421; ``always``: we refresh, whatever the far end knows."""
    session_expires_s: int | None = Field(default=None, ge=90, le=86_400)
    """The interval that we ask for; a call whose far end has gone ends within it."""
    min_se_s: int | None = Field(default=None, ge=90, le=86_400)
    """A far end that asks for less gets 422 with this as Min-SE."""
    rtp_timeout_s: int | None = Field(default=None, ge=0, le=3600)
    """A call is ended when so long nothing is heard of its far end; 0: never."""
    qualify_s: int | None = Field(default=None, ge=0, le=3600)
    """How often it is asked by OPTIONS whether it is there; 0: never."""
    registration_min_s: int | None = Field(default=None, ge=10, le=86_400)
    """A registration for less lasts so long (RFC 3261, 10.3)."""
    registration_max_s: int | None = Field(default=None, ge=10, le=86_400)
    """One for more lasts so long."""


@dataclass(frozen=True, slots=True)
class Timers:
    """All of them, seconds."""

    session: str
    session_expires_s: int
    min_se_s: int
    rtp_timeout_s: int
    qualify_s: int
    registration_min_s: int
    registration_max_s: int

    @property
    def session_timers(self) -> str:
        """PJSIP's word."""
        return SESSION_TIMERS[self.session]

    @property
    def registration_s(self) -> int:
        """Of a registration that names no time."""
        return min(max(120, self.registration_min_s), self.registration_max_s)


USUAL = SipTimers(
    session="offered",
    session_expires_s=1800,
    min_se_s=90,
    rtp_timeout_s=60,
    qualify_s=0,
    registration_min_s=30,
    registration_max_s=600,
)


def timers(*layers: SipTimers | None) -> Timers:
    """The first of ``layers`` that sets a value counts, ``USUAL`` last.

    Raises ValueError naming the value that contradicts another."""
    merged: dict[str, object] = {}
    for layer in (*layers, USUAL):
        if layer is not None:
            for name, value in layer.model_dump(exclude_none=True).items():
                merged.setdefault(name, value)
    found = Timers(**merged)  # type: ignore[arg-type]  # the fields are SipTimers', validated there
    if found.min_se_s > found.session_expires_s:
        raise ValueError("min_se_s: is more than session_expires_s")
    if found.registration_min_s > found.registration_max_s:
        raise ValueError("registration_min_s: is more than registration_max_s")
    return found


class PhoneClass(Strict):
    """Settings that agents' phones of one kind share; an agent names its class."""

    codecs: Codecs | None = None
    """None: G.711 in the order of the POP's country."""
    webrtc: bool = Field(default=False, strict=True)
    """A browser: SIP over secure WebSocket (RFC 7118), sound by DTLS-SRTP and ICE (RFC 8827). Needs ``wss_port``."""
    timers: SipTimers = SipTimers()

    @model_validator(mode="after")
    def _a_browser_can(self) -> Self:
        # RFC 7874, section 3, asks G.711 and Opus of every browser; G.722 they have, too.
        others = sorted(set(self.codecs or ()) - {"alaw", "ulaw", "opus", "g722"})
        if self.webrtc and others:
            raise ValueError(f"codecs: no browser speaks {', '.join(others)}")
        return self


DESK, LOW_BANDWIDTH, BROWSER = "desk", "low-bandwidth", "browser"
BUILT_IN: Mapping[str, PhoneClass] = {
    DESK: PhoneClass(),
    # 13.2 kbit/s of sound, 29 with RTP, UDP and IP, of which G.711 takes 80. Opus may take as little where the phone
    # asks for it (maxaveragebitrate): Debian's encoder has no setting of its own. Packets of 60 ms (``allow = gsm:60``)
    # would save 11 more; Asterisk 22.10 puts them into its SDP and goes on sending 20 ms, and a phone that obeyed fell
    # silent.
    LOW_BANDWIDTH: PhoneClass(codecs=["gsm"]),
    BROWSER: PhoneClass(webrtc=True),
}
"""Classes that every POP has; it may define them otherwise. Agents without a class are of ``desk``."""

ClassName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]


def classes(own: Mapping[str, PhoneClass]) -> dict[str, PhoneClass]:
    """Built in, and the POP's own."""
    return {**BUILT_IN, **own}


def law(offer_order: Iterable[str]) -> tuple[Codec, ...]:
    """G.711 in the order of a country's pack."""
    names: dict[str, Codec] = {"PCMA": "alaw", "PCMU": "ulaw"}
    return tuple(names[name] for name in offer_order)
