"""What a country pack and a POP must say before anything is rendered. Bad input is refused with the field named."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialplans.endpoints import ClassName, Codecs, PhoneClass, SipTimers, Strict

__all__ = ["Engine", "Number", "Place", "Pop", "Prefix", "Strict", "Trunk"]

Engine = Literal["asterisk", "freeswitch"]
"""The media server of a POP."""


Prefix = Annotated[str, Field(pattern=r"^\+([1-9][0-9]{0,13})?$")]
"""How numbers in E.164 begin; ``+`` is how all do."""
Number = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]


class Trunk(Strict):
    """A carrier's SIP interconnect at a POP, identified by the addresses it sends from or by user name and password."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    addresses: list[str] = Field(default=[])
    """Addresses or networks of the carrier's signalling. None for one that authenticates by password."""
    host: str | None = None
    """Where our own calls go: host or host:port. Without one the far end registers, and calls go to where it is."""
    username: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    """The far end's digest user. It is the endpoint's name, so no agent's phone may be called the same."""
    password: str | None = Field(default=None, min_length=8)
    codecs: Codecs | None = None
    """None: G.711 in the order of the POP's country."""
    timers: SipTimers = SipTimers()
    transport: Literal["udp", "tls"] = "udp"
    """How SIP goes to and from the carrier (RFC 3261, 26.3). Over ``tls`` the carrier's certificate is verified."""
    srtp: Literal["required", "preferred", "off"] | None = None
    """Whether sound is encrypted (RFC 3711, keys by RFC 4568). Not given: required over TLS, off over UDP, where
    everybody on the way could read the keys."""
    clear_reason: str = Field(default="", max_length=200)
    """Why this carrier is spoken to in the clear; needed where sound over TLS need not be encrypted."""

    @property
    def encryption(self) -> Literal["required", "preferred", "off"]:
        """What ``srtp`` comes to."""
        return self.srtp or ("required" if self.transport == "tls" else "off")

    @model_validator(mode="after")
    def _encrypted_as_said(self) -> Self:
        if self.transport == "udp" and self.encryption != "off":
            raise ValueError("srtp: its keys would cross the network in clear text: set transport to tls")
        if self.transport == "tls" and self.encryption != "required" and not self.clear_reason:
            raise ValueError("clear_reason: say why sound to this carrier may be in the clear, or leave srtp required")
        return self

    @model_validator(mode="after")
    def _identified_one_way(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: give both or none")
        if self.username is not None and self.addresses:
            raise ValueError("give either addresses or username and password: a known address is not asked for one")
        if self.username is None and not self.addresses:
            raise ValueError("addresses: needed for a trunk without username and password")
        if self.username is None and self.host is None:
            raise ValueError("host: needed for a trunk without username and password")
        return self

    @property
    def endpoint(self) -> str:
        """Name of its endpoint in the media server."""
        return self.username or self.name


class Place(Strict):
    """Where somebody calls for help from, as emergency services have to know it."""

    trunk: str
    """The name of one of the POP's trunks."""
    cli: Number
    """A number that the place can be told, and called back, by."""
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """Whose emergency numbers count there besides those of the POP's country; none: that of ``cli``."""


class Pop(Strict):
    """All that the rendered files of one POP depend on besides its country's pack."""

    pop_id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    engine: Engine = "asterisk"
    country: str = Field(pattern=r"^[A-Z]{2}$")
    area_code: str = ""
    """National area code without the trunk prefix (``30`` for Berlin): completes local-format numbers."""
    sip_address: str
    """Address on which the media server listens for SIP and RTP."""
    sip_port: int = 5060
    config_dir: str | None = None
    """Asterisk: where these files lie, when that is not the directory that its package reads."""
    tls_dir: str | None = None
    """Directory with the POP's certificate, readable by the media server alone. Asterisk reads ``cert.pem`` (chain),
    ``key.pem`` and ``ca.pem`` (whom it believes), FreeSWITCH ``agent.pem``, key and chain in one, and ``cafile.pem``;
    without the second it writes a ``tls.pem`` there, and starts no profile where it may not. With it SIP is spoken over
    TLS: by Asterisk to agents' phones over TLS only, by FreeSWITCH to those that register so."""
    tls_port: int = 5061
    tls_minimum: Literal["1.2", "1.3"] = "1.3"
    """Asterisk: the oldest TLS that is spoken, 1.2 where a phone or a carrier has no other. FreeSWITCH speaks both."""
    wss_port: int | None = Field(default=None, ge=1, le=65535)
    """Asterisk: where browsers register over secure WebSocket. Not given, no HTTP server runs."""
    wss_tls_dir: str | None = None
    """Directory of the certificate (``cert.pem``, ``key.pem``) that browsers are shown, where it is not ``tls_dir``'s:
    one that browsers believe."""
    phone_classes: dict[ClassName, PhoneClass] = Field(default={})
    """Of agents' phones, besides or in the place of ``desk``, ``low-bandwidth`` and ``browser``. The controller has the
    same."""
    timers: SipTimers = SipTimers()
    """Of trunks and phones that set none of their own."""
    sip_t1_ms: int = Field(default=500, ge=100, le=4000)
    """T1 of RFC 3261 (17.1.1.1): the round trip that is expected, after which a request is sent again."""
    sip_b_ms: int | None = Field(default=None, ge=6400, le=256_000)
    """Timer B: so long an answer is waited for before the next route is taken. None: 64 times T1."""
    security_log: bool = False
    """Asterisk: refused registrations and calls are written, with their addresses, to ``security.log``."""
    rtp_first_port: int = 10000
    rtp_last_port: int = 20000
    trunks: list[Trunk] = Field(default=[])
    mesh: list[Trunk] = Field(default=[])
    """Trunks to the other POPs, each under the name of that POP's id, for queues that span POPs. A POP
    is known by its addresses, and over ``tls`` by its certificate besides: both ends show one of ``mesh_ca_file``.
    Without a port in ``host`` a trunk over TLS leads to ``mesh_tls_port`` of the other POP. FreeSWITCH speaks to other
    POPs over TLS only, and believes the certificate of any POP at the address of any."""
    mesh_tls_port: int = 5062
    """Where other POPs come over TLS. Who shows no certificate of ``mesh_ca_file`` has no connection."""
    mesh_ca_file: str = Field(default="ca.pem", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")
    """Asterisk: file in ``tls_dir`` with the authority that signs POPs' certificates; one of its own where ``ca.pem``
    has carriers' authorities as well. FreeSWITCH reads ``cafile.pem`` and no other."""
    cli_by_destination: dict[Prefix, Number] = Field(default={})
    """What numbers that agents dial at their phones are shown: the number of the longest prefix that the dialled one
    begins with. Emergency calls show what the POP's own country is shown. Where nothing fits, the carrier gets the
    phone's name."""
    allowed_numbers: list[Prefix] = Field(default=[])
    """How numbers in E.164 begin that agents may dial although they are barred: premium and shared-cost numbers, those
    of networks that are no country's, and ranges that nobody knows. The controller has the same list."""
    emergency_sites: dict[str, Place] = Field(default={})
    """Site of an agent (``site``) -> over which trunk, and shown as which number, emergency calls go from there. Agents
    of other sites, and of none, call over the POP's own trunks in turn."""
    overflow_number: str | None = None
    """E.164; dialled over the first trunk when no controller answers."""
    overflow_prompt_language: str | None = None
    """Language of the announcement before the overflow; the country's first where none is named."""
    controller_host: str = "127.0.0.1"
    controller_ari_port: int = 8089
    """Where the controller listens for the media server's outbound websocket."""
    ari_user: str = "callplane"
    ari_password: str = ""
    """Made per POP; the media server presents it to the controller. Needed for Asterisk."""
    ami_port: int = 5038
    ami_user: str = "callplane"
    ami_password: str = ""
    """Needed for Asterisk."""
    guard_password: str = ""
    """Asterisk: with it the AMI user ``guard`` is told of refused passwords, and of nothing else, for the program that
    bans (``callplane guard``)."""
    esl_host: str = "127.0.0.1"
    """Address on which FreeSWITCH listens for the controller."""
    esl_port: int = 8021
    esl_password: str = ""
    """Made per POP; the controller presents it to FreeSWITCH. Needed for FreeSWITCH."""
    esl_networks: list[str] = Field(default=[])
    """Networks from which a controller may connect to FreeSWITCH, besides the host itself."""
    phone_dir: str = "/var/lib/callplane/phones"
    """FreeSWITCH: the controller keeps a file for each agent's phone here; readable by the media server."""
    prompt_dir: str = "/var/lib/callplane/prompts"
    """Holds LANGUAGE/PROMPT_ID.alaw and .ulaw for every prompt, and music/default/; readable by the media server."""
    recording_dir: str = "/run/callplane/recordings"
    """Memory-backed; the media server writes here while a call is recorded."""
    opus: bool = False
    """FreeSWITCH: agents' phones are offered Opus before G.711; it costs transcoding on every call."""
    max_calls: int = 2000
    bind_address: str = "0.0.0.0"  # noqa: S104  (the interface is chosen by sip_address on multi-homed hosts)

    @property
    def timer_b_ms(self) -> int:
        return 64 * self.sip_t1_ms if self.sip_b_ms is None else self.sip_b_ms

    @model_validator(mode="after")
    def _timers_as_the_standard_has_them(self) -> Self:
        if self.timer_b_ms < 64 * self.sip_t1_ms:
            raise ValueError("sip_b_ms: is less than 64 times sip_t1_ms (RFC 3261, 17.1.1.2)")
        return self
