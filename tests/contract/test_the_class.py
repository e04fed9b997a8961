"""The contract cannot be watered down: a subclass that replaces a test is refused when it is collected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.contract import MediaEngineContract

ROOT = Path(__file__).parents[2]
OVERRIDES = """
import pytest
from tests.contract.contract import MediaEngineContract

class TestLazy(MediaEngineContract):
    async def test_whisper(self):
        assert True
"""


@pytest.mark.parametrize("name", ["test_whisper", "controller", "unattended"])
def test_subclass_supplies_fixtures_only(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        type("Lazy", (MediaEngineContract,), {name: None})
    type("Diligent", (MediaEngineContract,), {"backend": None, "helper": None})


def test_promise_may_not_be_replaced_by_a_second_base() -> None:
    base = type("Base", (), {"test_whisper": None})
    with pytest.raises(TypeError, match="test_whisper"):
        type("Lazy", (base, MediaEngineContract), {})


def test_collection_fails(tmp_path: Path) -> None:
    file = tmp_path / "test_lazy.py"
    file.write_text(OVERRIDES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert "TestLazy overrides test_whisper of the contract" in done.stdout
