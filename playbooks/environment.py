"""Ansible in an environment of its own, made once from the locked requirements and kept in the cache.

`python -m playbooks.environment ansible-playbook ARGUMENTS` runs one of its commands in this directory, so that
`ansible.cfg` counts; without arguments it prints where the commands are. Ansible is never imported by Callplane.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE.parent / ".requirements" / "ansible.txt"


def cache_dir() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/callplane`, made when missing."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "callplane"
    path.mkdir(parents=True, exist_ok=True)
    return path


def ensure(name: str = "ansible", lock: Path = LOCK) -> Path:
    """The directory of the commands of an environment that has the packages of ``lock`` only. Two that ask at once make
    it once. Raises CalledProcessError."""
    stamp = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    target = cache_dir() / f"{name}-{stamp}"
    with target.with_suffix(".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (target / "made").exists():
            shutil.rmtree(target, ignore_errors=True)
            print(f"callplane: making {target} with the locked packages of {lock.name}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
            install = ["install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)]
            subprocess.run([str(target / "bin" / "pip"), *install], check=True)
            (target / "made").touch()
    return target / "bin"


def variables() -> dict[str, str]:
    """What Ansible's commands need of the environment, besides the caller's own."""
    return {
        **os.environ,
        "PATH": f"{ensure()}:{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        # The plays run this project's Python on the control machine.
        "CALLPLANE_PYTHON": sys.executable,
    }


def main(arguments: list[str]) -> int:
    try:
        commands = ensure()
        if not arguments:
            print(commands)
            return 0
        return subprocess.run([str(commands / arguments[0]), *arguments[1:]], env=variables(), check=False).returncode
    except subprocess.CalledProcessError as error:
        print(f"callplane: Ansible's environment could not be made (status {error.returncode})", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"callplane: {error.filename}: no such command of Ansible's", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
