"""What FreeSWITCH's files need beyond the POP and the pack, and what a POP must not say to it."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping

from dialplans.endpoints import Codec, PhoneClass, SipTimers, classes
from dialplans.pack import CountryPack
from dialplans.schema import Pop, Trunk

REALM = "callplane"
"""Of every digest, and the domain of the phones."""
MESH_CA = "cafile.pem"
"""Of the authority of POPs' certificates, in ``tls_dir``: mod_sofia has the name built in."""
_CODECS: Mapping[Codec, str] = {"alaw": "PCMA", "ulaw": "PCMU", "opus": "opus"}
"""Codec names of a POP -> those of SDP, which are FreeSWITCH's. G.722, G.726 and GSM are mod_spandsp's, with which this
was never run."""


def networks(addresses: Iterable[str]) -> list[str]:
    """Addresses and networks as networks: an access list refuses an address without a prefix length, and goes on.

    Raises ValueError for what is neither; a name would have to be resolved, and SIP must not wait for that."""
    return [str(ipaddress.ip_network(address, strict=False)) for address in addresses]


def codec_names(codecs: Iterable[Codec]) -> str:
    """Most wanted first. Raises ValueError for one that FreeSWITCH is not asked for."""
    unknown = [codec for codec in codecs if codec not in _CODECS]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is none of FreeSWITCH's here; there are {', '.join(_CODECS)}")
    return ",".join(_CODECS[codec] for codec in codecs)


def ha1(trunk: Trunk) -> str:
    """Hex MD5 of ``user:realm:password`` (RFC 2617, 3.2.2.2): no clear password gets into a file."""
    return hashlib.md5(f"{trunk.username}:{REALM}:{trunk.password}".encode(), usedforsecurity=False).hexdigest()


def class_problems(one: PhoneClass) -> Iterable[tuple[str, str]]:
    """Fields of a class of phones that FreeSWITCH cannot do with, and why."""
    if one.webrtc:
        yield "webrtc", "browsers are served by Asterisk only"
    try:
        codec_names(one.codecs or ())
    except ValueError as error:
        yield "codecs", str(error)
    if one.timers != SipTimers():
        yield "timers", "are those of the POP on FreeSWITCH: set them in pop.timers"


def usable(own: Mapping[str, PhoneClass]) -> dict[str, PhoneClass]:
    """Of the classes that every POP has, and its own, those that phones at FreeSWITCH can be of."""
    return {name: one for name, one in classes(own).items() if not list(class_problems(one))}


def problems(pop: Pop) -> Iterable[tuple[str, str]]:
    """Fields of ``pop`` that FreeSWITCH cannot do with, and why."""
    if not pop.esl_password:
        yield "pop.esl_password", "is needed: without one anybody on the host would control the calls"
    try:
        networks([pop.esl_host])
    except ValueError as error:
        yield "pop.esl_host", str(error)
    for index, network in enumerate(pop.esl_networks):
        try:
            networks([network])
        except ValueError as error:
            yield f"pop.esl_networks.{index}", str(error)
    for index, trunk in enumerate(pop.trunks):
        for address in trunk.addresses:
            try:
                networks([address])
            except ValueError as error:
                yield f"pop.trunks.{index}.addresses", str(error)
        try:
            codec_names(trunk.codecs or ())
        except ValueError as error:
            yield f"pop.trunks.{index}.codecs", str(error)
        if trunk.timers != SipTimers():
            yield f"pop.trunks.{index}.timers", "are those of the POP on FreeSWITCH: set them in pop.timers"
    for index, other in enumerate(pop.mesh):
        where = f"pop.mesh.{index}"
        if other.transport != "tls":
            yield f"{where}.transport", "has to be tls: FreeSWITCH speaks to other POPs in no other way"
        if pop.tls_dir is None:
            yield "pop.tls_dir", "is needed: other POPs are spoken to over TLS"
        try:
            networks(other.addresses)
        except ValueError as error:
            yield f"{where}.addresses", str(error)
        try:
            codec_names(other.codecs or ())
        except ValueError as error:
            yield f"{where}.codecs", str(error)
        if other.timers != SipTimers():
            yield f"{where}.timers", "are those of the POP on FreeSWITCH: set them in pop.timers"
    if pop.mesh and pop.mesh_ca_file not in ("ca.pem", MESH_CA):
        yield "pop.mesh_ca_file", f"is {MESH_CA} on FreeSWITCH, which reads no other: leave it out"
    for name, one in pop.phone_classes.items():
        for field, reason in class_problems(one):
            yield f"pop.phone_classes.{name}.{field}", reason
    if pop.wss_port is not None:
        yield "pop.wss_port", "browsers are served by Asterisk only"


def context(pack: CountryPack, pop: Pop) -> dict[str, object]:
    """Names that only these templates use."""
    law = list(pack.media.offer_order)
    return {
        "networks": networks,
        "codec_names": codec_names,
        "ha1": ha1,
        "phone_codecs": ",".join(["opus", *law] if pop.opus else law),
        "sound": {"PCMA": "alaw", "PCMU": "ulaw"}[law[0]],
    }
