"""Key files and the key store: what is refused, what is never shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pbx.adapters.vault.key_store import KeyStore, KeyStoreError
from pbx.bootstrap import KEY_STORE, build_vault
from pbx.domain.errors import BadValue
from pbx.recording import region_keys
from pbx.recording.sealed import WrongKey
from tests.support.vault_site import ONE, TWO, Site


@pytest.fixture
def eu(tmp_path: Path) -> Site:
    return Site(tmp_path / "eu")


def test_a_key_file_that_others_may_read_is_refused(eu: Site) -> None:
    for mode in (0o640, 0o604, 0o660):
        eu.settings.key_file.chmod(mode)
        with pytest.raises(BadValue, match="0600"):
            eu.again()
    eu.settings.key_file.chmod(0o600)
    link = eu.directory / "link"
    link.symlink_to(eu.settings.key_file)
    with pytest.raises(BadValue, match="cannot be opened"):
        region_keys.load(link)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text + "eu 1 " + "0" * 64 + "\n", "twice"),
        (lambda text: text + "us 1 " + "0" * 64 + "\n", "must not rest"),
        (lambda text: text.replace("eu 1", "us 1"), "must not rest"),
        (lambda text: "", "holds no key"),
        (lambda text: text + "eu 2 abc\n", "line 3"),
    ],
)
def test_a_key_file_that_does_not_fit_is_refused(eu: Site, change: Callable[[str], str], reason: str) -> None:
    path = eu.settings.key_file
    path.write_text(change(path.read_text()))
    with pytest.raises(BadValue, match=reason) as refused:
        build_vault(eu.settings)
    assert "0000" not in str(refused.value)
    assert refused.value.field == region_keys.FIELD


def test_no_key_is_shown(eu: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert eu.cli(monkeypatch, "new-key", str(eu.settings.key_file), "--region", "eu") == 0
    secrets = [line.split()[2] for line in eu.settings.key_file.read_text().splitlines() if not line.startswith("#")]
    assert len(set(secrets)) == 2
    shown = "".join(capfd.readouterr()) + repr(region_keys.load(eu.settings.key_file))
    assert all(secret not in shown and repr(bytes.fromhex(secret)) not in shown for secret in secrets)
    assert "version 2" in shown


def test_new_recordings_are_under_the_newest_key(eu: Site) -> None:
    """A running controller sees that its key file has changed."""
    eu.record(ONE)
    region_keys.add(eu.settings.key_file, "eu")
    eu.record(TWO)
    store = KeyStore(eu.directory / KEY_STORE)
    assert [store.wrapped_under("eu", version) for version in (1, 2)] == [1, 1]
    assert eu.opens(ONE)
    assert eu.opens(TWO)


def test_the_newest_key_is_not_dropped(eu: Site) -> None:
    for version in (1, 7):
        with pytest.raises(BadValue):
            region_keys.drop(eu.settings.key_file, "eu", version)
    assert region_keys.load(eu.settings.key_file).versions("eu") == (1,)


def test_a_key_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"something else" * 1000)
    with pytest.raises(KeyStoreError):
        KeyStore(tmp_path / "keys")


def test_recordings_of_minors_are_under_a_key_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same key file; whoever has the region's key alone opens them no more, the file itself is not touched."""
    site = Site(tmp_path / "pop")
    site.record(ONE)
    site.record(TWO)
    with pytest.raises(BadValue, match="eu-minors"):
        site.vault.protect(ONE)
    assert site.opens(ONE)
    before = site.file(ONE).read_bytes()
    assert site.cli(monkeypatch, "new-key", str(site.settings.key_file), "--region", "eu-minors") == 0
    for _ in range(2):
        site.vault.protect(ONE)
        assert (site.vault.is_protected(ONE), site.vault.is_protected(TWO)) == (True, False)
    assert site.opens(ONE)
    assert site.file(ONE).read_bytes() == before

    assert site.cli(monkeypatch, "new-key", str(site.settings.key_file), "--region", "eu") == 0
    assert site.cli(monkeypatch, "rewrap", "--region", "eu") == 0
    assert site.cli(monkeypatch, "new-key", str(site.settings.key_file), "--region", "eu-minors") == 0
    assert site.cli(monkeypatch, "drop-key", "--region", "eu-minors", "--version", "1") == 2, "one is under it"
    assert site.cli(monkeypatch, "rewrap", "--region", "eu-minors") == 0
    assert site.cli(monkeypatch, "drop-key", "--region", "eu-minors", "--version", "1") == 0
    again = site.again()
    assert again.opens(ONE)
    assert again.opens(TWO)

    lines = site.settings.key_file.read_text().splitlines()
    site.settings.key_file.write_text("\n".join(line for line in lines if "minors" not in line) + "\n")
    without = site.again()
    assert without.opens(TWO)
    with pytest.raises(WrongKey):
        without.opens(ONE)
    without.vault.erase(ONE)
    with pytest.raises(KeyError):
        without.opens(ONE)


def test_a_key_store_of_an_older_version_is_taken_up(tmp_path: Path) -> None:
    site = Site(tmp_path / "pop")
    site.record(ONE)
    with sqlite3.connect(tmp_path / "pop" / "keys.sqlite") as db:
        db.execute("ALTER TABLE keys DROP COLUMN key_name")
    assert site.again().opens(ONE)
