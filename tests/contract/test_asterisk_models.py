"""The committed models are those of the server in the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx.adapters.asterisk import models
from pbx.adapters.asterisk.generate import generate
from tests.contract.asterisk_pop import AsteriskPop

pytestmark = pytest.mark.lab


def test_models_are_generated_from_the_servers_definition(pop: AsteriskPop) -> None:
    directory = Path(f"{pop.host.root}/usr/share/asterisk/rest-api")
    if not directory.is_dir():
        listing = pop.host.run(["ls", "/usr/share/asterisk/rest-api"]).stdout.split()
        directory = pop.host.state_dir / "rest-api"
        directory.mkdir(exist_ok=True)
        for name in listing:
            text = pop.host.run(["cat", f"/usr/share/asterisk/rest-api/{name}"]).stdout
            (directory / name).write_text(text)
    assert generate(directory) == Path(models.__file__).read_text()
