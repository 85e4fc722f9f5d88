"""Writes the API reference, made from the docstrings, into a folder: a page for each module, which need no network."""

import pkgutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pdoc

import thplab

# Of a NamedTuple pdoc does not find the names of its own module.
warnings.filterwarnings("ignore", "Error parsing type annotation")
# It finds some modules by itself that are named below, too.
warnings.filterwarnings("ignore", "The module specification")
# Widgets are loaded when they are first asked for: ask, so that the first page has them, too.
for name in thplab.__all__:
    getattr(thplab, name)
modules = [
    found.name for found in pkgutil.walk_packages(thplab.__path__, "thplab.") if not found.name.endswith("__main__")
]
# The sources would make ten times the pages of it; they are in the repository.
pdoc.render.configure(show_source=False, footer_text=f"thplab {version('thplab')}")
pdoc.pdoc("thplab", *modules, output_directory=Path(sys.argv[1]))
