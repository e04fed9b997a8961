"""Keeps the media server's SIP accounts equal to the agents' configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from pbx.domain.errors import BadValue, EngineError, EngineGone
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import MediaEngine, PhoneAccount
from pbx.wire.messages import AgentConfig

log = logging.getLogger(__name__)

IN_FLIGHT = 32
RETRY_S = 5.0


class PhoneBook:
    """Wanted accounts on one side, a worker that puts them on the other. After every (re)connect all are put again:
    a media server that was restarted may have forgotten them. What the server refused or did not answer is tried again
    every ``RETRY_S``: putting an account twice is putting it once.

    ``on_settled`` is told when nothing is pending any more."""

    def __init__(self, engine: MediaEngine, on_settled: Callable[[], None] = lambda: None) -> None:
        self._engine, self._on_settled = engine, on_settled
        self._wanted: dict[PhoneId, PhoneAccount] = {}
        self._todo: dict[PhoneId, None] = {}
        self._under_way: dict[PhoneId, None] = {}
        self.refused: dict[PhoneId, str] = {}
        """Why the media server has not taken an account; it is still pending."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.settled = asyncio.Event()
        """Set while the media server has every account as it is wanted."""

    @property
    def pending(self) -> int:
        """How many accounts the media server does not have as they are wanted: such a phone cannot register yet."""
        return len(self._todo.keys() | self._under_way.keys() | self.refused.keys())

    def errors(self, agents: Iterable[AgentConfig]) -> dict[str, str]:
        """Why accounts of these agents were refused, by the configuration key of the agent."""
        if not self.refused:
            return {}
        keys = {PhoneId(agent.phone_id): f"agent.{agent.agent_id}" for agent in agents}
        return {keys[phone_id]: why for phone_id, why in self.refused.items() if phone_id in keys}

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="phone-book")

    async def stop(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def put(self, account: PhoneAccount) -> None:
        if self._wanted.get(account.phone_id) != account:
            self._wanted[account.phone_id] = account
            self._do(account.phone_id)

    def remove(self, phone_id: PhoneId) -> None:
        if self._wanted.pop(phone_id, None) is not None:
            self._do(phone_id)

    def put_all(self) -> None:
        """The media server is there again: all that is wanted, and what could not be removed meanwhile."""
        for phone_id in [*self._wanted, *self._todo]:
            self._do(phone_id)

    def _do(self, phone_id: PhoneId) -> None:
        self._todo[phone_id] = None
        self.settled.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._todo:
                self._under_way = dict.fromkeys(list(self._todo)[:IN_FLIGHT])
                for phone_id in self._under_way:
                    del self._todo[phone_id]
                done = await asyncio.gather(*map(self._settle, self._under_way))
                gone = [phone_id for phone_id, ok in zip(self._under_way, done, strict=True) if not ok]
                self._under_way = {}
                self._todo = {**dict.fromkeys(gone), **self._todo}
                if gone:
                    break  # not connected: put_all follows the next connection
            if not self.pending:
                self.settled.set()
                self._on_settled()

    async def _settle(self, phone_id: PhoneId) -> bool:
        """False: there is no connection."""
        account = self._wanted.get(phone_id)
        self.refused.pop(phone_id, None)
        try:
            if account is None:
                await self._engine.remove_phone(phone_id)
            else:
                await self._engine.put_phone(account)
        except EngineGone:
            return False
        except EngineError as error:
            log.error("phone %s could not be provisioned, trying on: %s", phone_id, error)
            self.refused[phone_id] = str(error)
            self._again_later()
        except BadValue as error:
            log.error("phone %s cannot be provisioned: %s", phone_id, error)
            self.refused[phone_id] = str(error)
        return True

    def _again_later(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._again)

    def _again(self) -> None:
        self._retry = None
        for phone_id in list(self.refused):
            self._do(phone_id)
