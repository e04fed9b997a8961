"""Trunks: what a POP's dialplan knows of its carriers. No running controller reads them: they become files of the media
server, by ``callplane render``."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from dialplans.pack import PackError, load_pack
from dialplans.render import RenderError, check
from dialplans.schema import Pop, Trunk
from orchestrator.adapters.db.models import AgentRow, PopRow, TrunkRow
from orchestrator.domain.named import TrunkChange, TrunkSpec
from orchestrator.domain.problems import Exists, NotFound, one
from orchestrator.services import pops
from orchestrator.services.secret_box import SecretBox
from orchestrator.services.unit_of_work import UnitOfWork


async def get(session: AsyncSession, pop_id: str, name: str) -> TrunkRow:
    await pops.get(session, pop_id)
    row = await session.get(TrunkRow, (pop_id, name))
    if row is None:
        raise NotFound("trunk", f"{name} of POP {pop_id}")
    return row


def _about(pop_id: str, name: str) -> str:
    return f"trunk {name} of POP {pop_id}"


def settings_of(row: TrunkRow, box: SecretBox) -> dict[str, Any]:
    """As ``dialplans.schema.Trunk`` reads it, password included."""
    password = None if row.password is None else box.open(row.password, _about(row.pop_id, row.name))
    return {"name": row.name, **row.config, "password": password}


async def of_pop(session: AsyncSession, pop_id: str, box: SecretBox) -> list[dict[str, Any]]:
    rows = await session.scalars(select(TrunkRow).where(TrunkRow.pop_id == pop_id).order_by(TrunkRow.name))
    return [settings_of(row, box) for row in rows]


async def create(unit: UnitOfWork, pop_id: str, spec: TrunkSpec, box: SecretBox) -> TrunkRow:
    pop = await pops.get(unit.session, pop_id)
    if await unit.session.get(TrunkRow, (pop_id, spec.name)) is not None:
        raise Exists("trunk", "name")
    row = TrunkRow(pop_id=pop_id, name=spec.name, created_at=unit.now)
    await _write(unit, pop, row, spec, box)
    unit.session.add(row)
    return row


async def change(unit: UnitOfWork, pop_id: str, name: str, spec: TrunkChange, box: SecretBox) -> TrunkRow:
    row = await get(unit.session, pop_id, name)
    await _write(unit, await pops.get(unit.session, pop_id), row, spec, box)
    return row


async def delete(unit: UnitOfWork, pop_id: str, name: str) -> None:
    await unit.session.delete(await get(unit.session, pop_id, name))


async def _write(unit: UnitOfWork, pop: PopRow, row: TrunkRow, spec: TrunkChange, box: SecretBox) -> None:
    about = _about(pop.pop_id, row.name)
    password = spec.password
    if password is None and row.password is not None and spec.username is not None:
        password = box.open(row.password, about)
    config = spec.model_dump(mode="json", exclude={"password", "name"})
    others = [one for one in await of_pop(unit.session, pop.pop_id, box) if one["name"] != row.name]
    _renderable(pop, others, {"name": row.name, **config, "password": password})
    if spec.username is not None:
        phone = await unit.session.scalar(select(AgentRow.agent_id).where(AgentRow.phone_id == spec.username))
        if phone is not None:
            raise Exists("phone", "username")
    row.config = config
    row.password = None if password is None else box.seal(password, about)


def _renderable(pop: PopRow, others: list[dict[str, Any]], trunk: dict[str, Any]) -> None:
    """Refuse what no file of a media server may hold, as ``callplane render`` would."""
    try:
        new = Trunk.model_validate(trunk)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        words = str(item["msg"]).removeprefix("Value error, ")
        field = ".".join(map(str, item["loc"])) or words.partition(":")[0].partition(" ")[0]
        raise one(field, words) from None
    trunks = [new, *map(Trunk.model_validate, others)]
    made_up: Any = {"sip_address": "192.0.2.1", "ari_password": "x", "ami_password": "x", "tls_dir": "/x"}
    try:
        pack = load_pack(pop.country)
    except PackError as error:
        raise one("pop_id", f"its country has no pack: {error}") from None
    try:
        check(pack, Pop(pop_id=pop.pop_id, country=pop.country, trunks=trunks, **made_up), "asterisk")
    except RenderError as error:
        field = re.sub(r"^pop\.trunks(\.0)?\.?", "", error.field)
        raise one(field or "username", error.reason) from None
