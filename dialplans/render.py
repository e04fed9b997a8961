"""Country pack and POP in, files for the media server out: pure, and the same bytes whoever asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from dialplans import freeswitch, self_call
from dialplans.endpoints import Codec, Timers, classes, law, timers
from dialplans.numbering import E164, NumberRefused, check_did, country_of, forms, ranges
from dialplans.pack import CountryPack, packs
from dialplans.schema import Engine, Pop, Trunk

if TYPE_CHECKING:
    from jinja2 import Environment  # the centre checks trunks without it

TEMPLATES_DIR = Path(__file__).parent / "templates"

APPLICATION = "callplane"
"""Stasis application the controller registers."""
TAKEOVER_LIMIT_S = 10
"""Seconds a leg waits for a controller that holds a valid lease before it goes to the fallback."""
BOOT_WAIT_S = 4
"""For so long who calls a media server that has just started waits for a controller before the fallback."""
ALONE_LOG = "alone.log"
"""File in the directory of recordings under way, in memory, that names calls served with no controller, for the
one that comes."""
ALONE_DB = "alone.db"
"""There, FreeSWITCH's database of notes about such calls; the adapter makes lines of that file of them."""
PRIVATE_NAMES = ("withheld", "anonymous", "restricted", "private")
"""User parts with which far ends say that the number is withheld. The first is the dialplan's own word."""

_BREAKS_A_LINE = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029;\[\]{}\"\\]|\$\(")
_IPV6_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_PATH = re.compile(r"/[A-Za-z0-9._/-]*")
_AREA_CODE = re.compile(r"([1-9][0-9]{0,5})?")
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


class RenderError(ValueError):
    """A POP that cannot be rendered. ``field`` names the value at fault."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def _strings(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _strings(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _strings(item, f"{where}.{index}")


def check(pack: CountryPack, pop: Pop, engine: Engine) -> None:
    """Raises RenderError for the first value of ``pop`` that no file may hold or that contradicts the pack."""
    for where, text in _strings(pop, "pop"):
        found = _BREAKS_A_LINE.search(text)
        if found and not (where.endswith(".host") and _IPV6_HOST.fullmatch(text)):
            raise RenderError(where, f"holds {found.group()!r}, which would break a configuration line")
    if pop.country != pack.iso_alpha2:
        raise RenderError("pop.country", f"is {pop.country}, the pack is {pack.iso_alpha2}'s")
    if not _AREA_CODE.fullmatch(pop.area_code):
        raise RenderError("pop.area_code", "is not an area code without the trunk prefix")
    for name in ("prompt_dir", "recording_dir", "phone_dir", "tls_dir", "wss_tls_dir", "config_dir"):
        if not _PATH.fullmatch(getattr(pop, name) or "/"):
            raise RenderError(f"pop.{name}", "is not an absolute path of letters, digits, dots, dashes and slashes")
    if pop.overflow_number is not None:
        if not E164.fullmatch(pop.overflow_number):
            raise RenderError("pop.overflow_number", "is not E.164")
        try:
            check_did(pop.overflow_number)
        except NumberRefused as error:
            raise RenderError("pop.overflow_number", error.reason) from error
        if not pop.trunks:
            raise RenderError("pop.overflow_number", "cannot be dialled: the POP has no trunk")
    language = pop.overflow_prompt_language
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise RenderError("pop.overflow_prompt_language", "is not a language code such as de")
    for site, place in pop.emergency_sites.items():
        if not _SITE.fullmatch(site):
            raise RenderError("pop.emergency_sites", "a site is letters, digits, dots, dashes and underscores")
        if place.trunk not in {trunk.name for trunk in pop.trunks}:
            raise RenderError(f"pop.emergency_sites.{site}.trunk", "is none of the POP's trunks")
        if place.country is not None and place.country not in packs():
            raise RenderError(f"pop.emergency_sites.{site}.country", "has no country pack")
    names = [trunk.name for trunk in pop.trunks]
    if len(set(names)) != len(names):
        raise RenderError("pop.trunks", "two trunks have the same name")
    endpoints = [trunk.endpoint for trunk in pop.trunks]
    if len(set(endpoints)) != len(endpoints):
        raise RenderError("pop.trunks", "a trunk's username is another one's username or name")
    others = [trunk.name for trunk in pop.mesh]
    if len(set(others)) != len(others) or pop.pop_id in others:
        raise RenderError("pop.mesh", "names a POP twice, or this POP itself")
    if any(trunk.username is not None for trunk in pop.mesh):
        raise RenderError("pop.mesh", "has a POP with username and password: POPs are known by their addresses")
    for index, trunk in enumerate(pop.mesh):
        if trunk.transport == "tls" and trunk.encryption != "required":
            raise RenderError(f"pop.mesh.{index}.srtp", "has to be required between POPs over TLS: leave it out")
    if mesh_over_tls(pop) and pop.mesh_tls_port in (pop.tls_port, pop.sip_port):
        raise RenderError("pop.mesh_tls_port", "has to be another port than tls_port and sip_port")
    _check_timers(pack, pop)
    if engine == "asterisk":
        _check_browsers(pop)
        for name in ("ari_password", "ami_password"):
            if not getattr(pop, name):
                raise RenderError(f"pop.{name}", "is needed")
        if pop.tls_dir is None and any(trunk.transport == "tls" for trunk in (*pop.trunks, *pop.mesh)):
            raise RenderError("pop.tls_dir", "is needed: a trunk goes over TLS")
    else:
        for index, trunk in enumerate(pop.trunks):
            if trunk.transport == "tls":
                raise RenderError(f"pop.trunks.{index}.transport", "FreeSWITCH's carriers are spoken to over udp only")
        for field, reason in freeswitch.problems(pop):
            raise RenderError(field, reason)


def mesh_over_tls(pop: Pop) -> bool:
    """Whether any other POP is reached over TLS."""
    return any(trunk.transport == "tls" for trunk in pop.mesh)


def _mesh(pop: Pop) -> list[Trunk]:
    """The trunks to other POPs; those over TLS lead to the port for POPs where they name none."""
    full = []
    for trunk in pop.mesh:
        bare = trunk.host is not None and re.search(r":\d+$", trunk.host) is None
        host = f"{trunk.host}:{pop.mesh_tls_port}" if bare and trunk.transport == "tls" else trunk.host
        full.append(trunk.model_copy(update={"host": host}))
    return full


def _check_timers(pack: CountryPack, pop: Pop) -> None:
    """Together they must make sense, whichever place each comes from."""
    own = pop.timers, pack.media.sip_timers
    places = {"pop.timers": pop.timers}
    places |= {f"pop.trunks.{index}.timers": trunk.timers for index, trunk in enumerate(pop.trunks)}
    places |= {f"pop.mesh.{index}.timers": trunk.timers for index, trunk in enumerate(pop.mesh)}
    places |= {f"pop.phone_classes.{name}.timers": one.timers for name, one in pop.phone_classes.items()}
    for where, layer in places.items():
        try:
            timers(layer, *own)
        except ValueError as error:
            field, _, reason = str(error).partition(": ")
            raise RenderError(f"{where}.{field}", reason) from error


def _check_browsers(pop: Pop) -> None:
    if pop.wss_port is None:
        browsers = [name for name, one in pop.phone_classes.items() if one.webrtc]
        if browsers:
            raise RenderError(f"pop.phone_classes.{browsers[0]}.webrtc", "needs wss_port")
        return
    if pop.tls_dir is None:
        raise RenderError("pop.tls_dir", "is needed: browsers register over TLS")
    if pop.wss_port in (pop.tls_port, pop.ami_port, pop.controller_ari_port):
        raise RenderError("pop.wss_port", "is another port's, too")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Configuration, not HTML: values that could break a line are refused by check(). FreeSWITCH's is XML besides.
    return Environment(
        autoescape=lambda name: name is not None and name.startswith("freeswitch/"),  # noqa: S701
        loader=FileSystemLoader(TEMPLATES_DIR),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
        lstrip_blocks=False,
    )


def shown(pop: Pop) -> list[tuple[str, str]]:
    """Prefix and the CLI of numbers that begin so, shortest first: of those that fit, the last counts."""
    return sorted(pop.cli_by_destination.items(), key=lambda item: (len(item[0]), item[0]))


def emergency_abroad(pack: CountryPack, pop: Pop) -> dict[str, list[str]]:
    """Emergency number -> the sites from which it is one although it is none in the POP's country."""
    found: dict[str, list[str]] = {}
    for site, place in sorted(pop.emergency_sites.items()):
        there = packs().get(place.country or country_of(place.cli) or pack.iso_alpha2, pack)
        for number in there.numbering.emergency_numbers:
            if number not in pack.numbering.emergency_numbers:
                found.setdefault(number, []).append(site)
    return dict(sorted(found.items()))


def shown_to(number: str, pop: Pop) -> str | None:
    """The CLI for a dialled number in E.164, or for one that begins so; None where the POP names none."""
    fitting = [cli for prefix, cli in shown(pop) if number.startswith(prefix)]
    return fitting[-1] if fitting else None


def render(pack: CountryPack, pop: Pop, engine: Engine | None = None) -> dict[str, bytes]:
    """File name under the media server's configuration directory -> bytes, sorted by name. The POP's engine is meant
    when none is given.

    Templates get ``pop``, ``pack`` and what the dialplan needs of the numbering plan; an unknown name in a template is
    an error. Raises RenderError when the POP cannot be rendered."""
    engine = engine or pop.engine
    check(pack, pop, engine)
    environment = _environment()
    abroad = emergency_abroad(pack, pop)

    def codecs_of(trunk: Trunk) -> tuple[Codec, ...]:
        return tuple(trunk.codecs or law(pack.media.offer_order))

    def timers_of(trunk: Trunk) -> Timers:
        return timers(trunk.timers, pop.timers, pack.media.sip_timers)

    spoken = {codec for trunk in (*pop.trunks, *pop.mesh) for codec in codecs_of(trunk)}
    spoken |= {codec for one in classes(pop.phone_classes).values() for codec in one.codecs or ()}
    context: dict[str, object] = {
        "codecs_of": codecs_of,
        "timers_of": timers_of,
        "pop_timers": timers(pop.timers, pack.media.sip_timers),
        "spoken": spoken,
        "pop": pop,
        "pack": pack,
        "forms": forms(pack, pop.area_code),
        "ranges": ranges(),
        "allowed": sorted(pop.allowed_numbers),
        "endpoints": {trunk.name: trunk.endpoint for trunk in pop.trunks},
        "emergency": pack.numbering.emergency_numbers,
        "emergency_abroad": abroad,
        "of_site": lambda site: [number for number, sites in abroad.items() if site in sites],
        "shown": shown(pop),
        "shown_at_home": shown_to(f"+{pack.numbering.e164_country_code}", pop),
        "private": PRIVATE_NAMES,
        "fallback_language": pop.overflow_prompt_language or pack.languages[0],
        "application": APPLICATION,
        "takeover_s": TAKEOVER_LIMIT_S,
        "boot_wait_s": BOOT_WAIT_S,
        "alone_db": ALONE_DB,
        "alone_log": f"{pop.recording_dir}/{ALONE_LOG}",
        "self_call": self_call.made_of(pop),
        "mesh": _mesh(pop),
        "mesh_over_tls": mesh_over_tls(pop),
        "clear_sip": pop.tls_dir is None or any(t.transport == "udp" for t in (*pop.trunks, *pop.mesh)),
    }
    if engine == "freeswitch":
        context |= freeswitch.context(pack, pop)
    names = environment.list_templates(filter_func=lambda name: name.startswith(f"{engine}/") and name.endswith(".j2"))
    files: dict[str, bytes] = {}
    for name in sorted(names):
        text = environment.get_template(name).render(context)
        files[name.removeprefix(f"{engine}/").removesuffix(".j2")] = text.encode()
    return files
