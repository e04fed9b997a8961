"""What every benchmark says about where it ran."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processor, cores, load of the last minute."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    }
    load = os.getloadavg()
    name = ", ".join(sorted(models)) or platform.machine()
    return f"{name}, {os.cpu_count()} cores, load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}, Linux {platform.release()}"


def summary_line(name: str, **values: float | int | str) -> str:
    """``bench-NAME key=value ...``: the last line of every benchmark, for programs to read."""
    shown = (f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
    return " ".join([f"bench-{name}", *shown])
