"""A conversation and a supervisor beside it."""

from __future__ import annotations

from pbx.adapters.memory.engine import Caller, Phone
from pbx.domain.cdr import Cdr
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId
from pbx.wire import messages as wire
from tests.support.world import World


class Scene:
    """Anna talks to a caller; Boss, an agent who is not ready for calls, has a phone."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def begin(self, regimes: dict[str, Regime] | None = None, boss: str = "DE") -> None:
        world = self.world
        world.config.regimes = RegimeTable(regimes or {}, Regime.PROHIBITED)
        self.anna: Phone = world.agent("anna")
        self.boss: Phone = world.agent("boss", available=False, country=boss)
        world.status("boss", "NOT_READY", "SUPERVISING")
        self.caller: Caller = await world.call()
        await world.until(lambda: self.caller.hears == "talk")
        self.call_id: CallId = world.call_id(self.caller)

    async def supervise(self, mode: str = "listen", who: str = "boss") -> str | None:
        return await self.world.command(wire.SuperviseCall(call_id=self.call_id, agent_id=who, mode=mode))

    async def attached(self, mode: str = "listen") -> None:
        assert await self.supervise(mode) is None
        await self.world.until(lambda: "SupervisionStarted" in self.world.kinds(self.caller), "the supervisor")
        await self.world.run(0.1)

    async def take_over(self) -> str | None:
        return await self.world.command(wire.TakeOverCall(call_id=self.call_id))

    async def end_supervision(self) -> str | None:
        return await self.world.command(wire.EndSupervision(call_id=self.call_id))

    def hear(self) -> tuple[set[str], set[str], set[str]]:
        """What caller, Anna and Boss hear."""
        return tuple(self.world.hears(leg) for leg in (self.caller.leg_id, self.anna.leg_id, self.boss.leg_id))  # type: ignore[return-value]

    def hang_up(self, phone: Phone) -> None:
        self.world.engine.end_leg(self.world.engine.legs[phone.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)

    async def finish(self) -> Cdr:
        """The caller hangs up; nothing may be left, and nobody may have lost a state."""
        if self.caller.cause is None:
            self.caller.hang_up()
        cdr = await self.world.ended(self.caller)
        await self.world.run(30)
        assert not self.world.engine.legs
        assert not self.world.engine.bridges
        assert self.world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE")
        assert self.world.state("anna") == ("AVAILABLE", None, "IDLE")
        return cdr
