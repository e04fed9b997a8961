"""Options and fixtures for all tests."""

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the lab's options."""
    parser.addoption(
        "--asterisk",
        metavar="PATH",
        default=None,
        help="use this installed Asterisk (22.5 or newer) instead of the one in the lab's root file system",
    )


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A started lab for the whole session. Tests make hosts of their own names in it."""
    with Lab.start(asterisk=request.config.getoption("--asterisk")) as started:
        yield started
