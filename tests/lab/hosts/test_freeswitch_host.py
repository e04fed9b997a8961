"""A POP on FreeSWITCH, from a package file that the operator provides: here one packed from this machine's install, for
this test alone. Its libraries are this machine's, for the lab's machines are of another release."""

from __future__ import annotations

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
from tests.lab.hosts.machine import Machine
from tests.lab.hosts.site import Run, SiteOfLab
from tests.lab.lab import Lab
from tests.support.freeswitch import freeswitch_or_skip

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1500)]

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
        "pop_id": "de-ber-1",
        "country": "DE",
        "area_code": "30",
        "engine": "freeswitch",
        "sip_address": "{{ ansible_host }}",
    }
    return {
        "dialplan_pop": pop,
        "freeswitch_package": str(pack(program.parents[1], tmp_path_factory.mktemp("package"))),
        "tls_group": "freeswitch",
        "pbx_controller_centre_host": "",
        "pbx_controller_settings": {},
    }


@pytest.fixture(scope="module")
def site(variables: dict[str, Any]) -> Iterator[SiteOfLab]:
    """One machine of the inventory, bare."""
    with Lab.start() as lab, SiteOfLab.start(lab, machines=("pop1",)) as running:
        yield running


@pytest.fixture(scope="module")
def installed(site: SiteOfLab, variables: dict[str, Any]) -> Run:
    return site.play("site", "-l", "pop1", variables=variables)


@pytest.fixture
def pop(site: SiteOfLab, installed: Run) -> Machine:
    return site.machine("pop1")


def ready(pop: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(pop.run("curl -s http://127.0.0.1:9464/ready || true").stdout or "{}")
    return answer


def test_it_becomes_ready_and_a_second_run_changes_nothing(
    site: SiteOfLab, pop: Machine, variables: dict[str, Any]
) -> None:
    shown = pop.run("/usr/bin/python3 /usr/local/lib/callplane-esl.py sofia status").stdout
    assert "RUNNING" in shown
    parts = wait_until(lambda: ready(pop).get("parts"), 30, "the controller to answer")
    assert parts["media_server"] == "ok", parts
    again = site.play("site", "-l", "pop1", variables=variables)
    assert again.changed("pop1") == []
    assert again.recap()["pop1"]["changed"] == 0


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
