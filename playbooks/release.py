"""A release of Callplane for hosts that reach no package index: one directory with the wheel of this working tree, the
wheels of everything it needs, checked against the locked hashes, the lock, and the prompts.

`python -m playbooks.release --python 3.14 --machine x86_64` makes it if the cache has none of these very files, and
prints one JSON line: `release` (its name), `directory`, `archive`, `made` (whether it was made now).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from packaging.markers import Marker, default_environment

from dialplans import prompts
from dialplans.prompts import PromptError
from dialplans.synth import SynthesisError
from playbooks.environment import cache_dir

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / ".requirements" / "run.txt"
PARTS = ("pbx", "orchestrator", "dialplans", "migrations")
GLIBC = ("2_34", "2_28", "2_27", "2_17")
"""Debian 12 has glibc 2.36: wheels built for these run there."""


def sources() -> list[Path]:
    """The files of a release, sorted."""
    found = [path for part in PARTS for path in (ROOT / part).rglob("*") if path.is_file()]
    kept = [path for path in found if "__pycache__" not in path.parts and path.name != "README.md"]
    return sorted([*kept, ROOT / "pyproject.toml", ROOT / "README.md", LOCK, Path(__file__)])


def name_of(python: str, machine: str, label: str = "") -> str:
    """Version and a hash of all that goes into it: the same files give the same name."""
    digest = hashlib.sha256(f"{python} {machine}".encode())
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return "-".join(filter(None, (version, label, digest.hexdigest()[:12])))


def ensure(python: str, machine: str, label: str = "") -> dict[str, object]:
    """Make the release if need be. Raises CalledProcessError when pip cannot."""
    name = name_of(python, machine, label)
    directory = cache_dir() / "releases" / name
    directory.parent.mkdir(exist_ok=True)
    with (directory.parent / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        made = not (directory / "release.json").exists()
        if made:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            _fill(directory, name, python, machine)
    return {"release": name, "directory": str(directory), "archive": str(directory / "release.tar"), "made": made}


def lock_for(python: str, machine: str) -> str:
    """The lock without what other Pythons and processors need; pip itself asks the markers of its own Python."""
    target = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    environment = {name: str(value) for name, value in default_environment().items()} | target
    kept: list[str] = []
    wanted = True
    for line in LOCK.read_text().splitlines():
        if line[:1].strip():  # a requirement; its hashes are indented
            requirement, separator, rest = line.partition(" ; ")
            marker = rest.removesuffix("\\").strip()
            wanted = not separator or Marker(marker).evaluate(environment)
            line = f"{requirement} \\" if separator else line
        if wanted:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _fill(directory: Path, name: str, python: str, machine: str) -> None:
    wheels = directory / "wheels"
    wheels.mkdir()
    lock = wheels / "requirements.txt"
    lock.write_text(lock_for(python, machine))
    platforms = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{machine}")]
    download = ["download", "-qq", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    target = ["--python-version", python, "--implementation", "cp", *platforms, "-d", str(wheels)]
    _pip([*download, *target])
    with tempfile.TemporaryDirectory() as scratch:
        # A copy: setuptools leaves its build directory beside the sources.
        for path in sources():
            copy = Path(scratch) / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        _pip(["wheel", "-qq", "--no-deps", "-w", str(wheels), scratch])
    (own,) = wheels.glob("callplane-*.whl")
    own_hash = hashlib.sha256(own.read_bytes()).hexdigest()
    version = own.name.split("-")[1]
    with lock.open("a") as file:
        file.write(f"callplane=={version} \\\n    --hash=sha256:{own_hash}\n")
    prompt_dir = prompts.default_dir()
    prompts.build(prompt_dir)
    with tarfile.open(directory / "release.tar", "w") as archive:
        archive.add(wheels, "wheels")
        archive.add(prompt_dir, "prompts")
    shutil.rmtree(wheels)
    (directory / "release.json").write_text(json.dumps({"release": name, "python": python, "wheel": own_hash}) + "\n")


def _pip(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m playbooks.release", description=__doc__)
    parser.add_argument("--python", required=True, metavar="3.14", help="the hosts' Python")
    parser.add_argument("--machine", default="x86_64", choices=("x86_64", "aarch64"), help="the hosts' processor")
    parser.add_argument("--label", default="", metavar="WORD", help="a word in its name")
    options = parser.parse_args(argv)
    try:
        print(json.dumps(ensure(options.python, options.machine, options.label)))
    except subprocess.CalledProcessError as error:
        print(f"callplane: the release could not be made: pip ended with {error.returncode}", file=sys.stderr)
        return 1
    except (PromptError, SynthesisError) as error:
        print(f"callplane: the release could not be made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
