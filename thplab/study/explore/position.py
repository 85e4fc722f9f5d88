"""Where a routine stands: what the explorer may tell two runs apart by, and nothing smaller."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from types import CodeType, FunctionType, GeneratorType, MethodType
from typing import Any

from thplab.errors import ThplabError
from thplab.hardware.frames import PageFrames
from thplab.hardware.geometry import Geometry
from thplab.hardware.page_tables import PageTables
from thplab.hardware.steps import Cpus
from thplab.kernel.system import System
from thplab.machine.machine import Machine

_ONE_OF_A_KIND = {each: each.__name__ for each in (Machine, System, PageFrames, PageTables, Cpus, Geometry)}
"""Parts of a machine of which there is one: in a local they say nothing."""

_COMPARED = (int, str, bool, type(None))
"""Most locals are of these types, and compared as they are."""


class ProtocolError(ThplabError):
    """A routine keeps something across a yield that is neither a plain value nor a named object of the machine."""


def position(routine: Any) -> Hashable:
    """The position of a routine in progress: (routine, instruction, locals) for it and all that it has called.

    Raises ProtocolError if a local holds what cannot be told apart by value or name.
    """
    chain = []
    at: Any = routine
    while isinstance(at, GeneratorType):
        frame = at.gi_frame
        if frame is None:
            break  # it has ended; what it returned is in its caller's hands
        routine_name, local, called = at.gi_code.co_qualname, frame.f_locals, at.gi_yieldfrom
        names = [name for name in _names(at.gi_code) if name in local and (local[name] is not called or called is None)]
        kept = [
            local[name] if type(local[name]) in _COMPARED else _plain(routine_name, name, local[name]) for name in names
        ]
        chain.append((routine_name, frame.f_lasti, tuple(names), tuple(kept)))
        at = called
    return tuple(chain)


@cache
def _names(code: CodeType) -> tuple[str, ...]:
    """All locals of a routine, in the order of their names."""
    return tuple(sorted({*code.co_varnames, *code.co_cellvars, *code.co_freevars}))


def _plain(routine_name: str, name: str, value: Any) -> Hashable:
    """A local as a value that can be compared."""
    if type(value) in _ONE_OF_A_KIND:
        return _ONE_OF_A_KIND[type(value)]
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, tuple):
        return tuple([v if type(v) in _COMPARED else _plain(routine_name, name, v) for v in value])
    if isinstance(value, slice):
        return ("slice", value.start, value.stop)
    if isinstance(value, (range, frozenset)):
        return value
    key = getattr(value, "key", None)
    if isinstance(key, str):
        return key
    if hasattr(value, "page_split"):
        return type(value).__name__
    if isinstance(value, (FunctionType, MethodType)):
        return value.__qualname__
    if isinstance(value, GeneratorType):
        return position(value)
    raise ProtocolError(
        f"{routine_name} local {name!r} is a {type(value).__name__}: "
        "it must be a plain value or a named object of the machine"
    )
