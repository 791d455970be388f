"""A server for all tests of this folder."""

from collections.abc import Iterator

import pytest
from server_process import Server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests of this folder; each asks at a path of its own."""
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.kill()
