"""The root file system: built once, kept under its recipe, never from an unsigned archive."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import rootfs
from tests.lab.errors import LabError
from tests.lab.lab import ROOT


def test_every_recipe_has_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert rootfs.path_of().parent == tmp_path / "callplane"
    assert rootfs.path_of() == rootfs.path_of()
    other = replace(rootfs.LAB, packages=(*rootfs.LAB.packages, "sl"))
    assert rootfs.path_of(other) != rootfs.path_of()


def test_what_is_there_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", None)
    rootfs.path_of().mkdir(parents=True)
    assert rootfs.ensure() == rootfs.path_of()


@pytest.mark.lab
def test_a_second_run_needs_no_network() -> None:
    built = rootfs.ensure()
    command = ["unshare", "--net", sys.executable, "-m", "tests.lab.rootfs"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=30)
    assert done.stdout.strip() == str(built)


@pytest.mark.lab
def test_an_unsigned_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    empty = tmp_path / "strangers.gpg"
    empty.write_bytes(b"")
    monkeypatch.setattr(rootfs, "KEYRING", empty)
    # A local archive with a Release file that no one signed stands for a mirror that was tampered with.
    archive = tmp_path / "archive" / "dists" / rootfs.LAB.suite
    archive.mkdir(parents=True)
    (archive / "Release").write_text("Suite: forky\nComponents: main\n")
    monkeypatch.setattr(rootfs, "debian_mirror", lambda: f"file://{tmp_path / 'archive'}")
    with pytest.raises(LabError, match="mmdebstrap ended with"):
        rootfs.ensure()
    left = sorted(path.suffix for path in (tmp_path / "callplane").iterdir())
    assert left == [".lock", ".log"]
