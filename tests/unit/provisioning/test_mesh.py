"""Trunks between POPs: both ends come to the same, and what would keep a call from arriving is named before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dialplans.schema import Trunk
from playbooks import mesh
from playbooks.mesh import Known

ROOT = Path(__file__).parents[3]
OPEN = [{"name": "POPs", "proto": "tcp", "ports": "5062", "networks": ["192.0.2.0/24"]}]


def site(**changes: dict[str, Any]) -> dict[str, Known]:
    """Three POPs, two of them with recordings of the same region."""
    rows: dict[str, dict[str, Any]] = {
        "fra1": {"pop_id": "de-fra-1", "address": "192.0.2.1"},
        "par1": {"pop_id": "fr-par-1", "address": "192.0.2.2"},
        "nyc1": {"pop_id": "us-nyc-1", "address": "192.0.2.3", "regions": ["us"]},
    }
    common: dict[str, Any] = {
        "engine": "asterisk",
        "regions": ["eu"],
        "named": None,
        "clear_reason": "",
        "codecs": ["alaw"],
        "tls_port": 5062,
        "sip_port": 5060,
    }
    return {host: Known(host=host, **{**common, **row, **changes.get(host, {})}) for host, row in rows.items()}


def shared(pops: dict[str, Known]) -> dict[str, list[str]]:
    return {host: [other.host for other in mesh.others(pop, pops)] for host, pop in pops.items()}


def test_pops_with_a_region_in_common_share_queues() -> None:
    assert shared(site()) == {"fra1": ["par1"], "par1": ["fra1"], "nyc1": []}
    both = site(nyc1={"regions": ["us", "eu"]})
    assert shared(both) == {"fra1": ["par1", "nyc1"], "par1": ["fra1", "nyc1"], "nyc1": ["fra1", "par1"]}


def test_what_one_pop_names_the_others_follow() -> None:
    assert shared(site(nyc1={"named": ["fra1"]})) == {"fra1": ["par1", "nyc1"], "par1": ["fra1"], "nyc1": ["fra1"]}
    assert shared(site(par1={"named": []})) == {"fra1": [], "par1": [], "nyc1": []}


@pytest.mark.parametrize("odd", [{"engine": "freeswitch"}, {"pop_id": ""}])
def test_a_pop_that_cannot_is_left_out(odd: dict[str, Any]) -> None:
    assert shared(site(par1=odd))["fra1"] == []


def test_a_trunk_is_encrypted_unless_there_is_a_reason() -> None:
    pops = site()
    [trunk] = mesh.trunks(pops["fra1"], pops)
    read = Trunk.model_validate(trunk)
    assert (read.name, read.addresses, read.host) == ("fr-par-1", ["192.0.2.2"], "192.0.2.2")
    assert (read.transport, read.encryption) == ("tls", "required")

    pops = site(fra1={"clear_reason": "a tunnel"}, par1={"clear_reason": "a tunnel"})
    read = Trunk.model_validate(mesh.trunks(pops["fra1"], pops)[0])
    assert (read.host, read.transport, read.encryption, read.clear_reason) == (
        "192.0.2.2:5060",
        "udp",
        "off",
        "a tunnel",
    )


def test_a_port_is_named_where_the_other_has_another() -> None:
    pops = site(par1={"tls_port": 5099, "address": "2001:db8::2"})
    assert mesh.trunks(pops["fra1"], pops)[0]["host"] == "[2001:db8::2]:5099"


def faults(pops: dict[str, Known], **changes: Any) -> list[str]:
    given: dict[str, Any] = {"trunks_of_pop": [], "names": ["fra1", "192.0.2.1"], "opened": OPEN}
    return list(mesh.faults(pops["fra1"], pops, **(given | changes)))


def test_a_good_site_has_no_fault() -> None:
    assert faults(site()) == []
    assert faults(site(), opened=[OPEN[0] | {"ports": "5000-6000", "networks": []}]) == []


@pytest.mark.parametrize(
    ("pops", "changes", "named"),
    [
        (site(fra1={"named": ["lon1"]}), {}, "dialplan_mesh: lon1 is no host"),
        (site(fra1={"named": ["fra1"]}), {}, "dialplan_mesh: names fra1 itself"),
        (
            site(fra1={"named": ["par1"]}, par1={"named": ["nyc1"]}),
            {},
            "dialplan_mesh: fra1 names par1, which does not",
        ),
        (site(par1={"clear_reason": "a tunnel"}), {}, "dialplan_mesh_clear_reason: "),
        (
            site(),
            {"trunks_of_pop": [{"name": "a", "addresses": ["192.0.2.0/28"]}]},
            "dialplan_pop.trunks.0.addresses: ",
        ),
        (site(), {"opened": []}, "hardening_open: does not let par1 (192.0.2.2) in on 5062/tcp"),
        (site(), {"opened": [OPEN[0] | {"proto": "udp"}]}, "hardening_open: "),
        (site(), {"opened": [OPEN[0] | {"ports": "5061"}]}, "hardening_open: "),
        (site(), {"opened": [OPEN[0] | {"networks": ["192.0.2.9"]}]}, "hardening_open: "),
        (site(), {"names": ["fra1"]}, "tls_addresses: 192.0.2.1 is missing"),
    ],
)
def test_what_would_keep_a_call_from_arriving_is_named(
    pops: dict[str, Known], changes: dict[str, Any], named: str
) -> None:
    assert [fault for fault in faults(pops, **changes) if fault.startswith(named)]


def test_the_program_reads_what_the_role_gives() -> None:
    given = {
        "host": "b",
        "hosts": ["a", "b"],
        "pop_ids": ["de-a-1", "de-b-1"],
        "engines": ["asterisk", "asterisk"],
        "addresses": ["192.0.2.1", "192.0.2.2"],
        "mesh_addresses": ["203.0.113.1", ""],
        "regions": [["eu"], ["eu", "us"]],
        "mesh": [False, False],
        "clear_reasons": ["", ""],
        "codecs": [["alaw"], ["ulaw"]],
        "tls_ports": [5062, 5062],
        "sip_ports": [5060, 5060],
    }
    done = subprocess.run(
        [sys.executable, "-m", "playbooks.mesh"], input=json.dumps(given), capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    [trunk] = json.loads(done.stdout)
    assert (trunk["name"], trunk["addresses"], trunk["codecs"]) == ("de-a-1", ["203.0.113.1"], ["ulaw"])
