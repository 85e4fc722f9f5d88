"""The command `thplab class`."""

from __future__ import annotations

import argparse
import sys
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

    same = actions.add_parser(
        "same",
        help="list submissions that are suspiciously alike",
        description="List answers that solve another student's variant, and answers that are alike when names and "
        "numbers are left out. It says where to look, and proves nothing.",
    )
    same.add_argument("course", metavar="COURSE", type=Path, help="the course folder")
    same.add_argument("assignment", metavar="N", help="an assignment, such as 03, with its submissions")
    same.add_argument("--solutions", metavar="DIR", type=Path, help="model solutions (default: those of the checkout)")

    key = actions.add_parser(
        "key",
        help="write the model solutions of learners' variants as a file to be handed out",
        description="Write a key: the model answers to learners' variants. Where it lies in a learner's folder, "
        'exercise("3.1").solution() plays hers.',
    )
    _add_learners(key)
    key.add_argument("--set", metavar="N,N,...", default="", help="sets of exercises, such as 03,05 (default: all)")
    key.add_argument(
        "-o", "--output", metavar="FILE.json", type=Path, default=Path("thplab-key.json"), help="default: %(default)s"
    )

    paper = actions.add_parser(
        "paper",
        help="write sets of exercises on paper",
        description="Write sets of exercises to be printed: a sheet for each learner, with room for her answers; or a "
        "teacher's sheet with all their answers, the rules, and likely wrong attempts.",
    )
    _add_learners(paper)
    paper.add_argument("--set", metavar="N,N,...", required=True, help="sets of exercises, such as 03,05")
    paper.add_argument("--teacher", action="store_true", help="the teacher's sheet; it needs the solutions")
    paper.add_argument("-o", "--output", metavar="FILE.pdf", type=Path, required=True, help="or FILE.html, to print")


def _add_learners(parser: argparse.ArgumentParser) -> None:
    """Whose variants, and where their model solutions are."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--students", metavar="FILE.csv", type=Path, help="the students, as for make")
    who.add_argument("--learner", metavar="NAME", help="one learner, by the name that her variants are drawn from")
    parser.add_argument("--solutions", metavar="DIR", type=Path, help="model solutions (default: the checkout's)")


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Do what was asked for, and return the exit status."""
    # The exercises take a while to load, and the other commands do without.
    from thplab.learn.classes.course import make, sets_named
    from thplab.learn.classes.key import make_key
    from thplab.learn.classes.marking import MarkingFailed
    from thplab.learn.classes.paper import write_sheets
    from thplab.learn.classes.same import report
    from thplab.learn.classes.solutions import checkout_solutions, read_solutions

    where = options.solutions or checkout_solutions()
    try:
        if options.action == "make":
            tell(make(options.course, sets_named(options.set), options.students, where))
        elif options.action == "same":
            tell(report(options.course, options.assignment, read_solutions(where) if where else {}))
        elif options.action == "key":
            tell(make_key(options))
        else:
            tell(write_sheets(options))
    except MarkingFailed as error:
        print(f"thplab: {error}", file=sys.stderr)
        return 1
    return 0
