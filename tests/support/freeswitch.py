"""Tests that need FreeSWITCH are skipped where there is none: no Debian release has the package."""

from pathlib import Path

import pytest

from tests.lab.freeswitch import ABSENT, check_version, find_freeswitch


def freeswitch_or_skip() -> Path:
    """The FreeSWITCH program; skips the test, with the reason, when this machine has none.

    Raises `LabError` for one that is there and cannot be used: that is to be seen, not skipped."""
    program = find_freeswitch()
    if program is None:
        pytest.skip(ABSENT)
    check_version(program)
    return program
