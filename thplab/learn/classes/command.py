"""The command `thplab class`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `thplab class` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser(
        "make",
        help="make a course folder for nbgrader",
        description="Make a course folder in which nbgrader's own commands run. Each student has variants of her own.",
    )
    new.add_argument("course", metavar="COURSE", type=Path, help="a folder that does not exist yet")
    new.add_argument(
        "--set", metavar="N,N,...", required=True, help="sets of exercises, such as 03,05: an assignment each"
    )
    new.add_argument(
        "--students", metavar="FILE.csv", type=Path, required=True, help="a line of names first, among them id"
    )
    new.add_argument("--solutions", metavar="DIR", type=Path, help="model solutions (default: those of the checkout)")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Do what was asked for, and return the exit status."""
    # The exercises take a while to load, and the other commands do without.
    from thplab.learn.classes.course import make, sets_named

    tell(make(options.course, sets_named(options.set), options.students, options.solutions))
    return 0
