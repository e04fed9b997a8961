"""A POP of two hosts with a floating address: keepalived, configured by the product's own role, a media server and a
controller on each. Powered off, a host has neither programs nor network."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jinja2

from dialplans import prompts
from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop
from tests.lab.authority import Authority
from tests.lab.errors import log_tail, wait_until
from tests.lab.host import Host
from tests.lab.lab import ROOT, Lab
from tests.lab.media_server import START, MediaServer
from tests.lab.process import Process
from tests.lab.programs import start_controller, uploaded_prompts
from tests.lab.stack import Stack

ROLE = ROOT / "playbooks" / "roles" / "standby"
PAIR_PORT = 7443
FLOATING = 200
"""Last part of the floating address: hosts of a lab are numbered from the lowest."""


@dataclass(slots=True)
class Half:
    """One of the two hosts."""

    host: Host
    settings: Pop
    env: Mapping[str, str]
    server: MediaServer
    key: str
    centre: Host
    keepalived: Process
    controller: Process

    def has_address(self) -> bool:
        return self.settings.sip_address in self.host.run(["ip", "-o", "address"], rootfs=False).stdout

    def run_controller(self) -> None:
        self.controller = start_controller(self.host, self.centre, self.settings, self.key, self.env)

    def power_off(self) -> None:
        """At once: nothing is said to anybody, and nothing finished."""
        for process in (self.keepalived, self.controller, self.server.process):
            if process.poll() is None:
                process.kill()
        self.host.unplug()

    def power_on(self) -> None:
        """With what its disk has; memory is empty."""
        if self.has_address():
            self.host.run(["ip", "address", "del", f"{self.settings.sip_address}/24", "dev", "eth0"], rootfs=False)
        for kept in (Path(self.settings.recording_dir), self.host.shm / "hidden"):
            for path in kept.rglob("*") if kept.exists() else ():
                if path.is_file():
                    path.unlink()
        self.host.plug_in()
        self.server.start()
        self.keepalived = start_keepalived(self.host, self.host.state_dir / "keepalived.conf")
        self.run_controller()

    def journal(self) -> list[tuple[int, str | None, str, dict[str, Any]]]:
        """Every event, read from the file as any other program could: number, call, kind, fields."""
        path = self.host.state_dir / "controller" / "journal.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT seq, call_id, kind, data FROM events ORDER BY seq").fetchall()
        return [(seq, call_id, kind, json.loads(data)) for seq, call_id, kind, data in rows]


def start_keepalived(host: Host, config: Path) -> Process:
    run = host.state_dir / "keepalived"
    run.mkdir(exist_ok=True)
    for pid in run.glob("*.pid"):
        pid.unlink()
    files = [f"--pid={run}/main.pid", f"--vrrp_pid={run}/vrrp.pid"]
    command = ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", f"--use-file={config}", *files]
    return host.spawn(command, name="keepalived", rootfs=True)


def configure(host: Host, other: Host, floating: str) -> Path:
    """The role's own files, on this host."""
    script = host.state_dir / "callplane-well"
    script.write_bytes((ROLE / "files" / "callplane-well").read_bytes())
    script.chmod(0o755)
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        (ROLE / "templates" / "keepalived.conf.j2").read_text()
    )
    config = host.state_dir / "keepalived.conf"
    config.write_text(
        template.render(
            standby_own=host.address,
            standby_peer=other.address,
            standby_address=floating,
            standby_prefix=24,
            standby_interface="eth0",
            standby_router_id=51,
            standby_password="",
            standby_advert_s=0.25,
            standby_patience_s=4,
            standby_script=script,
            standby_script_user="root",
            standby_on_loss="",
        )
    )
    host.run(["keepalived", f"--use-file={config}", "--config-test"])
    return config


@dataclass(slots=True)
class Pair:
    """``async with Pair.start(lab) as pair``: the stack's POP is its first half."""

    stack: Stack
    floating: str
    first: Half
    second: Half

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, lab: Lab, **stack_options: Any) -> AsyncIterator[Self]:
        floating, authority = lab.slot.address(FLOATING), Authority()
        hosts: list[Host] = []
        started: list[Process] = []

        def certified(host: Host) -> None:
            authority.certify(host.state_dir / "pair-tls", host.address)

        def adapted(settings: Pop, _carrier: Host) -> Pop:
            """Before anything of the POP starts: the first host has the address then."""
            first = next(host for host in lab.hosts if host.address == settings.sip_address)
            second = lab.host(f"{first.name}-b")
            hosts.extend((first, second))
            for host in hosts:
                host.run(["sysctl", "-q", "-w", "net.ipv4.ip_nonlocal_bind=1"], rootfs=False)
                certified(host)
            started.append(start_keepalived(first, configure(first, second, floating)))
            shown = ["ip", "-o", "address"]
            wait_until(lambda: floating in first.run(shown, rootfs=False).stdout, 15, "the floating address")
            started.append(start_keepalived(second, configure(second, first, floating)))
            env.update(pair_env(first, second, floating))
            return settings.model_copy(update={"sip_address": floating})

        env: dict[str, str] = {}
        async with Stack.start(lab, adapted=adapted, more_env=env, **stack_options) as stack:
            first, second = hosts
            settings = stack.settings.model_copy(
                update={
                    "phone_dir": str(second.shm / "phones"),
                    "recording_dir": str(second.shm / "recordings"),
                }
            )
            keys = second.state_dir / "controller"
            keys.mkdir(exist_ok=True)
            (keys / "vault.keys").write_bytes((first.state_dir / "controller" / "vault.keys").read_bytes())
            (keys / "vault.keys").chmod(0o600)
            for directory in (Path(settings.recording_dir), Path(settings.phone_dir), uploaded_prompts(second)):
                directory.mkdir(exist_ok=True)
            second.bind(prompts.default_dir())
            server = START["asterisk"](second, render(load_pack("DE"), settings), lab)
            if lab.asterisk is None:
                second.run(["chown", "asterisk:asterisk", settings.recording_dir])
            of_second = {**env, **pair_env(second, first, floating)}
            common = (stack.pop_key, stack.centre)
            controller = start_controller(second, stack.centre, settings, stack.pop_key, of_second)
            halves = (
                Half(first, stack.settings, env, stack.server, *common, started[0], stack.controller),
                Half(second, settings, of_second, server, *common, started[1], controller),
            )
            pair = cls(stack, floating, *halves)
            try:
                yield pair
            finally:
                pair.stop()

    def stop(self) -> None:
        for half in (self.first, self.second):
            for process in (half.keepalived, half.controller):
                if process.poll() is None:
                    process.kill()
            if half.server.process.poll() is None:
                half.server.stop()

    def in_step(self) -> bool:
        """The standby has all that was written, and both hosts say so."""
        metric = "callplane_standby_in_step"
        script = (
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics', timeout=2).read().decode())"
        )
        for half in (self.first, self.second):
            # keepalived prefers a host that has been well for two seconds: before that the address might move back.
            weights = [line for line in half.keepalived.log_text().splitlines() if "effective priority" in line]
            if weights and not weights[-1].endswith("to 100"):
                return False
            said = half.host.run(["python3", "-c", script], rootfs=False, check=False).stdout
            if not any(line.startswith(metric) and line.endswith(" 1.0") for line in said.splitlines()):
                return False
        return True

    def logs(self) -> str:
        return "\n".join(
            log_tail(process.log_path)
            for half in (self.first, self.second)
            for process in (half.keepalived, half.controller)
        )

    def wait_in_step(self, deadline_s: float = 30) -> None:
        wait_until(self.in_step, deadline_s, "the standby to be in step", self.logs)


def pair_env(own: Host, other: Host, floating: str) -> dict[str, str]:
    return {
        "CALLPLANE_POP_PAIR_ADDRESS": floating,
        "CALLPLANE_POP_PAIR_LISTEN": f"{own.address}:{PAIR_PORT}",
        "CALLPLANE_POP_PAIR_PEER": f"{other.address}:{PAIR_PORT}",
        "CALLPLANE_POP_PAIR_TLS_DIR": str(own.state_dir / "pair-tls"),
        "CALLPLANE_POP_METRICS_PORT": "9464",
    }
