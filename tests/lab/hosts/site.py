"""The machines of inventory/lab, with a carrier and phones as other hosts of their lab, and Ansible to install them."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from playbooks import environment
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.hosts.machine import Machine, Site
from tests.lab.lab import ROOT, Lab

MACHINES = ("centre1", "pop1", "pop2")
FAR_ENDS = ("carrier", "bulk", "phones")
"""In the order of their addresses, which inventory/lab knows."""
RUN_S = 1800
HEADER = re.compile(r"(?:TASK|RUNNING HANDLER) \[(.*)\]")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a play."""

    status: int
    output: str
    seconds: float
    slowest: list[tuple[float, str]] = field(default_factory=list)
    """Seconds of each task and its name, the longest first."""

    def recap(self) -> dict[str, dict[str, int]]:
        """Host -> what the recap counts (`changed`, `failed` and so on)."""
        lines = self.output.rpartition("PLAY RECAP")[2].splitlines()
        found = {}
        for line in lines:
            host, colon, counts = line.partition(" : ")
            if colon:
                found[host.strip()] = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", counts)}
        return found

    def changed(self, host: str) -> list[str]:
        """The tasks that changed something on `host`, in their order."""
        task, found = "", []
        for line in self.output.splitlines():
            if header := HEADER.match(line):
                task = header[1]
            elif re.match(rf"changed: \[{host}( -> .*)?\]", line):
                found.append(task)
        return list(dict.fromkeys(found))

    def longest(self, number: int) -> str:
        """The tasks that took longest, a line each."""
        return "\n".join(f"{seconds:7.1f} s  {name}" for seconds, name in self.slowest[:number])

    def require_success(self) -> Self:
        if self.status != 0:
            raise LabError(f"the play ended with {self.status}:\n{self.output[-6000:]}")
        return self


@dataclass(slots=True)
class SiteOfLab:
    lab: Lab
    site: Site
    hosts: dict[str, Host] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def start(cls, lab: Lab, machines: Sequence[str] = MACHINES) -> Iterator[Self]:
        """The machines, booted and bare. `lab` has no host yet: the inventory knows their addresses. Those that are not
        asked for are hosts on which nothing runs."""
        if lab.hosts:
            raise LabError("inventory/lab wants the first addresses of its lab, and the lab has hosts already")
        with Site.start(lab) as site:
            for name in MACHINES:
                if name in machines:
                    site.machine(name)
                else:
                    lab.host(name)
            hosts = {name: lab.host(name) for name in FAR_ENDS}
            for machine in site.machines.values():
                machine.wait_up()
            yield cls(lab, site, hosts)

    def machine(self, name: str) -> Machine:
        return self.site.machines[name]

    @property
    def ca_dir(self) -> Path:
        """The authority of this site, on this machine."""
        return self.site.directory / "share" / "callplane" / "ca"

    def environment(self) -> dict[str, str]:
        """What Ansible needs of the environment to reach the machines, besides `playbooks.environment`'s."""
        return {
            "CALLPLANE_LAB_NET": self.lab.machine_address.rpartition(".")[0],
            "XDG_DATA_HOME": str(self.site.directory / "share"),
            "ANSIBLE_SSH_COMMON_ARGS": shlex.join(self.site.ssh_options()),
            "ANSIBLE_HOME": str(self.site.directory / "ansible"),
        }

    def play(self, name: str, *arguments: str, variables: Mapping[str, Any] | None = None, check: bool = True) -> Run:
        """Run playbooks/NAME.yml on inventory/lab. Raises `LabError` when it fails, unless `check` is false."""
        command: list[str] = [str(environment.ensure() / "ansible-playbook"), "-i", str(ROOT / "inventory/lab")]
        if variables:
            command += ["-e", json.dumps(variables)]
        run = self._run([*command, *arguments, str(environment.HERE / f"{name}.yml")])
        return run.require_success() if check else run

    def variable(self, host: str, name: str) -> Any:
        """A variable of a host as its plays have it, templates resolved. Raises `LabError`."""
        ansible = [str(environment.ensure() / "ansible"), "-i", str(ROOT / "inventory/lab"), host]
        debug = [*ansible, "-m", "ansible.builtin.debug", "-a", f"var={name}"]
        run = self._run(debug, ANSIBLE_CALLBACK_RESULT_FORMAT="json").require_success()
        return json.loads(run.output.partition(" => ")[2])[name]

    def sign_expired(self, request: str) -> str:
        """A certificate of the site's authority that ended yesterday."""
        command = ["openssl", "x509", "-req", "-CA", "ca.pem", "-CAkey", "key.pem", "-days", "-1"]
        done = subprocess.run(
            [*command, "-copy_extensions", "copy"],
            cwd=self.ca_dir,
            input=request,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"openssl x509: {done.stderr}")
        return done.stdout

    def _run(self, command: Sequence[str], **more: str) -> Run:
        """``more``: of its environment. Its output also goes to `plays.log` as it comes, each line with the seconds
        since the run began."""
        began = time.monotonic()
        lines: list[str] = []
        with (
            (self.site.directory / "plays.log").open("a", buffering=1) as log,
            subprocess.Popen(
                command,
                cwd=environment.HERE,
                env={
                    **environment.variables(),
                    **self.environment(),
                    "ANSIBLE_NOCOLOR": "1",
                    "ANSIBLE_FORCE_COLOR": "0",
                    **more,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            limit = threading.Timer(RUN_S, process.kill)
            limit.start()
            try:
                tasks: list[tuple[float, str]] = []
                for line in process.stdout:
                    at = time.monotonic() - began
                    if header := HEADER.match(line):
                        tasks.append((at, header[1]))
                    log.write(f"{at:7.1f} {line}")
                    lines.append(line)
            finally:
                limit.cancel()
        seconds = time.monotonic() - began
        ends = [*(at for at, _ in tasks), seconds][1:]
        took = [(end - at, name) for (at, name), end in zip(tasks, ends, strict=True)]
        return Run(process.returncode, "".join(lines), seconds, sorted(took, reverse=True))
