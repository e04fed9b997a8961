"""``callplane drill``: faults in a lab of this machine. The lab is no part of an installed Callplane: it comes with the
source, which this command hands over to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orchestrator

NO_SOURCE, NO_ROOT = 2, 2


def drill(argv: Sequence[str]) -> int:
    """The drill's exit code: 0, or 1 when something was lost or doubled; 2: it cannot run here, and why."""
    root = Path(orchestrator.__file__).parents[1]
    if not (root / "tests" / "chaos" / "drill.py").exists():
        sys.stderr.write("callplane drill: the lab comes with Callplane's source; run it there, after 'make venv'\n")
        return NO_SOURCE
    if os.geteuid() != 0 and not {"-h", "--help"} & set(argv):
        sys.stderr.write("callplane drill: the lab makes network namespaces: run it as root\n")
        return NO_ROOT
    return subprocess.run([sys.executable, "-m", "tests.chaos.drill", *argv], cwd=root, check=False).returncode
