"""A POP in a strict region and a centre elsewhere: the centre has keyed hashes, and erases by number all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.controller.command_desk import CommandDesk
from pbx.domain.pseudonyms import Pseudonyms
from tests.integration.centre import rights_world
from tests.integration.centre.rights_world import OTHER, PERSON, Site, ended, everything, site_of
from tests.integration.centre.support import Api
from tests.integration.centre.test_erasure import TAIL, database, erase, holding


class StrictSite(Site):
    def __init__(self, directory: Path, key: str, port: int) -> None:
        super().__init__(directory, key, port)
        self.pseudonyms = Pseudonyms(self.world.journal.secret())
        desk = self.world.pop.desk
        self.world.pop.desk = CommandDesk(
            desk.calls, desk.router, desk.callbacks, desk.parking, desk.placing, desk.engine, desk.vault,
            desk.journal, desk.clock, self.pseudonyms,
        )  # fmt: skip


async def test_records_carry_keyed_hashes(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_world, "Site", StrictSite)
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        name = Pseudonyms(site.world.journal.secret()).of(PERSON)
        record = (await api.get(f"/calls/{site.own}")).body
        assert (record["cli"], record["did"], record["caller_country"]) == (name, "+49305550100", "DE")
        assert (await api.get(f"/calls/{site.led}")).body["forwards"][0]["number"] == name
        assert (await api.get(f"/voicemails/{site.voicemail}")).body["cli"] == name
        tables = await everything(database(centre))
        assert holding(tables, TAIL) == holding(tables, OTHER[1:]) == set(), "no number has left the POP"
        assert "of +" not in tables["events"], "nor what was looked up"
        assert site.journal_holds(PERSON)

        erasure_id = await erase(api)
        await ended(api, erasure_id, "done")
        assert (await api.get(f"/calls/{site.own}")).body["cli"] == "erased"
        assert (await api.get(f"/calls/{site.led}")).body["forwards"][0]["number"] == "erased"
        tables = await everything(database(centre))
        assert holding({k: v for k, v in tables.items() if k != "erasure_steps"}, name) == set()
        assert not site.journal_holds(TAIL)
        assert not site.opens(site.recording)
        assert site.opens(site.other_recording)
