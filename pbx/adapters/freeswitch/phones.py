"""Agents' accounts as directory files that the server includes, and the registrations made with them.

A file for each account in ``phone_dir``, then ``reloadxml``: one for all accounts that came meanwhile. The files stay,
so a restarted server knows its phones without a controller.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from dialplans.endpoints import DESK, PhoneClass
from dialplans.freeswitch import codec_names
from pbx.adapters.freeswitch.errors import error_of
from pbx.adapters.freeswitch.esl import EslLink
from pbx.domain.errors import BadValue, EngineRefused
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount

DOMAIN = "callplane"
PROFILE = "callplane"
RELOAD_S = 30.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HA1 = re.compile(r"[0-9a-f]{32}")


_USER = re.compile(rf"^\s*<user>([^@<>]+)@{DOMAIN}</user>$")
_PING = re.compile(r"^\s*<ping-status>([A-Za-z]*)</ping-status>$")
"""Whole lines of the server's list: what a phone says of itself stands in lines of its own."""


def check_phone_id(phone_id: str) -> None:
    if not _ID.fullmatch(phone_id):
        raise BadValue("phone_id", "is not a SIP user name of letters, digits, dots, dashes and underscores")


def document(account: PhoneAccount, ping: bool, codecs: str = "") -> bytes:
    """The directory entry of an account. ``ping``: the server asks every 30 s whether the phone is still there.
    ``codecs``: what it may speak, in SDP's names, when that is not what all phones may."""
    check_phone_id(account.phone_id)
    if not _HA1.fullmatch(account.ha1):
        raise BadValue("ha1", "is not 32 lower case hexadecimal digits")
    # "$" begins a variable of the preprocessor, even in an attribute.
    name = re.sub(r"[^\w .,'-]", "", account.display_name)[:80]
    return (
        f"<include>\n  <user id={quoteattr(account.phone_id)}>\n    <params>\n"
        f'      <param name="a1-hash" value="{account.ha1}"/>\n    </params>\n    <variables>\n'
        f'      <variable name="effective_caller_id_name" value={quoteattr(name)}/>\n'
        f'      <variable name="force_ping" value="{str(ping).lower()}"/>\n'
        f"{_site(account.site)}"
        f"{_codecs(codecs)}"
        "    </variables>\n  </user>\n</include>\n"
    ).encode()


def _site(site: str) -> str:
    return f'      <variable name="callplane_site" value={quoteattr(site)}/>\n' if _ID.fullmatch(site) else ""


def _codecs(names: str) -> str:
    return f'      <variable name="absolute_codec_string" value={quoteattr(names)}/>\n' if names else ""


def dial_string(phone_id: str) -> str:
    check_phone_id(phone_id)
    return f"user/{phone_id}@{DOMAIN}"


class Phones:
    """``classes``: those that a phone may be of."""

    def __init__(self, link: EslLink, directory: Path, ping: bool, classes: Mapping[str, PhoneClass]) -> None:
        self._link, self._directory, self._ping, self._classes = link, directory, ping, classes
        self._codecs: dict[str, str] = {}
        self._reloading: asyncio.Future[str] | None = None
        self._next: asyncio.Task[None] | None = None

    async def put(self, account: PhoneAccount) -> None:
        kind = self._classes.get(account.phone_class or DESK)
        if kind is None:
            raise BadValue("phone_class", f"is none of this POP's: {', '.join(sorted(self._classes))}")
        codecs = codec_names(kind.codecs or ())
        path, content = self._path(account.phone_id), document(account, self._ping, codecs)
        try:
            # Small and rare; the server never reads half a file.
            temporary = path.with_suffix(".new")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(path)
        except OSError as error:
            raise EngineRefused(f"phone_dir cannot be written: {error.strerror}") from error
        self._codecs[account.phone_id] = codecs
        await self._reload()

    def codecs_of(self, phone_id: str) -> tuple[str, ...]:
        """What its class lets it speak, in SDP's names; none: what all phones may."""
        names = self._codecs.get(phone_id, "")
        return tuple(names.split(",")) if names else ()

    async def remove(self, phone_id: PhoneId) -> None:
        """Gone already is gone."""
        try:
            self._path(phone_id).unlink(missing_ok=True)
        except OSError as error:
            raise EngineRefused(f"phone_dir cannot be written: {error.strerror}") from error
        await self._reload()
        # "-ERR" when it is not registered.
        await self._link.send(f"api sofia profile {PROFILE} flush_inbound_reg {phone_id}@{DOMAIN}")

    def _path(self, phone_id: str) -> Path:
        check_phone_id(phone_id)
        return self._directory / f"{phone_id}.xml"

    async def _reload(self) -> None:
        """Returns when the server has read the files as they are now. One reload at a time, and at most one waits."""
        if self._next is None:
            self._next = asyncio.create_task(self._reload_after(self._reloading), name="freeswitch-reload")
        await asyncio.shield(self._next)

    async def _reload_after(self, before: asyncio.Future[str] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        else:
            # Whoever asks in the same turn of the loop is served by this one.
            await asyncio.sleep(0)
        self._next = None
        self._reloading = await self._link.start_job("reloadxml", RELOAD_S)
        reloading = self._reloading
        try:
            error = error_of(await reloading)
        finally:
            if self._reloading is reloading:
                self._reloading = None
        if error is not None:
            raise error

    async def reachable(self) -> set[str]:
        """Registered, and answering when they are asked. A phone that does not keeps its registration."""
        text = await self._link.api(f"sofia xmlstatus profile {PROFILE} reg")
        found, user = set(), None
        for line in text.splitlines():
            if (match := _USER.match(line)) is not None:
                user = match[1]
                found.add(user)
            elif (match := _PING.match(line)) is not None and match[1].lower() == "unreachable" and user is not None:
                found.discard(user)
        return found

    async def is_registered(self, phone_id: str) -> bool:
        """Asked when a registration has ended: another may have replaced it."""
        check_phone_id(phone_id)
        contact = await self._link.api(f"sofia_contact {PROFILE}/{phone_id}@{DOMAIN}")
        return not contact.startswith("error/")
