"""Codecs, SIP timers and classes of phones: what may be said, and what comes of it in the rendered files."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dialplans.endpoints import BUILT_IN, PhoneClass, SipTimers, classes, law, timers
from dialplans.pack import CountryPack, load_pack
from dialplans.render import RenderError, render
from dialplans.schema import Engine, Pop, Trunk
from tests.dialplans.pops import BERLIN, in_country

CARRIER: dict[str, Any] = {"name": "carrier", "addresses": ["198.18.0.3"], "host": "198.18.0.3"}

TOO_LONG = SipTimers(session_expires_s=90, min_se_s=100)
KEPT = PhoneClass(timers=SipTimers(registration_min_s=900))


def section(files: dict[str, bytes], name: str, kind: str) -> dict[str, str]:
    """The settings of a section of pjsip.conf."""
    for text in files["pjsip.conf"].decode().split("\n["):
        head, _, body = text.partition("]\n")
        found = dict(line.split(" = ", 1) for line in body.splitlines() if " = " in line and line[0] != ";")
        if head == name and found["type"] == kind:
            return found
    raise AssertionError(f"no {kind} {name}")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"codecs": ["alaw", "g729"]}, ("codecs", 1)),
        ({"codecs": ["PCMA"]}, ("codecs", 0)),
        ({"codecs": []}, ("codecs",)),
        ({"codecs": ["alaw", "alaw"]}, ("codecs",)),
        ({"timers": {"session": "yes"}}, ("timers", "session")),
        ({"timers": {"min_se_s": 89}}, ("timers", "min_se_s")),
        ({"timers": {"rtp_timeout_s": -1}}, ("timers", "rtp_timeout_s")),
        ({"timers": {"t1": 500}}, ("timers", "t1")),
    ],
)
def test_what_a_trunk_cannot_have_is_refused_by_its_name(given: dict[str, Any], field: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        Trunk.model_validate(CARRIER | given)
    assert [error["loc"] for error in refused.value.errors()] == [field]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"codecs": ["ilbc"]}, "ilbc"),
        ({"webrtc": True, "codecs": ["gsm"]}, "codecs: no browser speaks gsm"),
        ({"bitrate": 12000}, "bitrate"),
    ],
)
def test_what_a_class_cannot_have_is_refused_by_its_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PhoneClass.model_validate(given)


def test_the_nearest_place_counts() -> None:
    found = timers(SipTimers(min_se_s=120), SipTimers(min_se_s=300, qualify_s=20), SipTimers(session="always"))
    assert (found.min_se_s, found.qualify_s, found.session_timers, found.rtp_timeout_s) == (120, 20, "always", 60)
    with pytest.raises(ValueError, match=r"^min_se_s: "):
        timers(SipTimers(min_se_s=2000))
    with pytest.raises(ValueError, match=r"^registration_min_s: "):
        timers(SipTimers(registration_max_s=20))


def test_a_pop_may_define_what_is_built_in() -> None:
    own = {"desk": PhoneClass(codecs=["g722", "alaw"])}
    assert classes(own)["desk"].codecs == ["g722", "alaw"]
    assert classes(own).keys() == BUILT_IN.keys()


def test_the_country_orders_g711() -> None:
    assert law(load_pack("US").media.offer_order) == ("ulaw", "alaw")
    files = render(load_pack("US"), in_country("US"), "asterisk")
    assert section(files, "carrier-a", "endpoint")["allow"] == "ulaw,alaw"


def test_timers_of_country_pop_and_trunk() -> None:
    pack = load_pack("DE").model_dump()
    pack["media"]["sip_timers"] = {"session_expires_s": 600, "qualify_s": 15, "rtp_timeout_s": 30}
    country = CountryPack.model_validate(pack)
    trunks = [
        Trunk.model_validate(CARRIER | {"timers": {"qualify_s": 0, "session": "required"}}),
        Trunk.model_validate(CARRIER | {"name": "other", "codecs": ["g722", "gsm"]}),
    ]
    pop = BERLIN.model_copy(update={"trunks": trunks, "timers": SipTimers(rtp_timeout_s=20), "sip_t1_ms": 250})
    files = render(country, pop, "asterisk")
    first, second = section(files, "carrier", "endpoint"), section(files, "other", "endpoint")
    assert (first["timers"], first["timers_sess_expires"], first["rtp_timeout"]) == ("required", "600", "20")
    assert (second["timers"], second["allow"]) == ("yes", "g722,gsm")
    qualified = [section(files, name, "aor")["qualify_frequency"] for name in ("carrier", "other")]
    assert qualified == ["0", "15"]
    assert b"timer_t1 = 250\ntimer_b = 16000\n" in files["pjsip.conf"]
    assert b"codec_gsm.so" in files["modules.conf"]
    assert b"codec_opus" not in files["modules.conf"]


OTHER = Trunk(name="other", addresses=["192.0.2.9"], host="192.0.2.9", transport="tls")
CLEAR = OTHER.model_copy(update={"transport": "udp"})
NAMED = OTHER.model_copy(update={"addresses": ["pop.example"]})


@pytest.mark.parametrize(
    ("engine", "change", "field"),
    [
        ("asterisk", {"timers": SipTimers(min_se_s=3600)}, "pop.timers.min_se_s"),
        ("asterisk", {"trunks": [Trunk(**CARRIER, timers=TOO_LONG)]}, "pop.trunks.0.timers.min_se_s"),
        ("asterisk", {"phone_classes": {"a": KEPT}}, "pop.phone_classes.a.timers.registration_min_s"),
        (
            "asterisk",
            {"phone_classes": {"web": PhoneClass(webrtc=True)}, "tls_dir": "/t"},
            "pop.phone_classes.web.webrtc",
        ),
        ("asterisk", {"wss_port": 8443}, "pop.tls_dir"),
        ("asterisk", {"wss_port": 5061, "tls_dir": "/t"}, "pop.wss_port"),
        ("freeswitch", {"wss_port": 8443, "tls_dir": "/t"}, "pop.wss_port"),
        ("freeswitch", {"phone_classes": {"slow": PhoneClass(codecs=["gsm"])}}, "pop.phone_classes.slow.codecs"),
        ("freeswitch", {"phone_classes": {"web": PhoneClass(webrtc=True)}}, "pop.phone_classes.web.webrtc"),
        (
            "freeswitch",
            {"phone_classes": {"a": PhoneClass(timers=SipTimers(qualify_s=5))}},
            "pop.phone_classes.a.timers",
        ),
        ("freeswitch", {"trunks": [Trunk(**CARRIER, codecs=["g722"])]}, "pop.trunks.0.codecs"),
        ("freeswitch", {"mesh": [OTHER]}, "pop.tls_dir"),
        ("freeswitch", {"mesh": [CLEAR], "tls_dir": "/t"}, "pop.mesh.0.transport"),
        ("freeswitch", {"mesh": [NAMED], "tls_dir": "/t"}, "pop.mesh.0.addresses"),
        ("freeswitch", {"mesh": [OTHER], "tls_dir": "/t", "mesh_ca_file": "pops.pem"}, "pop.mesh_ca_file"),
        ("freeswitch", {"trunks": [Trunk(**CARRIER, timers=SipTimers(qualify_s=5))]}, "pop.trunks.0.timers"),
    ],
)
def test_what_cannot_be_together_is_refused(engine: Engine, change: dict[str, Any], field: str) -> None:
    with pytest.raises(RenderError) as refused:
        render(load_pack("DE"), BERLIN.model_copy(update=change), engine)
    assert refused.value.field == field


def test_timer_b_follows_t1() -> None:
    given = BERLIN.model_dump()
    assert Pop.model_validate(given | {"sip_t1_ms": 1000}).timer_b_ms == 64_000
    with pytest.raises(ValidationError, match="sip_b_ms: is less than 64 times"):
        Pop.model_validate(given | {"sip_t1_ms": 1000, "sip_b_ms": 32_000})


def test_without_browsers_no_http_server_runs() -> None:
    files = render(load_pack("DE"), BERLIN, "asterisk")
    assert b"enabled = no" in files["http.conf"]
    assert b"websocket.so" not in files["modules.conf"].replace(b"res_http_websocket.so", b"")
