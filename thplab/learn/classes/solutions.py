"""Model solutions of the exercises, read from a folder such as `tests/solutions`: no wheel has one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from thplab.errors import BadInput, shown
from thplab.learn.exercises import Variant

_PACKAGE = "solutions"
"""What the modules of such a folder call it, wherever it lies."""


def checkout_solutions() -> Path | None:
    """The folder of the checkout from which thplab runs; None if it was installed from a wheel."""
    folder = Path(__file__).parents[3] / "tests" / "solutions"
    return folder if folder.is_dir() else None


def read_solutions(folder: Path) -> Mapping[str, Callable[[Variant], str]]:
    """The model answers of a folder by the exercises' ids, each a function of a variant.

    The folder's modules are run: it must be one that you trust. Raises BadInput if it is no such folder.
    """
    return {id: answer for id, (answer, *_) in _read(folder).items()}


def read_wrong(folder: Path) -> Mapping[str, list[Callable[[Variant], str]]]:
    """The likely wrong attempts at each exercise; otherwise as read_solutions()."""
    return {id: wrong for id, (_, *wrong) in _read(folder).items()}


def _read(folder: Path) -> Mapping[str, list[Callable[[Variant], str]]]:
    """For each exercise its model answer, and the wrong attempts."""
    right = "a folder as tests/solutions of the checkout is"
    if not (folder / "__init__.py").is_file() or not (folder / "model.py").is_file():
        raise BadInput("solutions", f"{str(folder)!r} holds no model.py and __init__.py", right)
    try:
        with _package(folder):
            names = sorted(path.stem for path in folder.glob("[!_]*.py"))
            modules = {name: importlib.import_module(f"{_PACKAGE}.{name}") for name in names}
            written = modules.pop("model").written
            solved = [each for module in modules.values() for each in getattr(module, "SOLVED", {}).items()]
            answers: dict[str, list[Callable[[Variant], str]]] = {
                id: [partial(_answer, written, text) for text in (each.answer, *(wrong for wrong, _ in each.wrong))]
                for id, each in solved
            }
    except Exception as error:
        raise BadInput("solutions", f"{str(folder)!r} cannot be read ({shown(error)})", right) from None
    return answers


def _answer(written: Callable[[object, Mapping[str, Any]], str], answer: object, variant: Variant) -> str:
    return written(answer, variant.values).strip()


@contextmanager
def _package(folder: Path) -> Iterator[None]:
    """The folder is the package that its modules import from; afterwards, all is imported that was so before."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == _PACKAGE}
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    for name in before:
        del sys.modules[name]
    try:
        sys.modules[_PACKAGE] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
        sys.modules.update(before)
