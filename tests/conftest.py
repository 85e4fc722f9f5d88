"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from labserver import Server, lab

# A machine that does other work besides is no fault.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A JupyterLab for all tests that drive one; each writes its own notebooks into the folder of the server."""
    with lab(tmp_path_factory.mktemp("served")) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What drives a browser takes longest, so it comes first: with several workers, each file is run by one of them (make test)."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
