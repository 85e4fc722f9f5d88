"""The command line: fetch kernels, ask one for the steps of operations, or for the state between them."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from thplab.errors import BadInput, ThplabError
from thplab.scenario import Scenario
from truth.recorder import listed, packages, performed, prepare, state, steps
from truth.recorder.kernels import KERNELS, kernel_named
from truth.recorder.prepare import Guest
from truth.recorder.vm import GuestLost
from truth.recorder.work import Work, default_root

Record = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out what the command line says. 0, or 1 if something could not be recorded."""
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no guest is left behind
    try:
        work = Work(options.work.absolute())
        with work.alone():
            return int(options.run(work, options))
    except ThplabError as error:
        print(f"record.py: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="record.py", description=__doc__, epilog="README.md beside this program says more."
    )
    parser.add_argument("--work", type=Path, default=default_root(), help="the work folder (%(default)s)")
    verbs = parser.add_subparsers(required=True, metavar="fetch|steps|state")
    fetch = verbs.add_parser("fetch", help="fetch kernels from Debian's archive into the work folder")
    fetch.add_argument("kernels", nargs="+", choices=KERNELS, metavar="KERNEL")
    fetch.set_defaults(run=_fetch)
    asks = (
        ("steps", _steps, "what is stored inside the last operation, in order"),
        ("state", _state, "what there is after each operation"),
    )
    for name, run, what in asks:
        verb = verbs.add_parser(name, help=what)
        verb.set_defaults(run=run)
        verb.add_argument("kernel", choices=KERNELS, metavar="KERNEL", help=", ".join(KERNELS))
        source = verb.add_mutually_exclusive_group()
        source.add_argument(
            "--scenario", metavar="TEXT", help='the operations: "mmap A; fill A 0 1thp; mprotect A 8 1 r"'
        )
        source.add_argument(
            "--scenarios", type=Path, metavar="FILE", help="a file of scenarios, or (.jsonl) of recordings"
        )
        verb.add_argument("--op", metavar="TEXT", help="one more operation, behind those of --scenario")
        verb.add_argument(
            "--name",
            default=[],
            action="append",
            metavar="PREFIX",
            help="only those whose names begin so; may be repeated",
        )
        verb.add_argument(
            "-o", "--output", type=Path, metavar="FILE", help="write the recordings there, too, one a line"
        )
        if name == "state":
            verb.add_argument(
                "--repeats", type=int, default=2, help="how often each scenario is carried out (%(default)s)"
            )
    return parser


def _fetch(work: Work, options: argparse.Namespace) -> int:
    for name in options.kernels:
        release = packages.fetch(work, kernel_named(name))
        module = "with" if packages.headers(work, kernel_named(name)) else "no headers in the archive: without"
        print(f"{name}: {release} ({module} split how=direct and pin how=raw)")
    return 0


def _steps(work: Work, options: argparse.Namespace) -> int:
    def ask(guest: Guest, scenario: Scenario) -> Record | None:
        found = steps.record(guest, scenario)
        _print_title(found)
        print("\n".join(steps.show(found["steps"])) or "  no step", flush=True)
        return found if found["steps"] else None

    return _record(work, options, ask, traced=True)


def _state(work: Work, options: argparse.Namespace) -> int:
    def ask(guest: Guest, scenario: Scenario) -> Record | None:
        found = state.record(guest, scenario, options.repeats)
        if options.output is None:
            print(json.dumps(found, separators=(",", ":")), flush=True)
        return found

    return _record(work, options, ask, traced=False)


def _record(
    work: Work, options: argparse.Namespace, ask: Callable[[Guest, Scenario], Record | None], traced: bool
) -> int:
    """Ask for each scenario; those that the guest did not survive are reported, and the rest goes on in a new one."""
    kernel = kernel_named(options.kernel)
    left = _scenarios(options)
    failed = 0
    with _writer(options.output) as output:
        while left:
            with prepare.guest(work, kernel, traced) as guest:
                for scenario in left:
                    performed.check(scenario, guest.vm.hello["module"])
                failed += _all(guest, left, ask, output)
    return 1 if failed else 0


def _all(
    guest: Guest, left: list[Scenario], ask: Callable[[Guest, Scenario], Record | None], output: IO[str] | None
) -> int:
    """Ask for one scenario after the other, taking them out of `left`, as long as the guest answers. How many
    failed."""
    failed = 0
    while left:
        scenario = left.pop(0)
        began = time.monotonic()
        try:
            found = ask(guest, scenario)
        except ThplabError as error:
            print(f"{scenario.name}: {error}", file=sys.stderr)
            failed += 1
            if isinstance(error, GuestLost):
                break
            continue
        print(f"{scenario.name or 'recorded'} in {time.monotonic() - began:.1f} s", file=sys.stderr)
        if found is not None and output is not None:
            output.write(json.dumps(found, separators=(",", ":")) + "\n")
            output.flush()
    return failed


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that the command line asks for. Raises BadInput."""
    if options.op and not options.scenario:
        raise BadInput("--op", "stands alone", "--scenario, which sets things up, as well")
    if options.scenario:
        text = options.scenario + (f"; {options.op}" if options.op else "")
        return [Scenario.parse(text)]
    return listed.picked(listed.read(options.scenarios or listed.LIST), options.name or [""])


@contextlib.contextmanager
def _writer(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
    else:
        with open(path, "w", encoding="utf-8") as file:
            yield file


def _print_title(record: Record) -> None:
    print(f"=== {record['kernel']} {record['name']}  {record['op']}  rets {record['rets']}")
