"""Roles say what they take, and their READMEs say the same; wrong variables are named before anything is changed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from inventory import centre
from orchestrator.adapters.bus.accounts import Listen, Login, permissions, render
from playbooks import bus_logins, check, docs, release

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.parents[1] for path in docs.ROLES.glob("*/meta/argument_specs.yml"))
TRUNK = {"name": "a", "addresses": ["198.18.0.2"], "host": "198.18.0.2", "transport": "tls", "srtp": "required"}
POP = {"pop_id": "de-ber-1", "country": "DE", "sip_address": "198.18.0.1", "trunks": [TRUNK]}

ALONE: dict[str, Any] = {
    "hosts": "pop1",
    "pop_ids": "de-ber-1",
    "engines": "asterisk",
    "addresses": "198.18.0.1",
    "mesh_addresses": "",
    "regions": ["eu"],
    "mesh": False,
    "clear_reasons": "",
    "codecs": ["alaw"],
    "tls_ports": 5062,
    "sip_ports": 5060,
}


def given(pop: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    pops = {"host": "pop1"} | {column: [value] for column, value in ALONE.items()}
    base = {"pop": POP if pop is None else pop, "pops": pops, "pop_settings": {}, "regions": ["eu"]}
    checked = {"certificate_names": ["pop1"], "open": [], "centre_settings": None, "centre_address": None}
    return {**base, **checked, **changes}


def test_every_role_has_a_spec() -> None:
    assert [role.name for role in ROLES] == sorted(path.name for path in docs.ROLES.iterdir() if path.is_dir())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_readme_is_current(role: Path) -> None:
    assert (role / "README.md").read_text() == docs.readme(role), "write it again: python -m playbooks.docs"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_documented(role: Path) -> None:
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    options = set(spec.get("options") or {})
    defaults = set(yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {})
    assert defaults <= options
    required = {name for name, option in (spec.get("options") or {}).items() if option.get("required")}
    assert not required & defaults
    assert options - required == defaults


def variables_in(document: object) -> set[str]:
    """Names of variables of hosts and groups in an inventory file."""
    found: set[str] = set()
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "hosts":
                found |= {name for host in value.values() for name in host or {}}
            elif key == "vars":
                found |= set(value)
            else:
                found |= variables_in(value)
    return found


@pytest.mark.parametrize("site", ["lab", "example"])
def test_inventories_set_only_what_a_role_knows(site: str) -> None:
    specs = [yaml.safe_load((role / "meta" / "argument_specs.yml").read_text()) for role in ROLES]
    known = {name for spec in specs for name in spec["argument_specs"]["main"]["options"]}
    prefixes = tuple(f"{role.name}_" for role in ROLES)
    directory = ROOT / "inventory" / site
    groups = [yaml.safe_load(path.read_text()) for path in sorted((directory / "group_vars").glob("*.yml"))]
    names = variables_in(yaml.safe_load((directory / "hosts.yml").read_text())).union(*groups)
    assert {name for name in names if name.startswith(prefixes)} <= known
    assert "hardening_ssh_networks" in names


def test_good_variables_have_no_fault() -> None:
    assert list(check.faults(given())) == []
    assert list(check.faults(given(centre_settings={}, centre_address="198.18.0.1"))) == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (given({**POP, "country": "XX"}), "dialplan_pop.country"),
        (given({**POP, "overflow_number": "112"}), "dialplan_pop.overflow_number"),
        (given({**POP, "ari_password": "x"}), "dialplan_pop.ari_password"),
        (given({**POP, "tls_minimum": "1.1"}), "dialplan_pop.tls_minimum"),
        (given({**POP, "trunks": [{**TRUNK, "srtp": "off"}]}), "dialplan_pop.trunks.0"),
        (given({**POP, "trunks": [{**TRUNK, "transport": "udp"}]}), "dialplan_pop.trunks.0"),
        (given({**POP, "mesh": [TRUNK]}), "dialplan_pop.mesh"),
        (given(regions=["EU!"]), "pbx_controller_regions"),
        (given(pop_settings={"qualify_s": -1}), "pbx_controller_settings.qualify_s"),
        (given(pop_settings={"qualfy_s": 1}), "pbx_controller_settings.qualfy_s"),
        (given(centre_settings={"session_s": 1}, centre_address="x"), "orchestrator_settings.session_s"),
    ],
)
def test_a_wrong_variable_is_named(wrong: dict[str, Any], named: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "playbooks.check"], input=json.dumps(wrong), capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.startswith(named)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"trunks": [{**TRUNK, "codecs": ["alaw", "g729"]}]}, "trunks.0.codecs.1"),
        ({"phone_classes": {"slow": {"codecs": ["ilbc"]}}}, "phone_classes.slow.codecs.0"),
        ({"phone_classes": {"page": {"webrtc": True}}}, "phone_classes.page.webrtc"),
        ({"timers": {"min_se_s": 3600}}, "timers.min_se_s"),
    ],
)
def test_wrong_codecs_classes_and_timers_are_named(wrong: dict[str, Any], named: str) -> None:
    [line] = check.faults(given({**POP, **wrong}))
    assert line.startswith(f"dialplan_pop.{named}: ")


OPEN = [{"name": "browsers", "proto": "tcp", "ports": "8443"}, {"name": "ACME", "proto": "tcp", "ports": "80-81"}]
ACME = {"server": "https://acme.example/directory", "email": "noc@pop.example", "names": ["pop.example"]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"open": []}, ["hardening_open", "hardening_open"]),
        ({"open": [rule | {"networks": ["198.18.0.2"]} for rule in OPEN]}, ["hardening_open", "hardening_open"]),
        ({"acme": ACME | {"server": "http://acme.example/"}}, ["tls_acme_server"]),
        ({"acme": ACME | {"email": ""}}, ["tls_acme_email"]),
        ({"acme": ACME | {"names": ["pop1"]}}, ["tls_acme_names"]),
        ({}, []),
    ],
)
def test_what_browsers_and_acme_need_is_asked_for(changes: dict[str, Any], named: list[str]) -> None:
    lines = list(check.faults(given({**POP, "wss_port": 8443}, **({"open": OPEN, "acme": ACME} | changes))))
    assert [line.partition(":")[0] for line in lines] == named


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({}, "freeswitch_package"),
        ({"package": "/nowhere.deb"}, "freeswitch_package"),
        ({"package": __file__, "token": "t"}, "freeswitch_package"),
        ({"token": "t", "repository": "https://x/ y main"}, "freeswitch_keyring"),
        ({"token": "t", "keyring": __file__}, "freeswitch_repository"),
        ({"token": "t", "keyring": __file__, "repository": "http://x/ y main"}, "freeswitch_repository"),
        ({"package": __file__}, None),
        ({"token": "t", "keyring": __file__, "repository": "https://x/ y main"}, None),
    ],
)
def test_where_freeswitch_comes_from_is_asked_for(source: dict[str, str], named: str | None) -> None:
    pop = {**POP, "engine": "freeswitch", "trunks": []}
    lines = list(check.faults(given(pop, freeswitch=source)))
    assert [line.partition(":")[0] for line in lines] == ([] if named is None else [named])


def test_a_login_on_a_bus_of_your_own_may_do_what_it_may_at_the_embedded_server() -> None:
    pops = [{"pop_id": "sg-sin-1", "nkey": "UB"}, {"pop_id": "de-ber-1", "nkey": "UA"}]
    users = [{"nkey": nkey, "permissions": permissions(pop)} for pop, nkey in (("de-ber-1", "UA"), ("sg-sin-1", "UB"))]
    embedded = json.loads(
        render(Listen("127.0.0.1", 4222), Path("/x"), "x", [Login("de-ber-1", "UA"), Login("sg-sin-1", "UB")])
    )
    assert bus_logins.users(pops) == users == embedded["authorization"]["users"][1:]


def test_the_lock_of_a_release_is_for_the_hosts_python() -> None:
    pinned = {
        python: re.findall(r"^numpy==\S+", release.lock_for(python, "x86_64"), re.M) for python in ("3.11", "3.14")
    }
    assert [len(found) for found in pinned.values()] == [1, 1]
    assert pinned["3.11"] != pinned["3.14"]
    assert " ; " not in release.lock_for("3.14", "x86_64")


def test_the_inventory_of_the_centre_groups_by_country() -> None:
    found = centre.inventory([{"pop_id": "b", "country": "DE"}, {"pop_id": "a", "country": "SG", "drain": "drained"}])
    assert found["pops"] == {"hosts": ["a", "b"]}
    assert found["country_sg"] == {"hosts": ["a"]}
    assert found["_meta"]["hostvars"]["a"] == {"pop_id": "a", "pop_country": "SG", "pop_drain": "drained"}
