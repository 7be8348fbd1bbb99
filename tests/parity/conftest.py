"""One stage for the whole suite: what it builds takes longer than what it asks."""

from collections.abc import Iterator

import pytest

from tests.parity.stage import Stage, staged


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("parity")) as stage:
        yield stage
