"""Far ends that are SIP programs of the lab: baresip phones, sipp for many callers and for refusals."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from dialplans.schema import Trunk
from pbx.domain.commands import ToAgent
from pbx.domain.errors import EngineError
from pbx.domain.ids import PhoneId
from pbx.wire.offer_header import OFFER_HEADER, offer_text
from tests.contract.backend import HERE, OTHER, Backend, Controller, Crowd, account
from tests.contract.far_end import AGENT_HZ, CALLEE, CALLER, CALLER_HZ, DID, RATE, SECOND_HZ, FarEnd, OtherPop
from tests.lab.audio import Samples
from tests.lab.authority import Authority
from tests.lab.errors import wait_until
from tests.lab.lab import ROOT, Lab
from tests.lab.phone import Account, Phone
from tests.lab.sipp import Sipp

CALLEE_PORT = 5090
"""Where the trunk of a backend's POP leads to, on the carrier's host."""
MESH_PORT = 5062
OTHER_PORT, RELAY_PORT = 5092, 5093
"""Where the other POP is called, on its host; the phone in its place has UDP on the port before."""
AUTHORITY = Authority()
"""Of the site."""
LATE_S = 0.15
"""How long after a packet its samples are in the file, at most."""


class SipFarEnd(FarEnd):
    """A baresip phone."""

    def __init__(self, phone: Phone, target: str) -> None:
        super().__init__(phone.name, phone.tone_hz)
        self.phone = phone
        self._target = target
        self._seen: list[tuple[float, int]] = []

    async def dial(self, did: str = DID) -> None:
        self._seen.clear()
        await self.phone.dial(f"sip:{did}@{self._target}")

    async def rings(self) -> None:
        await self.phone.wait_for("CALL_INCOMING")

    async def answer(self) -> None:
        await self.phone.answer()

    async def refuse(self) -> None:
        await self.phone.reject()

    async def hang_up(self) -> None:
        await (self.phone.hang_up() if self.answered else self.phone.give_up())

    async def talks(self) -> None:
        await self.phone.wait_for("CALL_ESTABLISHED")

    @property
    def answered(self) -> bool:
        return any(event.type == "CALL_ESTABLISHED" for event in self.phone.events)

    async def is_over(self, deadline_s: float = 10) -> int:
        closed = await self.phone.wait_for("CALL_CLOSED", deadline_s=deadline_s)
        status = re.match(r"([3-6]\d\d) ", closed.param)
        return int(status[1]) if status is not None and not self.answered else 0

    async def press(self, digits: str) -> None:
        await self.phone.send_digits(digits)

    def heard(self, last_s: float | None = None) -> Samples:
        # The file grows only while packets come: what it lacks of the time that has passed is silence.
        if not self.phone.recordings():
            return np.zeros(0 if last_s is None else round(last_s * RATE))
        samples, rate = self.phone.heard()
        assert rate == RATE
        now = time.monotonic()
        self._seen.append((now, len(samples)))
        if last_s is None:
            return samples
        self._seen = [(at, count) for at, count in self._seen if at >= now - 2 * last_s - 1]
        before = [count for at, count in self._seen if at <= now - last_s]
        if not before:
            return samples[:0]
        new = samples[before[-1] :]
        missing = round((last_s - LATE_S) * RATE) - len(new)
        return np.concatenate((new, np.zeros(max(0, missing + round(LATE_S * RATE))))) if missing > 0 else new


class SipOtherPop(SipFarEnd, OtherPop):
    """A baresip that speaks as a POP does: over TLS, with a certificate of the site's, and SRTP or nothing."""

    def __init__(self, phone: Phone, pop: str, relay: str, header: Path) -> None:
        super().__init__(phone, relay)
        self._pop, self._header = pop, header

    async def offer(self, to: ToAgent) -> None:
        assert to.pop_id == HERE
        self._header.write_text(f"{OFFER_HEADER}: {offer_text(to)}")
        # The INVITE goes by the relay, what follows to the POP itself.
        await self.phone.connect(f"sip:{self._pop}:{MESH_PORT};transport=tls")
        answered = re.compile(rf"{re.escape(self._pop)}:{MESH_PORT} -> .*\nSIP/2.0 ")
        await asyncio.to_thread(
            wait_until, lambda: answered.search(self.phone.process.log_text()), 10, "a connection", self.phone.log_tail
        )
        await self.phone.dial(f"sip:offer@{self._target}")

    async def asked(self) -> tuple[str, str]:
        incoming = await self.phone.wait_for("CALL_INCOMING")
        said = re.findall(rf"^{OFFER_HEADER}: (.*?)\r?$", self.phone.process.log_text(), re.M)
        return said[-1], incoming.peer.removeprefix("sip:").partition("@")[0]


def _listens(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


class SippCrowd(Crowd):
    def __init__(self, callers: Sipp, count: int) -> None:
        self._callers, self._count = callers, count

    async def finished(self) -> None:
        result = await asyncio.to_thread(self._callers.finish, 30)
        result.require_success(self._count)


class LabBackend(Backend):
    """A real media server on a lab host of its own, as the other may be running; its carrier and its phones are
    hosts as well."""

    def __init__(self, lab: Lab, host: str) -> None:
        self.lab = lab
        self.host, self.carrier, self.phones = lab.host(host), lab.host("carrier"), lab.host("phones")
        self.other = lab.host("other-pop")
        for one in (self.host, self.other):
            AUTHORITY.certify(one.state_dir / "tls", one.address)

    @property
    def mesh(self) -> Trunk:
        """The trunk to the other POP."""
        address = self.other.address
        return Trunk(name=OTHER, addresses=[address], host=f"{address}:{OTHER_PORT}", transport="tls")

    @contextlib.asynccontextmanager
    async def caller(self, name: str = "caller", hz: int = CALLER_HZ) -> AsyncIterator[FarEnd]:
        uri = f"sip:{CALLER}@{self.carrier.address}"
        async with Phone.start(self.carrier, name, uri=uri, tone_hz=hz) as phone:
            yield SipFarEnd(phone, self.host.address)

    @contextlib.asynccontextmanager
    async def phone(self, controller: Controller, phone_id: str, hz: int = AGENT_HZ) -> AsyncIterator[FarEnd]:
        await controller.engine.put_phone(account(phone_id))
        async with Phone.start(self.phones, phone_id, server=self.host.address, password="secret", tone_hz=hz) as phone:
            await phone.wait_registered()
            await controller.listener.until(lambda: controller.reachable(phone_id), f"{phone_id} reachable")
            yield SipFarEnd(phone, self.host.address)
        with contextlib.suppress(EngineError):
            await controller.engine.remove_phone(PhoneId(phone_id))

    @contextlib.asynccontextmanager
    async def callee(self) -> AsyncIterator[FarEnd]:
        uri = f"sip:{CALLEE}@{self.carrier.address}"
        async with Phone.start(self.carrier, "callee", uri=uri, tone_hz=SECOND_HZ, port=CALLEE_PORT) as phone:
            yield SipFarEnd(phone, self.host.address)

    @contextlib.asynccontextmanager
    async def refusing_callee(self, status: int) -> AsyncIterator[None]:
        with Sipp.refusing(self.carrier, status, port=CALLEE_PORT):
            yield

    @contextlib.asynccontextmanager
    async def other_pop(self, cli: str = CALLER) -> AsyncIterator[OtherPop]:
        directory = self.other.state_dir / "tls"
        account = Account(
            uri=f"sip:{cli}@{self.other.address}",
            transport="tls",
            media_encryption="srtp-mand",
            ca_file=directory / "ca.pem",
            certificate=directory / "agent.pem",
        )
        async with Phone.start(
            self.other, "other-pop", tone_hz=SECOND_HZ, account=account, port=OTHER_PORT - 1
        ) as phone:
            own, header = f"{self.other.address}:{RELAY_PORT}", self.other.state_dir / "header"
            words = [own, f"{self.host.address}:{MESH_PORT}", str(directory), str(header)]
            relay = self.other.spawn([sys.executable, "-m", "tests.lab.header_relay", *words], name="relay", cwd=ROOT)
            try:
                await asyncio.to_thread(wait_until, lambda: _listens(self.other.address, RELAY_PORT), 20, "the relay")
                yield SipOtherPop(phone, self.host.address, own, header)
            finally:
                relay.stop()

    @contextlib.asynccontextmanager
    async def crowd(self, count: int) -> AsyncIterator[Crowd]:
        callers = Sipp.callers(self.carrier, self.host.address, [(CALLER, DID)] * count, rate=count, hold_ms=None)
        try:
            yield SippCrowd(callers, count)
        finally:
            callers.stop()
