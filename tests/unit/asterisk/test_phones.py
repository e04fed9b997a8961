"""Each change of a phone's reachability is said once, whichever of the server's events tell of it."""

from __future__ import annotations

from unittest.mock import Mock

from pbx.adapters.asterisk.ari import AriLink
from pbx.adapters.asterisk.phones import USUAL_PHONES, Phones
from pbx.domain.ids import PhoneId


def peer(status: str) -> dict[str, str]:
    return {"Event": "PeerStatus", "ChannelType": "PJSIP", "Peer": "PJSIP/anna", "PeerStatus": status}


def contact(status: str) -> dict[str, str]:
    return {"Event": "ContactStatus", "EndpointName": "anna", "ContactStatus": status}


def test_said_once() -> None:
    said: list[tuple[str, bool]] = []
    phones = Phones(Mock(AriLink), lambda phone_id, reachable: said.append((phone_id, reachable)), USUAL_PHONES)
    for event in (contact("NonQualified"), peer("Reachable"), contact("Reachable"), contact("Removed")):
        phones.ami_event(event)
    assert said == [("anna", True)]
    phones.ami_event(peer("Unreachable"))
    phones.ami_event(contact("Unreachable"))
    assert said == [("anna", True), ("anna", False)]


def test_snapshots() -> None:
    said: list[tuple[str, bool]] = []
    phones = Phones(Mock(AriLink), lambda phone_id, reachable: said.append((phone_id, reachable)), USUAL_PHONES)
    phones.found([PhoneId("anna"), PhoneId("bert")])
    phones.compare(frozenset({PhoneId("bert"), PhoneId("carl")}))
    assert said == [("anna", False), ("carl", True)]
