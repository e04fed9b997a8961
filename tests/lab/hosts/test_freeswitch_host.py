"""A POP on FreeSWITCH, from a package file that the operator provides: here one packed from this machine's install, for
this test alone. Its libraries are this machine's, for the lab's machines are of another release."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.errors import wait_until
from tests.lab.freeswitch import find_freeswitch
from tests.lab.hosts.capture import capturing, unevenness
from tests.lab.hosts.centre import TLS_PORT, Centre
from tests.lab.hosts.machine import Machine
from tests.lab.hosts.site import Run, SiteOfLab
from tests.lab.lab import Lab
from tests.support.freeswitch import freeswitch_or_skip

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1500)]

READY = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:9464/ready", timeout=5)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit()
print(answer.read().decode())
"""
CONTROL = """Package: lab-freeswitch
Version: 1
Architecture: amd64
Maintainer: lab <lab@localhost>
Description: FreeSWITCH of the machine that the lab runs on
"""


def pack(prefix: Path, directory: Path) -> Path:
    """A package of an install, with the shared libraries it needs; its program is a script that finds them."""
    tree = directory / "tree"
    inside = tree / prefix.relative_to("/")
    for name in ("bin", "lib"):
        shutil.copytree(prefix / name, inside / name, symlinks=True, ignore=shutil.ignore_patterns("*.a", "*.la"))
    programs = [prefix / "bin" / "freeswitch", *(prefix / "lib").rglob("*.so*")]
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    needed = {Path(path) for path in re.findall(r"=> (/\S+)", told) if not path.startswith(str(prefix))}
    of_libc = re.compile(r"(ld-linux|lib(c|m|dl|pthread|rt|resolv)\.so)")
    libraries = inside / "lib" / "machine"
    libraries.mkdir()
    for path in needed:
        if not of_libc.match(path.name):
            shutil.copy(path, libraries / path.name)
    program = tree / "usr/bin/freeswitch"
    program.parent.mkdir(parents=True)
    paths = f"{prefix}/lib:{prefix}/lib/machine"
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={paths} exec {prefix}/bin/freeswitch "$@"\n')
    program.chmod(0o755)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(CONTROL)
    package = directory / "freeswitch.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(package)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tree)
    return package


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    freeswitch_or_skip()
    program = find_freeswitch()
    assert program is not None
    pop = {
        "pop_id": "{{ pop_id }}",
        "country": "DE",
        "area_code": "30",
        "engine": "freeswitch",
        "sip_address": "{{ ansible_host }}",
        "trunks": [
            {
                "name": "carrier",
                "addresses": ["{{ lab_carrier }}"],
                "host": "{{ lab_carrier }}:5060",
                "transport": "udp",
                "srtp": "off",
                "clear_reason": "carriers of FreeSWITCH have no other transport",
            }
        ],
    }
    opened = {"name": "SIP of the carrier", "proto": "udp", "ports": "5060", "networks": ["{{ lab_carrier }}"]}
    package = pack(program.parents[1], tmp_path_factory.mktemp("package"))
    return {"lab_pop": pop, "lab_more_open": [opened], "freeswitch_package": str(package)}


@pytest.fixture(scope="module")
def site(variables: dict[str, Any]) -> Iterator[SiteOfLab]:
    """A centre and one POP, bare."""
    with Lab.start() as lab, SiteOfLab.start(lab, machines=("centre1", "pop1")) as running:
        yield running


@pytest.fixture(scope="module")
def installed(site: SiteOfLab, variables: dict[str, Any]) -> Run:
    return site.play("site", "-l", "centre1,pop1", variables=variables)


@pytest.fixture
def pop(site: SiteOfLab, installed: Run) -> Machine:
    return site.machine("pop1")


def ready(pop: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(pop.run(f"python3 -c '{READY}'", check=False).stdout or "{}")
    return answer


def test_it_becomes_ready_and_a_second_run_changes_nothing(
    site: SiteOfLab, pop: Machine, variables: dict[str, Any]
) -> None:
    shown = pop.run("/usr/bin/python3 /usr/local/lib/callplane-esl.py sofia status").stdout
    assert "RUNNING" in shown
    parts = wait_until(lambda: ready(pop).get("parts"), 30, "the controller to answer")
    assert parts["media_server"] == "ok", parts
    again = site.play("site", "-l", "centre1,pop1", variables=variables)
    assert {host: again.changed(host) for host in again.recap()} == {"centre1": [], "pop1": []}


async def test_the_first_call_is_encrypted_to_the_agent(site: SiteOfLab, pop: Machine) -> None:
    """Carrier, POP, agent: to the agent SIP over TLS and SRTP."""
    async with Centre.open(site, "freeswitch") as centre:
        await centre.configure_queue(["pop1"])
        agent = await centre.add_agent("pop1", "anna")
        with capturing(site.hosts["phones"]) as access:
            async with centre.phone("pop1", agent) as phone:
                await phone.wait_registered()
                await centre.available(agent)
                async with centre.caller("pop1", clear=True) as caller:
                    await caller.wait_for("CALL_ESTABLISHED", deadline_s=30)
                    assert await phone.hears(1000, deadline_s=20)
                    assert await caller.hears(600, deadline_s=20)
                    await asyncio.to_thread(access.wait_for_sound, pop.address, 100)
        assert unevenness(access.rtp(pop.address)) < 400
        assert access.sip_in_clear() == []
        await centre.api.until("calls?limit=1", lambda page: bool(page["items"]), 30)


async def test_a_phone_without_srtp_is_refused(site: SiteOfLab, pop: Machine) -> None:
    async with Centre.open(site, "freeswitch") as centre:
        agent = await centre.add_agent("pop1", "clara")
        async with centre.phone("pop1", agent, encryption=None) as phone:
            await phone.wait_registered()
            await phone.dial(f"sip:+493055501234@{pop.address}:{TLS_PORT};transport=tls")
            assert "488" in (await phone.wait_for("CALL_CLOSED", deadline_s=20)).param


def test_its_secrets_are_its_own(pop: Machine) -> None:
    secret = pop.run("cat /etc/callplane/esl.secret").stdout.strip()
    assert len(secret) == 48
    assert pop.run("stat -c %a:%U /etc/callplane/esl.secret").stdout.strip() == "600:root"
    assert pop.run("stat -c %a /etc/callplane/freeswitch/event_socket.xml").stdout.strip() == "640"
    assert secret not in pop.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    # Nobody but the host itself reaches the event socket.
    assert "127.0.0.1:8021" in pop.run("ss -ltn").stdout


def test_a_killed_server_comes_back(pop: Machine) -> None:
    before = pop.run("systemctl show -p MainPID --value freeswitch").stdout.strip()
    pop.run("systemctl kill -s KILL freeswitch")

    def back() -> bool:
        now = pop.run("systemctl show -p MainPID --value freeswitch").stdout.strip()
        return now not in ("0", before) and ready(pop).get("parts", {}).get("media_server") == "ok"

    wait_until(back, 60, "FreeSWITCH to be back")
