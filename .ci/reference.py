"""Writes the API reference, made from the docstrings, into a folder: a page for each module, which need no network."""

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

import thplab

# Of a NamedTuple pdoc does not find the names of its own module.
warnings.filterwarnings("ignore", "Error parsing type annotation")
# Widgets are loaded when they are first asked for: ask, so that the first page has them, too.
for name in thplab.__all__:
    getattr(thplab, name)
modules = [found.name for found in pkgutil.walk_packages(thplab.__path__, "thplab.") if not found.name.endswith("__main__")]
pdoc.pdoc("thplab", *modules, output_directory=Path(sys.argv[1]))
