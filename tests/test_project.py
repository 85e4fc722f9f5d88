"""The rules of the house that no linter knows: which module may import which, and what may lie in the repository."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "thplab"

# Lower floors never import higher ones. A folder of the package is a floor; so is what lies beside the folders.
FLOORS = ("errors", "files foreign", "hardware", "scenario", "kernel", "machine", "study", "show", "learn", "cli __main__")
FLOOR = {module: floor for floor, modules in enumerate(FLOORS) for module in modules.split()}
HIGHEST_WITHOUT_VIEWS = FLOOR["study"]
# `import thplab` itself offers the widgets, too, and loads them late.
FLOOR["__init__"] = FLOOR["learn"]
# The lowest floor that may import a package of others; one that is not named here belongs to the views, from the next floor on.
FROM_FLOOR = {"numpy": 0} | dict.fromkeys(("IPython", "anywidget", "ipywidgets", "traitlets"), FLOOR["learn"])

VIEW_LIBRARIES = {"IPython", "anywidget", "graphviz", "ipywidgets", "matplotlib", "pygraphviz"}
MAX_LINES = 450
# Put together here, so that this file does not hold what it looks for.
WORKPLACE = re.compile(r"\.\./" + "shared" + r"|(?<![\w.~-])/(?:farm|home|root|work|Users|tmp/bash_jobs)" + "/")


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return tuple(path for name in names.split("\0") if name and (path := ROOT / name).is_file())


def files_named(*suffixes: str) -> list[Path]:
    return [path for path in project_files() if path.suffix in suffixes]


def test_importing_thplab_loads_no_view_library() -> None:
    script = f"import sys, thplab; assert thplab.__file__; print(*sorted({VIEW_LIBRARIES} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert loaded.strip() == ""


def module_name(path: Path) -> tuple[str, ...]:
    """The dotted name of a module below thplab, in parts: thplab/kernel/routines/fault.py is ("routines", "fault")."""
    return path.relative_to(PACKAGE).with_suffix("").parts


def room(parts: tuple[str, ...]) -> str:
    """The first part of a name below thplab, "__init__" for thplab itself and for what it defines."""
    is_module = bool(parts) and ((PACKAGE / parts[0]).is_dir() or (PACKAGE / f"{parts[0]}.py").is_file())
    return parts[0] if is_module else "__init__"


def imports(tree: ast.AST, module: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The full names of all that `tree` imports, wherever it does, in parts; relative imports are made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                source = (*("thplab", *module)[: -node.level], *source)
            yield from ((*source, alias.name) for alias in node.names)


def forbidden_imports(source: str, module: tuple[str, ...]) -> list[str]:
    """What `source`, the text of `module`, imports although its floor must not, in words."""
    floor = FLOOR.get(module[0], max(FLOOR.values()))  # test_every_module_has_a_floor reports a missing one
    wrong = []
    for name in imports(ast.parse(source), module):
        if name[0] == "thplab":
            needed = FLOOR.get(room(name[1:]), 0)
        elif name[0] in sys.stdlib_module_names:
            needed = 0
        else:
            needed = FROM_FLOOR.get(name[0], HIGHEST_WITHOUT_VIEWS + 1)
        if needed > floor:
            wrong.append(f"{'.'.join(('thplab', *module))} (floor {floor}) imports {'.'.join(name)} (floor {needed})")
    return wrong


def test_every_module_has_a_floor() -> None:
    rooms = {module_name(path)[0] for path in PACKAGE.rglob("*.py")}
    assert rooms <= FLOOR.keys()


def test_lower_floors_import_no_higher_ones() -> None:
    wrong = [line for path in sorted(PACKAGE.rglob("*.py")) for line in forbidden_imports(path.read_text(), module_name(path))]
    assert wrong == []


@pytest.mark.parametrize(
    "source",
    [
        "import matplotlib.pyplot",
        "from thplab.machine import trace",
        "from thplab import machine",
        "from thplab import Machine",
        "from ...machine.trace import record",
        "from ... import machine",
        "def late():\n    import graphviz",
    ],
)
def test_an_import_of_a_higher_floor_is_found(source: str) -> None:
    assert len(forbidden_imports(source, ("kernel", "schemes", "rfc"))) == 1


@pytest.mark.parametrize(
    "source", ["import numpy as np", "from thplab.errors import BadInput", "from .base import Scheme", "import re, enum"]
)
def test_an_import_of_the_same_or_a_lower_floor_is_not(source: str) -> None:
    assert forbidden_imports(source, ("kernel", "schemes", "rfc")) == []


def module_graph() -> dict[str, set[str]]:
    """For each module of the package what it imports of the package, in a function or for type checking only too."""
    files = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    known = {parts[:-1] if parts[-1] == "__init__" else parts for parts in files}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = [name[1:] for name in imports(ast.parse(path.read_text()), module) if name[0] == "thplab"]
        targets = {next(name[:n] for n in range(len(name), -1, -1) if name[:n] in known) for name in names}
        graph[".".join(module).removesuffix(".__init__")] = {".".join(target) or "__init__" for target in targets}
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that all reach each other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        coming = [start]
        while coming:
            new = graph[coming.pop()] - seen
            seen |= new
            coming += new
        return seen

    reach = {module: reached(module) for module in graph}
    return {frozenset(other for other in reach[m] if m in reach[other]) for m in graph if m in reach[m]}


def test_no_imports_go_round_in_a_circle() -> None:
    assert [sorted(circle) for circle in circles(module_graph())] == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d"}}) == {frozenset("bc"), frozenset("d")}


def test_a_class_name_means_one_thing() -> None:
    classes = Counter(
        node.name for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in classes.items() if times > 1] == []


def test_files_are_short_enough_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files_named(".py", ".js")}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_notebooks_carry_no_results() -> None:
    for path in files_named(".ipynb"):
        notebook = json.loads(path.read_text())
        assert "widgets" not in notebook["metadata"], path
        for index, cell in enumerate(notebook["cells"]):
            assert not cell.get("outputs"), f"{path}: cell {index} has outputs"
            assert cell.get("execution_count") is None, f"{path}: cell {index} has an execution count"


def test_no_file_names_a_place_on_one_machine() -> None:
    found = []
    for path in project_files():
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        lines = enumerate(data.decode(errors="replace").splitlines(), start=1)
        found += [f"{path.relative_to(ROOT)}:{number}: {line[:120]}" for number, line in lines if WORKPLACE.search(line)]
    assert found == []


def test_the_search_for_such_places_works() -> None:
    assert WORKPLACE.search("see ../" + "shared/KERNEL.md") and WORKPLACE.search('open("/' + 'root/.cache")')
    assert not WORKPLACE.search("a framework/widget, docs/work/page, ~/work/x, /proc/vmstat, https://example.org/home/")
