"""The Debian testing root file system in which the lab's media server and far ends run.

Built once by mmdebstrap from the mirror that this machine's own apt sources name, then kept in the cache
directory under the hash of its recipe. A second run needs no network.

`python -m tests.lab.rootfs` builds it and prints its path.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from tests.lab.errors import LabError, log_tail

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Recipe:
    """What goes into a root file system; any change makes a new one."""

    suite: str
    packages: tuple[str, ...]
    revision: int  # raise it when the build itself changes


LAB = Recipe(
    suite="forky",
    packages=(
        "asterisk",
        "baresip-core",
        "ca-certificates",
        "iproute2",
        "keepalived",
        "nats-server",
        "nftables",
        "sip-tester",
        "tcpdump",
    ),
    revision=1,
)


def cache_dir() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/callplane`, made when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "callplane"
    path.mkdir(parents=True, exist_ok=True)
    return path


def path_of(recipe: Recipe = LAB) -> Path:
    """Where the root file system of `recipe` is or will be."""
    text = json.dumps([asdict(recipe), platform.machine()], sort_keys=True)
    return cache_dir() / f"rootfs-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def ensure(recipe: Recipe = LAB, console: Console | None = None) -> Path:
    """Path of the built root file system; builds it (about half a minute) when the cache has none.

    Two sessions that ask at once build it once. Raises `LabError` with mmdebstrap's output.
    """
    target = path_of(recipe)
    if target.is_dir():
        return target
    with _locked(target.with_suffix(".lock")):
        if not target.is_dir():
            _build(recipe, target, console or Console(stderr=True))
    return target


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def debian_mirror() -> str:
    """Address of the Debian mirror in this machine's apt sources; raises `LabError` when there is none."""
    fields = "$(REPO_URI)\t$(ORIGIN)\t$(LABEL)\t$(RELEASE)"
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", fields], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split("\t") for line in listing.splitlines()]
    known = [row[0] for row in rows if row[1] == "Debian" and row[2] == "Debian"]
    # Without downloaded package lists apt knows no origin: the archive's own directory name decides then.
    likely = [row[0] for row in rows if row[0].rstrip("/").endswith("/debian")]
    for uri in known + likely:
        return uri.rstrip("/")
    raise LabError("no Debian mirror in this machine's apt sources: the lab's root file system comes from one")


def _build(recipe: Recipe, target: Path, console: Console) -> None:
    for stale in target.parent.glob(f"{target.name}.building*"):
        shutil.rmtree(stale)  # a build that was killed; the lock says that nobody is at it
    if shutil.which("mmdebstrap") is None:
        raise LabError("mmdebstrap is missing: `make test` and `make demo` install it, or apt-get install it")
    if not KEYRING.exists():
        raise LabError(f"{KEYRING} is missing: install debian-archive-keyring")
    building = target.with_name(f"{target.name}.building")
    log = target.with_suffix(".log")
    scratch = target.with_name(f"{target.name}.building-tmp")  # mmdebstrap forgets files in its TMPDIR
    scratch.mkdir()
    command = [
        # Dies with this process, so that a killed session leaves no build behind.
        *("setpriv", "--pdeathsig", "TERM", "mmdebstrap", "--mode=root", "--variant=minbase"),
        # The archive copy may be older than its Release file allows. Signatures are still checked.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--keyring={KEYRING}",
        f"--include={','.join(recipe.packages)}",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        *(recipe.suite, str(building), debian_mirror()),
    ]
    console.print(f"Building a Debian {recipe.suite} root file system in {target} (once, about 30 s)")
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            with console.status("mmdebstrap") as status:
                for line in process.stdout or ():
                    out.write(line)
                    if line.startswith("I: "):
                        status.update(f"mmdebstrap: {line[3:].strip()}")
            code = process.wait()
            out.flush()
            if code != 0:
                raise LabError(f"mmdebstrap ended with {code}\n{log_tail(log)}")
            building.rename(target)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
            for directory in (building, scratch):
                if directory.exists():
                    shutil.rmtree(directory)
    console.print(f"Built {target}")


def main() -> int:
    """Build the lab's root file system if need be and print where it is."""
    try:
        print(ensure())
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
