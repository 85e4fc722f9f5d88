"""The command `thplab`: tell a scenario as text, or open the notebooks."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from thplab.errors import BadInput
from thplab.hardware.geometry import GEOMETRIES, TINY, TOY, X86_64, geometry
from thplab.hardware.swap_device import DEVICES
from thplab.kernel import kernels
from thplab.kernel.mutants import MUTANTS, mutant
from thplab.learn.classes.command import add_arguments as add_class, run as classes
from thplab.learn.folders import lab_command, lab_environment, notebook_folder
from thplab.learn.start import home, start
from thplab.machine.trace import Setup, record
from thplab.scenario import builtin, load
from thplab.show.describe import footprint_table, kernel_text, kernels_text, narrate, policy_text, side_by_side, story, summary
from thplab.show.explained.command import add_explain, explain_command
from thplab.study.compare import compare
from thplab.study.explore import PAIRS, explore
from thplab.study.explore.pair import own_pair
from thplab.study.explore.pairs import pair_named
from thplab.study.footprint import PATTERNS, population, project
from thplab.study.live import LiveError, command
from thplab.study.verify import told, verify, verify_steps


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit status: 0; 1 if the scenario stopped early; 2 for bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    # What follows "--" is JupyterLab's, whatever it is.
    cut = words.index("--") if words[:1] == ["lab"] and "--" in words else len(words)
    options = _parser().parse_args(words[:cut])
    try:
        if options.command == "lab":
            return _lab(options.folder, words[cut + 1 :])
        if options.command == "class":
            return classes(options, _print)
        if options.command == "start":
            _print(start(options.folder, options.name).text())
            return 0
        if options.command == "export":
            return _export(options)
        if options.command == "lecture":
            return _lecture(options)
        if options.command == "verify":
            return _verify(options)
        if options.command == "steps":
            return _steps(options)
        if options.command == "compare":
            return _compare(options)
        if options.command == "kernels":
            return _kernels(options.name, options.policy)
        if options.command == "races":
            return _races(options)
        if options.command == "footprint":
            return _footprint(options)
        if options.command == "explain":
            return explain_command(options, _print)
        if options.command == "live":
            return command.live(options.scenario, options.recorded, _print)
        if options.command == "record":
            return command.record_all(options.scenarios, options.output, _print)
        return _list() if options.list else _run(options)
    except (BadInput, LiveError) as error:
        print(f"thplab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("thplab: stopped", file=sys.stderr)
        return 130
    except MemoryError:
        print("thplab: there is not enough memory for this", file=sys.stderr)
        return 1
    except OSError as error:
        _close_stdout()
        print(f"thplab: {error.strerror or error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thplab", description="Learn how Linux counts references to transparent huge pages.")
    parser.add_argument("--version", action="version", version=f"thplab {version('thplab')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="tell a scenario step by step", description="Carry out a scenario and tell what the kernel does.")
    source = run.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "scenario", nargs="?", metavar="SCENARIO", help="a built-in name, a file, FILE.jsonl:NAME or operations ('mmap A; write A 0')"
    )
    source.add_argument("--list", action="store_true", help="name the built-in scenarios")
    run.add_argument(
        "--kernel", metavar="K", default="", help=f"{', '.join(kernels.KERNELS)} (default: the mutant's own, else {kernels.DEFAULT})"
    )
    run.add_argument("--geometry", metavar="G", default=TOY.name, help=f"{', '.join(GEOMETRIES)} (default: %(default)s)")
    run.add_argument("--memory", metavar="N", type=int, help="number of page frames (default: 32 huge pages' worth)")
    run.add_argument("--swap", metavar="D", default="", help=f"a swap device: {', '.join(DEVICES)} (default: the scenario's env)")
    run.add_argument("--mutant", metavar="M", default="", help=f"a kernel that is wrong in one way: {', '.join(MUTANTS)}")
    run.add_argument("--all", action="store_true", help="show every step, also plain reads, locks and what was explained before")

    sides = commands.add_parser(
        "compare",
        help="tell a scenario on several kernels side by side",
        description="Carry out a scenario on several kernels and tell after each operation where they differ: what they return, count, "
        "show to users and spend. Exit status 0; 1 if no kernel can carry out one of the operations, or a kernel meets a bug of its own.",
    )
    sides.add_argument("scenario", metavar="SCENARIO", help="as for run")
    sides.add_argument("--kernels", metavar="K,K,...", default="", help="two or more (default: all of them)")
    sides.add_argument("--geometry", metavar="G", default=TOY.name, help=f"{', '.join(GEOMETRIES)} (default: %(default)s)")

    records = commands.add_parser(
        "kernels",
        help="tell what a kernel does, and why that is believed",
        description="Name the kernels; or tell all policies of one, each with its meaning and its evidence; or one policy in full.",
    )
    records.add_argument("name", nargs="?", metavar="K", default="", help="a kernel (default: name them all)")
    records.add_argument("policy", nargs="?", metavar="POLICY", default="", help="one policy, such as cow.splits_pmd (default: all)")

    replay = commands.add_parser(
        "verify",
        help="compare a kernel with a recording of the real one",
        description="Replay a truth file and compare every recorded field. Exit status 0: nothing disagrees; 1: something does.",
    )
    what = replay.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", metavar="FILE.jsonl", help="a truth file, such as tests/truth/linux-4.5.jsonl")
    what.add_argument(
        "--steps", metavar="FILE.jsonl", help="a recording of what is stored inside operations, such as tests/truth/steps/steps-6.12.jsonl"
    )
    what.add_argument("--live", action="store_true", help="perform the portable built-in scenarios on the running kernel")
    replay.add_argument("--kernel", metavar="K", default="", help="replay on this kernel (default: the one that each record names)")
    replay.add_argument("--mutant", metavar="M", default="", help="replay on a kernel that is wrong in one way, as for thplab run")
    replay.add_argument("--random", metavar="N", type=int, default=0, help="with --live: random scenarios of N operations in all as well")
    replay.add_argument("--seed", metavar="S", type=int, default=1, help="which random scenarios (default: %(default)s)")

    inside = commands.add_parser(
        "steps",
        help="what a real kernel did inside an operation, the simulator beside it",
        description="Show what a real kernel stored inside an operation, in order, and the simulator's own steps beside it. Exit status 0: "
        "they agree; 1: they do not.",
    )
    inside.add_argument(
        "operation",
        nargs="?",
        metavar="OPERATION",
        default="",
        help="an operation (mprotect), a recording (split_pmd_sole), or a scenario that does what was recorded"
        " (default: list what was recorded)",
    )
    inside.add_argument("--kernel", metavar="K", default="v6.18", help="a kernel whose steps were recorded (default: %(default)s)")

    live = commands.add_parser(
        "live",
        help="perform a scenario on the running kernel, the simulator beside it",
        description="Perform a scenario on this machine's memory and show, step by step, what the kernel and the simulator say. No system"
        " setting is changed. Where that is not possible, a recorded run is shown. Exit status 0: they agree; 1: they do not.",
    )
    live.add_argument("scenario", nargs="?", metavar="SCENARIO", help="as for run (default: only say what this machine allows)")
    live.add_argument("--recorded", action="store_true", help="show the recorded run even where a live one is possible")

    recorder = commands.add_parser(
        "record",
        help="record scenarios on the running kernel",
        description="Perform scenarios on this machine's memory until the runs agree, and write them as a truth file.",
    )
    recorder.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="as for run")
    recorder.add_argument("-o", "--output", metavar="FILE.jsonl", type=Path, required=True)

    races = commands.add_parser(
        "races",
        help="explore every interleaving of routines that meet",
        description="Explore every interleaving of named pairs of routines, or of operations of your own. Exit status 0: each wrong "
        "variant loses, each right one, or yours, holds; 1: one does not, or not everything was seen.",
    )
    races.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="tell the simplest failing schedule of this pair (default: a line for each); with --cpu the scenario that prepares yours",
    )
    races.add_argument("--cpu", metavar="OPS", action="append", default=[], help="what one CPU does; given two or three times")
    races.add_argument("--kernel", metavar="K", default=kernels.DEFAULT, help="with --cpu: which kernel (default: %(default)s)")
    races.add_argument("--geometry", metavar="G", default=TINY.name, help="with --cpu: which machine (default: %(default)s)")
    races.add_argument("--swap", metavar="D", default="", help=f"with --cpu: a swap device: {', '.join(DEVICES)} (default: none)")

    _add_footprint(
        commands.add_parser(
            "footprint",
            help="what kernels hold of huge pages of which parts are unmapped",
            description="Memory mapped against memory held, when parts of huge pages are unmapped: a row for each kernel.",
        )
    )

    add_explain(
        commands.add_parser(
            "explain",
            help="say what smaps, /proc/vmstat or pagemap of a real kernel are consistent with",
            description="Say in words what states are consistent with what a real kernel showed. Exit status 1 if what was given cannot be.",
        )
    )

    page = commands.add_parser(
        "export",
        help="write notebooks as HTML pages that need nothing else",
        description="Run a notebook and write it as one HTML page that steps without a kernel and without a network. For a folder, write "
        "all its notebooks as such pages, and an index page over them. Exit status 0; 1 if a cell fails, which its page then shows.",
    )
    page.add_argument("notebook", nargs="?", metavar="NOTEBOOK", type=Path, help="a notebook or a folder of them (default: the series)")
    page.add_argument(
        "-o", "--output", type=Path, help="a file (default: beside the notebook, ending in .html), or a folder (default: thplab-series)"
    )
    page.add_argument("--no-execute", action="store_true", help="run nothing: show the results that the notebooks have")

    talk = commands.add_parser(
        "lecture",
        help="write a lecture as one page of slides, or its handout",
        description="Write a lecture as one HTML page that shows its slides without Python and without a network, or what the class takes "
        "home; or tell its slides and minutes.",
        epilog="In the page PageDown and PageUp lead on and back; b blanks, s opens the notes, o shows all slides, t is light or dark, "
        "a tells an answer.",
    )
    talk.add_argument("lecture", nargs="?", metavar="LECTURE", default="", help="a name, or a file.toml (default: name them all)")
    talk.add_argument("-o", "--output", metavar="FILE.html", help="where the slides go")
    talk.add_argument("--handout", metavar="FILE.pdf", help="write the handout, two slides a page (.html: to be printed)")
    talk.add_argument("--teacher", action="store_true", help="the handout with answers and notes")

    own = commands.add_parser(
        "start",
        help="make a folder of your own with the series in it, which keeps your progress",
        description="Copy the series into a folder of your own, where your progress is kept in one file; or bring such a folder up to date: "
        "what you have changed is left as it is.",
    )
    own.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder, or one that was made so")
    own.add_argument("--name", metavar="NAME", default="", help="yours, as the page on your progress shows it")

    of_class = commands.add_parser("class", help="hand out, collect and mark exercises with nbgrader")
    of_class.description = "Exercises for a class: a course folder for nbgrader, keys, sheets, and what to look at before points are given."
    add_class(of_class)

    lab = commands.add_parser(
        "lab",
        help="open the notebooks in JupyterLab",
        description="Open the notebooks in JupyterLab, reachable from this computer only.",
        epilog="What follows -- goes to JupyterLab: thplab lab -- --port 9999",
    )
    lab.add_argument("folder", nargs="?", metavar="DIR", type=Path, help="one that thplab start made (default: thplab's own notebooks)")
    return parser


# --- run ----------------------------------------------------------------------------------------------------------------


def _list() -> int:
    width = max(map(len, builtin()))
    _print("".join(f"{name:{width}}  {load(name).about}\n" for name in builtin()))
    return 0


def _run(options: argparse.Namespace) -> int:
    kernel = options.kernel or mutant(options.mutant).kernel
    setup = Setup(kernel, options.geometry, options.memory, options.mutant, options.swap)
    trace = record(load(options.scenario), setup)
    _print(narrate(trace, options.all))
    return 1 if trace.problem else 0


def _print(text: str) -> None:
    """Write to standard output: numbers that changed bold on a terminal, characters that it cannot show as '?', quietly if nobody reads."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        text = re.sub(r"-?\d+ → -?\d+", "\033[1m\\g<0>\033[0m", text)
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()


def _close_stdout() -> None:
    """Write nothing more: the interpreter would try to flush once more at its end, and complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- compare ------------------------------------------------------------------------------------------------------------


def _compare(options: argparse.Namespace) -> int:
    comparison = compare(load(options.scenario), options.kernels.split(",") if options.kernels else (), options.geometry)
    _print(side_by_side(comparison, shutil.get_terminal_size((120, 24)).columns))
    return 1 if comparison.problem else 0


# --- kernels ------------------------------------------------------------------------------------------------------------


def _kernels(name: str, policy: str) -> int:
    width = shutil.get_terminal_size((120, 24)).columns
    record = kernels.kernel(name) if name else None
    _print(kernels_text() if record is None else policy_text(record, policy, width) if policy else kernel_text(record, width))
    return 0


# --- verify -------------------------------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace) -> int:
    if options.random < 0 or (options.random and not options.live):
        wrong = f"is {options.random}" if options.live else "is given without --live"
        raise BadInput("random", wrong, "a number of operations, and --live")
    if options.live:
        return command.verify_live(options.kernel, options.random, options.seed, _print)
    verified = verify_steps if options.steps else verify
    report = verified(options.steps or options.file, options.kernel, options.mutant)
    _print(report.text())
    return report.status


def _steps(options: argparse.Namespace) -> int:
    text, agree = told(options.operation, options.kernel, shutil.get_terminal_size((150, 24)).columns)
    _print(text)
    return 0 if agree else 1


# --- races --------------------------------------------------------------------------------------------------------------


def _races(options: argparse.Namespace) -> int:
    if options.cpu or options.name is not None:
        shape = geometry(options.geometry)
        own = own_pair(options.name or "", options.cpu, options.kernel, shape, options.swap) if options.cpu else None
        found = explore(own or pair_named(options.name))
        _print(story(found))
        return 0 if found.as_expected else 1
    wrong, states, start = [], 0, time.process_time()
    for pair in PAIRS.values():
        found = explore(pair)
        states += found.states
        wrong += [] if found.as_expected else [pair.name]
        _print(summary(found) + "\n")
    losing = sum(bool(pair.loses) for pair in PAIRS.values())
    verdict = f"not as they should be: {', '.join(wrong)}" if wrong else "all as they should be"
    _print(f"{len(PAIRS)} pairs, {losing} that lose and {len(PAIRS) - losing} that hold: {verdict}. More about one: thplab races NAME\n")
    _print(f"{states:,} states, {states / (time.process_time() - start):,.0f} in a second of CPU time\n")
    return 1 if wrong else 0


# --- footprint ----------------------------------------------------------------------------------------------------------


def _add_footprint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kernels", metavar="K", nargs="+", default=list(kernels.KERNELS), help=f"{', '.join(kernels.KERNELS)} (default: all)"
    )
    parser.add_argument("--thps", metavar="N", type=int, default=1000, help="number of huge pages (default: %(default)s)")
    parser.add_argument("--unmapped", metavar="SHARE", type=float, default=0.5, help="share of the memory (default: %(default)s)")
    parser.add_argument("--pattern", metavar="P", default="random", help=f"what is unmapped: {', '.join(PATTERNS)} (default: %(default)s)")
    parser.add_argument(
        "--pressure", metavar="SHARE", type=float, default=1.0, help="share of the queue to which the shrinker gets (default: 1)"
    )
    parser.add_argument("--sharing", metavar="N", type=int, default=1, help="processes that map each huge page (default: %(default)s)")
    parser.add_argument("--unmapping", metavar="N", type=int, help="how many of them unmap (default: all)")
    parser.add_argument("--zero-filled", metavar="SHARE", type=float, default=0.0, help="share of zero-filled pages (default: %(default)s)")
    parser.add_argument("--pinned", metavar="SHARE", type=float, default=0.0, help="share of pinned huge pages (default: %(default)s)")
    parser.add_argument(
        "--max-ptes-none", metavar="N", type=int, help="split huge pages with more zero-filled pages, where the kernel does"
    )
    parser.add_argument("--geometry", metavar="G", default=X86_64.name, help=f"{', '.join(GEOMETRIES)} (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of what is drawn at random (default: %(default)s)")


def _footprint(options: argparse.Namespace) -> int:
    question = population(
        options.thps,
        options.unmapped,
        options.pattern,
        geometry(options.geometry),
        sharing=options.sharing,
        unmapping=options.unmapping,
        zero_filled=options.zero_filled,
        pinned=options.pinned,
        seed=options.seed,
    )
    answers = [(project(name, question), project(name, question, options.pressure, options.max_ptes_none)) for name in options.kernels]
    _print(footprint_table(question, answers, options.pressure))
    return 0


# --- export -------------------------------------------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> int:
    # nbconvert takes a while to load, and the other commands do without.
    from thplab.learn.export import ExportFailed, export, export_series

    source, execute = options.notebook or notebook_folder(), not options.no_execute
    try:
        made = export_series(source, options.output or "thplab-series", execute) if source.is_dir() else export(source, options.output, execute)
        print(made)
    except ExportFailed as error:
        print(f"thplab: {error}", file=sys.stderr)
        return 1
    return 0


def _lecture(options: argparse.Namespace) -> int:
    from thplab.learn.lectures.deck import write_deck
    from thplab.learn.lectures.handout import write_handout
    from thplab.learn.lectures.reading import LECTURES, lecture, read
    from thplab.learn.printing import NoBrowser

    if not options.lecture:
        for each in map(lecture, LECTURES):
            _print(f"{each.name:{max(map(len, LECTURES))}}  {each.minutes:g} minutes  {each.title}\n")
        return 0
    talk = lecture(options.lecture) if options.lecture in LECTURES else read(Path(options.lecture))
    try:
        if options.output:
            print(write_deck(talk, options.output))
        if options.handout:
            print(write_handout(talk, options.handout, options.teacher))
    except NoBrowser as error:
        print(f"thplab: {error}", file=sys.stderr)
        return 1
    if not (options.output or options.handout):
        for part in talk.timing():
            _print(f"{part.name or 'slides'}: {', '.join(f'{id} {minutes:g}' for id, minutes in part.slides)}; over at {part.sum:g}\n")
    return 0


# --- lab ----------------------------------------------------------------------------------------------------------------


def _lab(folder: Path | None, extra: Sequence[str]) -> int:
    """Become JupyterLab where the system can do that, so that its signals and its exit status are JupyterLab's own."""
    command = lab_command(notebook_folder() if folder is None else home(folder), extra)
    if os.name == "posix":
        os.execve(command[0], command, lab_environment())
    return subprocess.call(command, env=lab_environment())
