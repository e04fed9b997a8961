"""Agents' accounts as PJSIP objects in the media server's memory (sorcery.conf), put over ARI: no file, no reload."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dialplans.endpoints import DESK, Codec, PhoneClass, SipTimers, Timers, classes, timers
from pbx.adapters.asterisk.ari import AriLink, error_of
from pbx.domain.errors import BadValue, LegGone
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount

REALM = "callplane"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HA1 = re.compile(r"[0-9a-f]{32}")
_THERE = frozenset({"Created", "NonQualified", "Reachable"})
_BASE = "asterisk/config/dynamic/res_pjsip"

Fields = dict[str, str]


def check_phone_id(phone_id: str) -> None:
    if not _ID.fullmatch(phone_id):
        raise BadValue("phone_id", "is not a SIP user name of letters, digits, dots, dashes and underscores")


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """What an account's objects depend on besides the account. ``qualify_s``: phones are asked so often whether they
    are there (0: never), unless their class says otherwise. ``nat``: they are called at the address they registered
    from. ``encrypted``: over TLS, with SRTP."""

    codecs: tuple[Codec, ...]
    """Of classes that name none."""
    classes: Mapping[str, PhoneClass]
    timers: SipTimers
    qualify_s: int = 30
    nat: bool = True
    encrypted: bool = False

    def class_of(self, account: PhoneAccount) -> PhoneClass:
        """Raises BadValue."""
        found = self.classes.get(account.phone_class or DESK)
        if found is None:
            raise BadValue("phone_class", f"is none of this POP's: {', '.join(sorted(self.classes))}")
        return found

    def codecs_of(self, kind: PhoneClass) -> tuple[Codec, ...]:
        return tuple(kind.codecs or self.codecs)

    def timers_of(self, kind: PhoneClass) -> Timers:
        return timers(kind.timers, self.timers, SipTimers(qualify_s=self.qualify_s))


USUAL_PHONES = PhoneSettings(codecs=("alaw", "ulaw"), classes=classes({}), timers=SipTimers())


def objects(account: PhoneAccount, settings: PhoneSettings) -> list[tuple[str, Fields]]:
    """The three objects of an account, in the order in which they may refer to one another.

    Raises BadValue naming what no object may hold, or ``phone_class``."""
    check_phone_id(account.phone_id)
    if not _HA1.fullmatch(account.ha1):
        raise BadValue("ha1", "is not 32 lower case hexadecimal digits")
    kind = settings.class_of(account)
    times = settings.timers_of(kind)
    name = re.sub(r"[^\w .,'-]", "", account.display_name)[:80]
    auth = {"auth_type": "md5", "username": account.phone_id, "realm": REALM, "md5_cred": account.ha1}
    aor = {
        "max_contacts": "1",
        "remove_existing": "yes",
        "default_expiration": str(times.registration_s),
        "minimum_expiration": str(times.registration_min_s),
        "maximum_expiration": str(times.registration_max_s),
        "qualify_frequency": str(times.qualify_s),
        "qualify_timeout": "3.0",
    }
    endpoint = {
        "context": "from-agent",
        "transport": "wss" if kind.webrtc else "tls" if settings.encrypted else "udp",
        "aors": account.phone_id,
        "auth": account.phone_id,
        "identify_by": "username",
        "disallow": "all",
        "allow": ",".join(settings.codecs_of(kind)),
        "direct_media": "no",
        "dtmf_mode": "rfc4733",
        "rtp_symmetric": "yes",
        "force_rport": "yes",
        "rewrite_contact": "yes" if settings.nat or kind.webrtc else "no",
        "timers": times.session_timers,
        "timers_sess_expires": str(times.session_expires_s),
        "timers_min_se": str(times.min_se_s),
        "rtp_timeout": str(times.rtp_timeout_s),
        "allow_subscribe": "no",
        "allow_transfer": "no",
        "send_connected_line": "no",
        "callerid": f'"{name}" <{account.phone_id}>',
    }
    if kind.codecs is not None:
        # Its own codecs, whatever the other leg speaks: the server transcodes.
        endpoint["outgoing_call_offer_pref"] = "local_merge"
    if _ID.fullmatch(account.site):
        # No set_var: 22.10 answers 500 when an endpoint that has one is put again.
        endpoint["accountcode"] = account.site
    if kind.webrtc:
        # DTLS-SRTP, ICE, one port for RTP and RTCP: what browsers insist on. The certificate of a call's media is made
        # for it; its fingerprint stands in the SDP (RFC 8122), which TLS protects.
        endpoint |= {"webrtc": "yes", "dtls_auto_generate_cert": "yes"}
    elif settings.encrypted:
        # Keys in the SDP (RFC 4568), which TLS hides; who offers none gets 488.
        endpoint |= {"media_encryption": "sdes", "media_encryption_optimistic": "no"}
    return [("auth", auth), ("aor", aor), ("endpoint", endpoint)]


class Phones:
    """The accounts, and which phones are reachable. ``said`` is told of each change, once."""

    def __init__(self, ari: AriLink, said: Callable[[PhoneId, bool], None], settings: PhoneSettings) -> None:
        self._ari, self._said, self._settings = ari, said, settings
        self._reachable: set[PhoneId] = set()
        self._codecs: dict[PhoneId, tuple[Codec, ...]] = {}

    def codecs_of(self, phone_id: PhoneId) -> tuple[Codec, ...]:
        """Of its class; the country's before it was put."""
        return self._codecs.get(phone_id, self._settings.codecs)

    async def put(self, account: PhoneAccount) -> None:
        kinds = objects(account, self._settings)
        self._codecs[account.phone_id] = self._settings.codecs_of(self._settings.class_of(account))
        # All three are on their way before the first is answered; the server takes them in their order.
        sent = [
            self._ari.send("PUT", f"{_BASE}/{kind}/{account.phone_id}", (), {"fields": _pairs(fields)})
            for kind, fields in kinds
        ]
        for future in sent:
            error = error_of(await future)
            if error is not None:
                raise error

    async def remove(self, phone_id: PhoneId) -> None:
        """Gone already is gone. The server says nothing of a registration that ends so."""
        check_phone_id(phone_id)
        self._codecs.pop(phone_id, None)
        sent = [self._ari.send("DELETE", f"{_BASE}/{kind}/{phone_id}") for kind in ("endpoint", "aor", "auth")]
        for future in sent:
            error = error_of(await future)
            if error is not None and not isinstance(error, LegGone):
                raise error
        self._say(phone_id, False)

    def found(self, reachable: Iterable[PhoneId]) -> None:
        """A snapshot that the listener gets."""
        self._reachable = set(reachable)

    def compare(self, reachable: frozenset[PhoneId]) -> None:
        """A snapshot that the listener does not get: it is told what has changed."""
        for phone_id in sorted(reachable ^ self._reachable):
            self._say(phone_id, phone_id in reachable)

    def ami_event(self, event: Mapping[str, str]) -> None:
        # PeerStatus is of the endpoint: it stays reachable while one contact replaces another. Once it did not come for
        # a phone whose account had just been removed and put again; ContactStatus tells the good news a second time.
        kind = event.get("Event")
        if kind == "PeerStatus" and event.get("ChannelType") == "PJSIP":
            self._say(PhoneId(event.get("Peer", "").removeprefix("PJSIP/")), event.get("PeerStatus") == "Reachable")
        elif kind == "ContactStatus" and event.get("ContactStatus") in _THERE and event.get("EndpointName"):
            self._say(PhoneId(event["EndpointName"]), True)

    def _say(self, phone_id: PhoneId, reachable: bool) -> None:
        if reachable is (phone_id in self._reachable):
            return
        (self._reachable.add if reachable else self._reachable.discard)(phone_id)
        self._said(phone_id, reachable)


def _pairs(fields: Fields) -> list[dict[str, str]]:
    return [{"attribute": key, "value": value} for key, value in fields.items()]
