"""The port between POPs over NATS, on the connection that the link to the centre has."""

from __future__ import annotations

import asyncio
import json
import logging

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from pbx.domain.ids import PopId
from pbx.ports.mesh import LEASE_S, MeshHandler
from pbx.wire import subjects
from pbx.wire.mesh import MeshMessage

log = logging.getLogger(__name__)

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
"""Write only if the key's last revision is this one; 0: if there is no key (nats-architecture-and-design, ADR-8)."""
ANSWER_S = LEASE_S / 2
ERRORS = (NatsError, OSError, TimeoutError)


class NatsMesh:
    """Implements ``Mesh``. What is said to all comes from each POP once; a POP does not hear itself."""

    def __init__(self, pop_id: str) -> None:
        self._pop_id = pop_id
        self._client: Client | None = None
        self._handler: MeshHandler | None = None
        self._encode = msgspec.json.Encoder().encode
        self._decode: msgspec.json.Decoder[MeshMessage] = msgspec.json.Decoder(MeshMessage)
        self._sending: set[asyncio.Task[None]] = set()

    def listen(self, handler: MeshHandler) -> None:
        self._handler = handler

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def up(self, client: Client) -> None:
        """The link has a connection; its owner calls ``down`` when it ends."""
        await client.subscribe(subjects.mesh(self._pop_id, "*"), cb=self._heard)
        await client.subscribe(subjects.mesh(subjects.EVERYBODY, "*"), cb=self._heard)
        self._client = client

    def down(self) -> None:
        self._client = None

    async def _heard(self, message: Msg) -> None:
        sender = message.subject.rpartition(".")[2]
        if self._handler is None or sender == self._pop_id:
            return
        try:
            told = self._decode.decode(message.data)
        except msgspec.MsgspecError as error:
            log.error("unreadable message of POP %s: %s", sender, error)
            return
        self._handler.mesh_message(PopId(sender), told)

    def send(self, to: PopId | None, message: MeshMessage) -> None:
        client = self._client
        if client is None:
            return
        subject = subjects.mesh(subjects.EVERYBODY if to is None else to, self._pop_id)
        task = asyncio.get_running_loop().create_task(self._send(client, subject, self._encode(message)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, client: Client, subject: str, data: bytes) -> None:
        try:
            await client.publish(subject, data)
        except ERRORS as error:
            log.debug("not sent to another POP: %s", type(error).__name__)

    async def lease(self, held: int | None) -> int | None:
        client = self._client
        if client is None:
            return None
        headers = {EXPECTED: str(held or 0)}
        try:
            answer = await client.request(
                subjects.ROUTER_LEASE, self._pop_id.encode(), timeout=ANSWER_S, headers=headers
            )
            reply = json.loads(answer.data)
        except (*ERRORS, ValueError) as error:
            log.debug("the router's lease could not be asked for: %s", type(error).__name__)
            return None
        return None if "error" in reply else int(reply["seq"])
