"""Keeps the media server's SIP accounts equal to the agents' configuration."""

from __future__ import annotations

import asyncio
import logging

from pbx.domain.errors import EngineError, EngineGone
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import MediaEngine, PhoneAccount

log = logging.getLogger(__name__)

IN_FLIGHT = 32


class PhoneBook:
    """Wanted accounts on one side, a worker that puts them on the other. After every (re)connect all are put again:
    a media server that was restarted has forgotten them."""

    def __init__(self, engine: MediaEngine) -> None:
        self._engine = engine
        self._wanted: dict[PhoneId, PhoneAccount] = {}
        self._todo: dict[PhoneId, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.settled = asyncio.Event()
        """Set while the media server has every account as it is wanted."""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="phone-book")

    async def stop(self) -> None:
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
        for phone_id in self._wanted:
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
                batch = list(self._todo)[:IN_FLIGHT]
                for phone_id in batch:
                    del self._todo[phone_id]
                done = await asyncio.gather(*map(self._settle, batch))
                if not all(done):
                    self._todo.clear()  # not connected: put_all follows the next connection
                    break
            else:
                self.settled.set()

    async def _settle(self, phone_id: PhoneId) -> bool:
        account = self._wanted.get(phone_id)
        try:
            if account is None:
                await self._engine.remove_phone(phone_id)
            else:
                await self._engine.put_phone(account)
        except EngineGone:
            return False
        except EngineError as error:
            log.error("phone %s could not be provisioned: %s", phone_id, error)
        return True
