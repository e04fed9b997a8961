"""Agents' accounts as PJSIP objects in the media server's memory (sorcery.conf), put over ARI: no file, no reload."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

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


def objects(
    account: PhoneAccount, codecs: Sequence[str], qualify_s: int, nat: bool, encrypted: bool = False
) -> list[tuple[str, Fields]]:
    """The three objects of an account, in the order in which they may refer to one another."""
    check_phone_id(account.phone_id)
    if not _HA1.fullmatch(account.ha1):
        raise BadValue("ha1", "is not 32 lower case hexadecimal digits")
    name = re.sub(r"[^\w .,'-]", "", account.display_name)[:80]
    auth = {"auth_type": "md5", "username": account.phone_id, "realm": REALM, "md5_cred": account.ha1}
    aor = {
        "max_contacts": "1",
        "remove_existing": "yes",
        "default_expiration": "120",
        "minimum_expiration": "30",
        "maximum_expiration": "600",
        "qualify_frequency": str(qualify_s),
        "qualify_timeout": "3.0",
    }
    endpoint = {
        "context": "from-agent",
        "transport": "tls" if encrypted else "udp",
        "aors": account.phone_id,
        "auth": account.phone_id,
        "identify_by": "username",
        "disallow": "all",
        "allow": ",".join(codecs),
        "direct_media": "no",
        "dtmf_mode": "rfc4733",
        "rtp_symmetric": "yes",
        "force_rport": "yes",
        "rewrite_contact": "yes" if nat else "no",
        "rtp_timeout": "60",
        "allow_subscribe": "no",
        "allow_transfer": "no",
        "send_connected_line": "no",
        "callerid": f'"{name}" <{account.phone_id}>',
    }
    if _ID.fullmatch(account.site):
        # No set_var: 22.10 answers 500 when an endpoint that has one is put again.
        endpoint["accountcode"] = account.site
    if encrypted:
        # Keys in the SDP (RFC 4568), which TLS hides; who offers none gets 488.
        endpoint |= {"media_encryption": "sdes", "media_encryption_optimistic": "no"}
    return [("auth", auth), ("aor", aor), ("endpoint", endpoint)]


class Phones:
    """The accounts, and which phones are reachable. ``said`` is told of each change, once. ``codecs`` are offered to
    the phones, which are asked every ``qualify_s`` seconds whether they are there (0: never). ``nat``: they are called
    at the address they registered from. ``encrypted``: over TLS, with SRTP."""

    def __init__(
        self,
        ari: AriLink,
        said: Callable[[PhoneId, bool], None],
        codecs: Sequence[str],
        qualify_s: int,
        nat: bool,
        encrypted: bool = False,
    ) -> None:
        self._ari, self._said = ari, said
        self._codecs, self._qualify_s, self._nat, self._encrypted = tuple(codecs), qualify_s, nat, encrypted
        self._reachable: set[PhoneId] = set()

    async def put(self, account: PhoneAccount) -> None:
        # All three are on their way before the first is answered; the server takes them in their order.
        sent = [
            self._ari.send("PUT", f"{_BASE}/{kind}/{account.phone_id}", (), {"fields": _pairs(fields)})
            for kind, fields in objects(account, self._codecs, self._qualify_s, self._nat, self._encrypted)
        ]
        for future in sent:
            error = error_of(await future)
            if error is not None:
                raise error

    async def remove(self, phone_id: PhoneId) -> None:
        """Gone already is gone. The server says nothing of a registration that ends so."""
        check_phone_id(phone_id)
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
