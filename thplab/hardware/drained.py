"""Routines at full speed: nobody looks at their steps, so none is made, and no text of one.

In a process that drains much, a routine is compiled once more from its own source, as a plain function. Every `yield`
of a step is left out, text and all; one that might be a wait stays, and is looked at; `yield from` becomes a call. So a
routine is written once, and the text of a step must have no effect. What has no source here, and the first routines of
a process, are advanced step by step.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, GeneratorType, MethodType
from typing import Any, TypeVar

from thplab.errors import Deadlock
from thplab.hardware.steps import WAIT, Cpus, Routine, Step, routine

T = TypeVar("T")
Plain = Callable[..., Any]

_MUCH = 1000
"""So many routines are drained step by step before any is compiled: that takes as long as some hundred of them."""

_SILENT = ("change", "read", "step_read")
"""What makes a step that is no wait."""

_HOME = str(Path(__file__).parent.parent)
_drained = itertools.count()
_plain: dict[CodeType, Plain | None] = {}
"""The routines that are compiled; None for what cannot be."""


def drain(routine: Routine[T]) -> T:
    """Exhaust `routine` at full speed and return what it returns.

    Raises Deadlock at the first wait: alone on the machine, what it waits for can never come.
    """
    if type(routine) is not GeneratorType or next(_drained) < _MUCH:
        return _exhausted(routine)
    result: T = _finished(routine)
    return result


def _exhausted(routine: Routine[T]) -> T:
    try:
        while True:
            _met(next(routine))
    except StopIteration as end:
        result: T = end.value
        return result


def _met(step: Step) -> None:
    if step[0] == WAIT:
        raise Deadlock(f"{step.text}: nobody else is running, so this never ends")


def _run(called: Any, /, *args: Any, **kwargs: Any) -> Any:
    """What `yield from called(...)` gives, if `called` is no routine."""
    if type(called) is MethodType:
        called, args = called.__func__, (called.__self__, *args)
    if type(called) is FunctionType and called.__code__.co_flags & inspect.CO_GENERATOR:
        plain = _compiled(called.__code__, called.__globals__)
        if plain is not None:
            return plain(*args, **kwargs)
    return _finished(called(*args, **kwargs))


def _finished(value: Any) -> Any:
    """What `yield from value` gives. Where a system has variants of routines, they are stepped: compiled are the right
    ones.
    """
    if type(value) is not GeneratorType:
        return _exhausted(iter(value))
    code, frame = value.gi_code, value.gi_frame
    names = code.co_varnames[: code.co_argcount]
    if frame is None or value.gi_suspended or code.co_kwonlyargcount or not names:
        return _exhausted(value)
    plain = _compiled(code, frame.f_globals)
    if plain is None:
        return _exhausted(value)
    local = frame.f_locals
    args = [local[name] for name in names]
    if getattr(args[0], "variants", None):
        return _exhausted(value)
    value.close()
    return plain(*args)


class _OfCpus:
    """The routines of Cpus as plain functions."""

    def __getattr__(self, name: str) -> Plain:
        right = getattr(Cpus, name)
        plain = _compiled(right.__code__, right.__globals__)
        assert plain is not None
        setattr(self, name, plain)
        return plain


_of_cpus = _OfCpus()


def _compiled(code: CodeType, names: dict[str, Any]) -> Plain | None:
    """A routine as a plain function; None if it cannot be one."""
    if code not in _plain:
        _plain[code] = _compile(code, names)
    return _plain[code]


def _compile(code: CodeType, names: dict[str, Any]) -> Plain | None:
    definition = _definitions(code.co_filename).get((code.co_name, code.co_firstlineno))
    takes_more = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if definition is None or code.co_freevars or takes_more or not code.co_filename.startswith(_HOME):
        return None
    plain = _Drained(names).visit(definition)
    plain.decorator_list, plain.returns = [], None
    plain.name = f"_drained_{code.co_name}"  # inside, its own name is the routine's
    for argument in (*plain.args.posonlyargs, *plain.args.args, *plain.args.kwonlyargs):
        argument.annotation = None
    given = [ast.arg(name) for name in ("_run", "_finished", "_met", "_of_cpus")]
    arguments = ast.arguments([], given, None, [], [], None, [])
    back: list[ast.stmt] = [plain, ast.Return(ast.Name(plain.name, ast.Load()))]
    made = ast.FunctionDef("_maker", arguments, back, [])
    module = ast.fix_missing_locations(ast.Module([made], []))
    found: dict[str, Any] = {}
    exec(compile(module, code.co_filename, "exec", dont_inherit=True), names, found)
    result: Plain = found["_maker"](_run, _finished, _met, _of_cpus)
    return result


@cache
def _definitions(filename: str) -> dict[tuple[str, int], ast.FunctionDef]:
    """The functions of a file by name and first line, as code objects have them."""
    try:
        tree = ast.parse(Path(filename).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {(f.name, min([f.lineno, *(each.lineno for each in f.decorator_list)])): f for f in functions}


class _Drained(ast.NodeTransformer):
    """Takes the steps out of a routine."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.inside = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if self.inside:
            return node  # one of its own
        self.inside = True
        self.generic_visit(node)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Yield) and all(map(_silent, _values(node.value.value))):
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_Yield(self, node: ast.Yield) -> ast.AST:
        self.generic_visit(node)
        step = node.value or ast.Constant(None)
        return ast.copy_location(ast.Call(ast.Name("_met", ast.Load()), [step], []), node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> ast.AST:
        self.generic_visit(node)
        value = node.value
        if not isinstance(value, ast.Call):
            return ast.copy_location(ast.Call(ast.Name("_finished", ast.Load()), [value], []), node)
        match value.func:
            case ast.Name(name) if type(found := self.names.get(name)) is routine and _prepare(found):
                value.func = ast.Attribute(value.func, "drained", ast.Load())
            case ast.Attribute(ast.Attribute(attr="cpus") as cpus, name):
                value.func = ast.Attribute(ast.Name("_of_cpus", ast.Load()), name, ast.Load())
                value.args.insert(0, cpus)
            case _:
                value.args.insert(0, value.func)
                value.func = ast.Name("_run", ast.Load())
        return ast.copy_location(value, node)


def _prepare(called: routine[Any, ..., Any]) -> bool:
    """See to it that a routine has the plain function `drained`, which is compiled when it is first called."""
    right = called.right

    def first(*args: Any, **kwargs: Any) -> Any:
        plain = _compiled(right.__code__, right.__globals__)
        called.drained = plain or (lambda *args, **kwargs: _exhausted(right(*args, **kwargs)))
        return called.drained(*args, **kwargs)

    if called.drained is None:
        called.drained = first
    return True


def _values(value: ast.expr | None) -> Iterator[ast.expr | None]:
    """What may be yielded."""
    if isinstance(value, ast.IfExp):
        yield from (*_values(value.body), *_values(value.orelse))
    else:
        yield value


def _silent(value: ast.expr | None) -> bool:
    """Is this a step that is no wait, whatever its text?"""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
        return False
    kind = value.args[0] if value.func.id == "Step" and value.args else None
    return value.func.id in _SILENT or (isinstance(kind, ast.Name) and kind.id in ("LOCK", "UNLOCK", "FLUSH", "CHANGE"))
