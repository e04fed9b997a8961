"""Builds the images with buildah: `python -m docker.build [--base IMAGE] [--python 3.13]`.

Without `--base` the base is made here, by mmdebstrap from this machine's own Debian mirror: no registry is asked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playbooks import release

HERE = Path(__file__).resolve().parent
IMAGES = {"callplane": "Containerfile.callplane", "callplane-asterisk": "Containerfile.asterisk"}
OWN_BASE = "localhost/callplane-base"


def buildah(*arguments: str, **variables: str) -> str:
    """Its output. Raises CalledProcessError."""
    command = ["buildah", *arguments]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}
    ).stdout.strip()


def make_base(suite: str) -> str:
    """An image of a bare Debian, made here."""
    from tests.lab.rootfs import KEYRING, debian_mirror

    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "base.tar"
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--keyring={KEYRING}"]
        command += ['--aptopt=Acquire::Check-Valid-Until "false"', suite, str(archive), debian_mirror()]
        subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "TMPDIR": scratch})
        container = buildah("from", "scratch")
        try:
            buildah("add", container, str(archive), "/")
            buildah("commit", container, OWN_BASE)
        finally:
            buildah("rm", container)
    return OWN_BASE


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docker.build", description=__doc__)
    parser.add_argument("--base", help="an image of Debian; without one it is made here")
    parser.add_argument("--suite", default="forky", help="Debian's suite of the base that is made here")
    parser.add_argument("--python", default="3.14", metavar="3.14", help="the base's Python: forky 3.14, trixie 3.13")
    options = parser.parse_args(argv)
    if shutil.which("buildah") is None:
        print("callplane: buildah is missing: make images installs it", file=sys.stderr)
        return 1
    try:
        base = options.base or make_base(options.suite)
        made = release.ensure(options.python, os.uname().machine)
        for name, file in IMAGES.items():
            arguments = ["build", "--isolation", "chroot", "--build-arg", f"BASE={base}", "--tag", f"localhost/{name}"]
            buildah(*arguments, "--file", str(HERE / file), str(made["directory"]))
            print(f"localhost/{name}")
    except subprocess.CalledProcessError as error:
        print(f"callplane: {error.cmd[0]} ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
