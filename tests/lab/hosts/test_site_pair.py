"""A POP of the site becomes two hosts by a change of the inventory, and goes on when one of them is cut off."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import net
from tests.lab.errors import wait_until
from tests.lab.hosts.centre import POPS, Centre
from tests.lab.hosts.machine import Machine
from tests.lab.hosts.site import SiteOfLab
from tests.lab.hosts.test_site_changes import changed
from tests.lab.lab import ROOT

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(2400)]

PAIR_PORT = 7443
READY = r"exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /ready HTTP/1.0\r\n\r\n' >&3 && timeout 2 cat <&3; true"
"""To bash; a host has no curl."""


def of_a_pair(own: str, other: str, floating: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the inventory says of one of the two hosts, as the commented lines of inventory/example have it."""
    return {
        "ansible_host": own,
        "pop_id": POPS["pop2"][0],
        "lab_more_pop": {"sip_address": floating},
        "standby_first": "pop2",
        "standby_own": own,
        "standby_peer": other,
        "standby_address": floating,
        "standby_interface": "eth0",
        "tls_addresses": [own, floating],
        "hardening_vrrp_peers": [other],
        "lab_more_open": [
            {"name": "the other host of the POP", "proto": "tcp", "ports": str(PAIR_PORT), "networks": [other]}
        ],
        "pbx_controller_settings": settings
        | {
            "pair_address": floating,
            "pair_listen": f"{own}:{PAIR_PORT}",
            "pair_peer": f"{other}:{PAIR_PORT}",
            "pair_tls_dir": "/etc/callplane/tls",
        },
    }


def inventory(site: SiteOfLab, second: Machine, floating: str) -> Path:
    """Beside inventory/lab: pop2's second host, and what is new of the first."""
    directory, first = site.site.directory / "pair", site.machine("pop2")
    (directory / "group_vars").mkdir(parents=True)
    own = yaml.safe_load((ROOT / "inventory/lab/group_vars/pops.yml").read_text())
    (directory / "group_vars" / "standbys.yml").write_text(yaml.safe_dump(own))
    # The centre's bus lets both in at their own addresses; other POPs reach this one at the floating address.
    hosts = site.variable("pop2", "lab_hosts") | {"pop2b": second.address}
    (directory / "group_vars" / "all.yml").write_text(yaml.safe_dump({"lab_hosts": hosts}))
    settings = own["pbx_controller_settings"]
    groups = {
        "pops": {
            "hosts": {
                "pop1": {"lab_peer": floating},
                "pop2": of_a_pair(first.address, second.address, floating, settings),
            }
        },
        "standbys": {"hosts": {"pop2b": of_a_pair(second.address, first.address, floating, settings)}},
    }
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    return directory


async def test_a_pop_becomes_two_hosts_and_goes_on_without_one(site: SiteOfLab, centre: Centre) -> None:
    second = site.site.machine("pop2b")
    second.wait_up()
    floating = f"{second.address.rpartition('.')[0]}.200"
    more = ("-i", str(inventory(site, second, floating)))
    await asyncio.to_thread(site.play, "site", *more)
    first = site.machine("pop2")
    site.site.machines["pair"] = Machine("pair", floating, first.pid, site.site)
    assert floating in first.run("ip -o address").stdout
    assert floating not in second.run("ip -o address").stdout
    in_step = lambda: '"standby": "ok"' in second.run(READY, check=False).stdout  # noqa: E731
    wait_until(in_step, 60, "the standby in step", lambda: _said(second) + _said(first))
    assert changed(await asyncio.to_thread(site.play, "site", *more)) == {}
    assert changed(await asyncio.to_thread(site.play, "deploy", *more)) == {}

    agent = await centre.add_agent("pop2", "pia")
    await _talks(centre, agent)
    net.ip("link", "set", "eth0", "down", netns_of=first.pid)
    try:
        wait_until(lambda: floating in second.run("ip -o address").stdout, 30, "the address at the other host")
        wait_until(
            lambda: '"media_server": "ok"' in second.run(READY, check=False).stdout, 60, "its controller at work"
        )
        taken = time.time()

        def heard(pop: dict[str, Any]) -> bool:
            return bool(pop["connected"]) and datetime.fromisoformat(pop["last_seen_at"]).timestamp() > taken

        await centre.api.until(f"pops/{POPS['pop2'][0]}", heard, 60)
        await _talks(centre, agent)
    finally:
        net.ip("link", "set", "eth0", "up", netns_of=first.pid)
    # Back again it is the standby: the address stays where it is.
    wait_until(lambda: '"standby": "ok"' in first.run(READY, check=False).stdout, 90, "the first host as the standby")
    assert floating not in first.run("ip -o address").stdout
    await _talks(centre, agent)


def _said(machine: Machine) -> str:
    """What a host says of itself."""
    log = "journalctl --no-pager --lines=25 --unit=callplane-controller --output=cat"
    return machine.run(f"({READY}); echo; {log}", check=False).stdout


async def _talks(centre: Centre, agent: Any) -> None:
    """An agent registers at the POP's one address, over TLS, and talks to a caller of the carrier's."""
    async with centre.phone("pair", agent) as phone:
        await phone.wait_registered()
        await centre.available(agent)
        async with centre.caller("pair", POPS["pop2"][1]) as caller:
            await caller.wait_for("CALL_ESTABLISHED", deadline_s=30)
            assert await phone.hears(1000, deadline_s=20)
            assert await caller.hears(600, deadline_s=20)
