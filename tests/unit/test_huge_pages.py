"""Huge pages: which places are asked for, and that the kernel makes them."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from pbx import huge_pages
from pbx.huge_pages import HUGE, places

MAPS = """\
559000000000-559000300000 r-xp 00000000 08:01 1 /usr/bin/python3.11
55a000100000-55a000700000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000600000 rw-p 00000000 00:00 0
7f0000800000-7f0000900000 rw-p 00000000 00:00 0
7f0001000000-7f0001400000 r--p 00000000 00:00 0
7f0002000000-7f0002400000 rw-s 00000000 00:01 5 /dev/shm/other
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0 [stack]
"""


def test_own_writable_memory_in_whole_pages() -> None:
    heap, anonymous = 0x55A000200000, 0x7F0000000000
    expected = [heap, heap + HUGE, anonymous, anonymous + HUGE, anonymous + 2 * HUGE]
    assert list(places(MAPS.splitlines())) == expected


def _huge_kib() -> int:
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("AnonHugePages:"))


def test_memory_comes_to_lie_in_huge_pages() -> None:
    with mmap.mmap(-1, 8 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"x" * (8 * HUGE))
        found = huge_pages.collapse()
        if not found:
            pytest.skip("this kernel has no MADV_COLLAPSE (Linux 6.1), or no huge pages")
        # How many it makes depends on how much memory is free in one piece; that these are there does not.
        assert _huge_kib() * 1024 >= found
        assert memory[:1] == memory[-1:] == b"x"
