"""What all tests share."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings
from labserver import Server, lab

LONG = {f"test_{name}.py" for name in ("truth", "verify_steps", "invariants", "explore", "exercises")}
"""Files of tests, without a browser, that would keep one worker busy at the end while the others have nothing left."""

# pyproject.toml has it on the path of the tests; so it is on that of the processes that they start.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent / "light"), os.environ.get("PYTHONPATH"))))

# A machine that does other work besides is no fault.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Simulators make very many objects and hardly a cycle: looking for cycles as often as Python does took a sixth of the time.
gc.set_threshold(100_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def stays_itself() -> Iterator[None]:
    """The process of the tests becomes no other program: a command that does so is given an exec of the test's own."""

    def exec_(path: str, *_: object) -> NoReturn:
        raise AssertionError(f"a test was about to become {path}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "execv", exec_)
        patch.setattr(os, "execve", exec_)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A JupyterLab for all tests that drive one; each writes its own notebooks into the folder of the server."""
    with lab(tmp_path_factory.mktemp("served")) as server:
        yield server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest comes first, a browser before all: with several workers, each file is run by one of them (make test).
    Of a sweep the first of each n cases is run, unless all are asked for (make sweep).
    """
    items.sort(key=lambda item: (item.get_closest_marker("browser") is None, item.path.name not in LONG))
    if os.environ.get("THPLAB_SWEEP"):
        return
    number: Counter[str] = Counter()
    left_out = []
    for item in items:
        if sweep := item.get_closest_marker("sweep"):
            test = item.nodeid.partition("[")[0]
            if number[test] % sweep.args[0]:
                left_out.append(item)
            number[test] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
